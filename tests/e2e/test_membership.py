"""The member list changes while the cluster serves: growing, replacing, joining, being removed."""

import random
import shutil
import time

import pytest
from harness.client import RpcFailed
from harness.ports import free_port
from harness.tools import (id_text, member_by_url, member_id, members, raftkvctl, replace_member,
                           run_raftkvctl)
from harness.wait import wait_until
from harness.workload import Workload

pytestmark = pytest.mark.raftkv_only


def wait_voter(nodes, node, timeout_s=30):
    """Waits until `node` is listed as a started voter."""
    def voter():
        member = member_by_url(nodes, node.peer_url)
        return member and member.get("name") and not member.get("isLearner")

    wait_until(voter, lambda: f"{node} becomes a voter; {members(nodes)}", timeout_s, poll_s=0.1)


def add_and_start(cluster, name):
    """What an operator does to grow a cluster by one."""
    old = list(cluster.nodes)
    node = cluster.prepare_node(name)
    text = raftkvctl(old, "member", "add", name, "--peer-urls", node.peer_url)
    assert f"--name={name}" in text and "--initial-cluster-state=existing" in text
    assert f"{name}={node.peer_url}" in text
    node.start().wait_ready(30)
    wait_voter(old, node)
    return node


@pytest.mark.deadline(100)
def test_grow_from_one_to_three_to_five(make_cluster):
    cluster = make_cluster(1).start()
    for i in range(100):
        cluster.nodes[0].client.put(b"before/%d" % i, b"x" * 100)
    for name in ("n2", "n3", "n4", "n5"):
        add_and_start(cluster, name)
        cluster.nodes[-1].client.put(b"by/" + name.encode(), b"v", timeout_s=10)
    assert len(members(cluster.nodes)) == 5
    contents = cluster.assert_same_contents()
    assert len(contents) == 104
    # Five voters: two may be down.
    down = cluster.nodes[:2]
    for node in down:
        node.kill()
    cluster.leader(timeout_s=20)
    cluster.nodes[-1].client.put(b"with/three/of/five", b"v", timeout_s=10)
    for node in down:  # the members' flags of old still start them
        node.start().wait_ready(30)
    cluster.assert_same_contents()


@pytest.mark.deadline(110)
def test_replace_every_node_under_load(make_cluster):
    cluster = make_cluster(3).start()
    workload = Workload(cluster, 7).start()
    try:
        workload.wait_acked(100)
        for number, old in enumerate(list(cluster.nodes)):
            replace_member(cluster, old, f"r{number}")
            workload.use_nodes(cluster.nodes)
            workload.wait_acked(50)
        workload.stop()
    finally:
        workload.close()
    assert {m["name"] for m in members(cluster.nodes)} == {"r0", "r1", "r2"}
    cluster.wait_ready()
    workload.check_cluster(cluster, random.Random(7))


@pytest.mark.deadline(100)
def test_kill_during_each_step_of_a_join(three):
    cluster = three
    old = list(cluster.nodes)
    for i in range(300):
        cluster.leader().client.put(b"k/%d" % i, b"x" * 200)
    node = cluster.prepare_node("n4")
    added = node.peer_url
    # The leader dies right after it took the addition: asked again, it either is a member or not.
    leader = cluster.leader(old)
    run_raftkvctl(old, "member", "add", "n4", "--peer-urls", added, "--learner")
    leader.kill()
    leader.start().wait_ready()
    if member_by_url(old, added) is None:
        raftkvctl(old, "member", "add", "n4", "--peer-urls", added, "--learner")
    # The joining node dies while it starts, again and again, later each time.
    for delay_s in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
        node.start()
        time.sleep(delay_s)
        node.kill()
    node.start().wait_ready(30)
    # It dies while it is promoted, and so does the leader.
    identity = id_text(member_id(old, node))

    def promoted():
        return run_raftkvctl(old, "member", "promote", identity).returncode == 0 or not (
            member_by_url(old, added).get("isLearner"))

    wait_until(promoted, "the learner is promoted", 20, poll_s=0.2)
    node.kill()
    leader = cluster.leader(old)
    leader.kill()
    # Four voters, two up: no quorum. With the new one back there is.
    node.start()
    wait_until(lambda: cluster.agreed_leader(), "three of four elect a leader", 20)
    leader.start()
    cluster.wait_ready()
    assert len(cluster.assert_same_contents()) == 300


def test_a_member_that_never_starts_costs_nothing(three):
    cluster = three
    raftkvctl(cluster.nodes, "member", "add", "ghost", "--peer-urls", "http://127.0.0.1:1")
    assert len(members(cluster.nodes)) == 4
    victim = cluster.leader()
    victim.kill()
    survivors = cluster.others(victim)
    cluster.leader(survivors)
    # Two of three voters: a ghost that counted would have made it two of four.
    survivors[0].client.put(b"k", b"v", timeout_s=10)
    ghost = member_by_url(survivors, "http://127.0.0.1:1")
    assert ghost.get("isLearner")
    done = run_raftkvctl(survivors, "member", "promote", id_text(ghost["ID"]))
    assert done.returncode == 1 and b"in sync with leader" in done.stderr
    raftkvctl(survivors, "member", "remove", id_text(ghost["ID"]))
    assert len(members(survivors)) == 3


def test_a_removed_node_stops_and_says_why(three):
    cluster = three
    leader = cluster.leader()
    gone = cluster.others(leader)[0]
    raftkvctl([leader], "member", "remove", id_text(member_id([leader], gone)))
    wait_until(lambda: not gone.running, f"{gone} stops by itself", 20)
    assert gone.process.returncode == 1
    assert "removed" in gone.log_tail()
    rest = cluster.others(gone)
    term = leader.status().raftTerm
    gone.start()
    wait_until(lambda: not gone.running, f"{gone} stops again", 20)
    assert gone.process.returncode == 1
    # It disturbed nobody.
    assert cluster.leader(rest) is leader
    assert leader.status().raftTerm == term
    rest[1].client.put(b"k", b"v")


def test_a_node_that_was_removed_while_down_is_told(three):
    cluster = three
    leader = cluster.leader()
    gone = cluster.others(leader)[0]
    identity = id_text(member_id([leader], gone))
    gone.kill()
    raftkvctl([leader], "member", "remove", identity)
    term = leader.status().raftTerm
    gone.start()
    wait_until(lambda: not gone.running, f"{gone} stops by itself", 20)
    assert gone.process.returncode == 1
    assert "removed" in gone.log_tail()
    assert leader.status().raftTerm == term


def test_a_removed_member_that_asks_again_is_told(three):
    cluster = three
    leader = cluster.leader()
    gone = cluster.others(leader)[0]
    raftkvctl([leader], "member", "remove", id_text(member_id([leader], gone)))
    wait_until(lambda: not gone.running, f"{gone} stops by itself", 20)
    # As it is: its directory says so, even before it asks anybody.
    gone.start()
    wait_until(lambda: not gone.running, f"{gone} stops at once", 20)
    assert "belongs to a member that was removed" in gone.log_tail()
    assert "run raftkvctl member add" in gone.log_tail()
    # With an empty directory and the URL of old.
    shutil.rmtree(gone.data_dir)
    gone.start(initial_cluster_state="existing")
    wait_until(lambda: not gone.running, f"{gone} is told", 20)
    assert f"the member with the peer URLs {gone.peer_url} was removed" in gone.log_tail(1500)
    assert "run raftkvctl member add" in gone.log_tail(1500)
    # Done as it is told, it is back.
    raftkvctl([leader], "member", "add", gone.name, "--peer-urls", gone.peer_url)
    gone.start(initial_cluster_state="existing").wait_ready(30)
    wait_voter([leader], gone)
    cluster.assert_same_contents()


def test_a_member_moves_to_another_address(three):
    cluster = three
    leader = cluster.leader()
    moved, other = cluster.others(leader)
    identity = id_text(member_id([leader], moved))
    moved.stop()
    moved.peer_port = free_port()
    raftkvctl([leader], "member", "update", identity, "--peer-urls", moved.peer_url)
    assert member_by_url([leader], moved.peer_url)["name"] == moved.name
    moved.start().wait_ready()
    # Its vote counts: without it there is no quorum.
    other.kill()
    cluster.leader([leader, moved]).client.put(b"k", b"v", timeout_s=10)
    # Those that start again with the flags of old, which give the old address, find it too.
    other.start().wait_ready()
    leader.kill()
    leader.start().wait_ready()
    cluster.others(moved)[1].kill()
    cluster.leader().client.put(b"k", b"v2", timeout_s=10)
    cluster.assert_same_contents()


def test_a_member_with_two_addresses_is_reached_at_the_second(three):
    cluster = three
    old = list(cluster.nodes)
    node = cluster.prepare_node("n4")
    urls = f"http://127.0.0.1:1,{node.peer_url}"  # nobody is at the first
    node.own_flags["initial-advertise-peer-urls"] = urls
    raftkvctl(old, "member", "add", "n4", "--peer-urls", urls)
    node.start().wait_ready(30)
    wait_voter(old, node)
    # Three of four must be up: it is one of them.
    old[0].kill()
    cluster.leader().client.put(b"k", b"v", timeout_s=10)
    node.kill()
    node.start().wait_ready()
    cluster.leader().client.put(b"k", b"v2", timeout_s=10)
    cluster.assert_same_contents()


def test_remove_the_leader(three):
    cluster = three
    leader = cluster.leader()
    identity = id_text(member_id([leader], leader))
    rest = cluster.others(leader)
    done = run_raftkvctl([leader, *rest], "member", "remove", identity)
    assert done.returncode in (0, 3), done.stderr.decode()
    wait_until(lambda: not leader.running, "the removed leader stops", 20)
    cluster.leader(rest)
    rest[0].client.put(b"k", b"v", timeout_s=10)
    assert len(members(rest)) == 2


def test_errors_are_those_of_etcd(three):
    client = three.leader().client
    with pytest.raises(RpcFailed, match="member not found"):
        client.member_remove(12345)
    with pytest.raises(RpcFailed, match="Peer URLs already exists"):
        client.member_add(three.nodes[0].peer_url)
    voter = id_text(member_id(three.nodes, three.nodes[0]))
    done = run_raftkvctl(three.nodes, "member", "promote", voter)
    assert done.returncode == 1 and b"can only promote a learner member" in done.stderr

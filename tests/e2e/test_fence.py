"""A node whose database goes back to an older state: it must not help to forget what it acknowledged.

The database (db) of a follower is copied while it is stopped, and the copy is put back later, as an
operator with the wrong backup, or a disk that lost its end, would do.
"""

import shutil
import time

import pytest
from harness.wait import wait_until

_LOST = "raftkv_raft_lost_acknowledged"


def put(client, first, count):
    for i in range(first, first + count):
        client.put(b"key%06d" % i, b"value%d" % i)


def copy_stopped(node, what):
    """Copies the database, or the whole directory, of a node that is stopped cleanly meanwhile."""
    node.stop()
    source = node.data_dir if what == "all" else node.db_dir
    copy = f"{node.data_dir}.copy"
    shutil.copytree(source, copy)
    node.start()
    node.wait_ready()
    return source, copy


def put_back(source, copy):
    shutil.rmtree(source)
    shutil.move(copy, source)


def assert_all_there(cluster, count):
    cluster.wait_ready()
    cluster.wait_converged()
    cluster.assert_same_contents()
    for node in cluster.nodes:
        contents = cluster.contents(node, b"key")
        assert len(contents) == count, node


@pytest.mark.deadline(60)
def test_a_majority_that_lost_writes_elects_nobody(make_cluster):
    cluster = make_cluster(3).start()
    cluster.wait_ready()
    leader = cluster.leader()
    forgetful, behind = cluster.others(leader)
    put(leader.client, 0, 20)
    source, copy = copy_stopped(forgetful, "db")
    leader = cluster.leader()
    behind = cluster.others(leader, forgetful)[0]
    behind.kill()
    put(leader.client, 20, 100)  # acknowledged by the leader and the forgetful one
    forgetful.kill()
    leader.kill()
    put_back(source, copy)

    forgetful.start()
    behind.start()
    wait_until(lambda: forgetful.metric(_LOST) == 1, what="the loss is noticed")
    end = time.monotonic() + 3  # fifteen election timeouts
    while time.monotonic() < end:
        assert not forgetful.ready() and not behind.ready()
        time.sleep(0.05)

    leader.start()
    assert_all_there(cluster, 120)
    wait_until(lambda: forgetful.metric(_LOST) == 0, what="the node is whole")


@pytest.mark.deadline(60)
def test_an_old_directory_heals_while_the_leader_lives(make_cluster):
    cluster = make_cluster(3).start()
    cluster.wait_ready()
    leader = cluster.leader()
    forgetful = cluster.others(leader)[0]
    put(leader.client, 0, 20)
    source, copy = copy_stopped(forgetful, "all")
    leader = cluster.leader()
    put(leader.client, 20, 100)
    cluster.wait_converged()
    forgetful.kill()
    put_back(source, copy)
    forgetful.start()
    assert_all_there(cluster, 120)
    wait_until(lambda: forgetful.metric(_LOST) == 0, what="the node is whole")
    assert "entries are missing that this node acknowledged" in forgetful.log_text()

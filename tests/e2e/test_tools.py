"""raftkvctl and raftkv-dump as people run them."""

import json
import subprocess
import threading

import pytest
from harness.cluster import BIN_DIR
from harness.wait import wait_until

pytestmark = pytest.mark.raftkv_only


def raftkvctl(nodes, *args, stdin=None, code=0, timeout_s=20):
    endpoints = ",".join(node.address for node in nodes)
    done = subprocess.run([BIN_DIR / "raftkvctl", f"--endpoints={endpoints}", *args], input=stdin,
                          capture_output=True, timeout=timeout_s, check=False)
    assert done.returncode == code, (
        f"raftkvctl {args}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
    return (done.stdout if code == 0 else done.stderr).decode()


def test_ctl_keys(shared_cluster):
    nodes = shared_cluster.nodes
    for node in nodes:
        assert raftkvctl([node], "put", "ctl/" + node.name, "v-" + node.name) == "OK\n"
    assert raftkvctl(nodes, "get", "ctl/n2") == "ctl/n2\nv-n2\n"
    assert raftkvctl(nodes, "get", "ctl/", "--prefix", "--print-value-only") == (
        "v-n1\nv-n2\nv-n3\n")
    answer = json.loads(raftkvctl(nodes, "get", "ctl/n1", "-w", "json"))
    assert int(answer["count"]) == 1
    assert raftkvctl(nodes, "del", "ctl/n3") == "1\n"
    script = b'value("ctl/n1") = "v-n1"\n\nput ctl/n1 new\n\nget ctl/n1\n'
    assert raftkvctl(nodes, "txn", stdin=script).startswith("SUCCESS")
    assert raftkvctl(nodes, "txn", stdin=script) == "FAILURE\n\nctl/n1\nnew\n"
    assert raftkvctl(nodes, "--hex-input", "put", "ff00", "0aff") == "OK\n"
    assert nodes[0].client.get(b"\xff\x00") == b"\x0a\xff"
    assert nodes[0].client.delete(b"\xff\x00").deleted == 1
    raftkvctl(nodes, "get", code=2)
    raftkvctl(nodes, "no-such-command", code=2)


def test_ctl_cluster(shared_cluster):
    nodes = shared_cluster.nodes
    for node in nodes:
        assert node.name in raftkvctl(nodes, "member", "list")
        assert node.address in raftkvctl(nodes, "status", "-w", "table")
        assert node.address in raftkvctl([nodes[0]], "health", "--cluster")
    leader = shared_cluster.leader()
    target = shared_cluster.others(leader)[0]
    raftkvctl([leader], "move-leader", f"{target.status().header.member_id:x}")
    assert shared_cluster.leader() is target


def test_ctl_goes_round_a_dead_node(three):
    dead = three.leader()
    dead.kill()
    nodes = [dead, *three.others(dead)]
    # A write is retried under a session, so it may be sent again while there is no leader.
    assert raftkvctl(nodes, "put", "k", "v") == "OK\n"
    assert raftkvctl(nodes, "get", "k", "--print-value-only") == "v\n"
    assert raftkvctl(nodes[1:2], "get", "k", "--print-value-only") == "v\n"
    raftkvctl([dead], "--command-timeout=1s", "get", "k", code=1)
    raftkvctl(nodes, "health", code=1)

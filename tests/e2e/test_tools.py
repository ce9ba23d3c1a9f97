"""raftkvctl and raftkv-dump as people run them."""

import json
import random
import subprocess

import pytest
from harness import history
from harness.cluster import BIN_DIR
from harness.dump import dumped, fingerprint, kill_all_mid_load, raftkv_dump, rows

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


def test_dump_of_one_killed_node_is_what_it_then_serves(make_cluster):
    """Every entry in a lone node's log is committed once it leads again, so a dump that replays to
    the end of the log must show exactly what is served."""
    (node,) = (cluster := make_cluster(1, memtable_bytes=64 << 10)).start().nodes
    for seed in range(3):
        workload = kill_all_mid_load(cluster, seed)
        before = fingerprint(node.data_dir)
        dump = dumped("keys", node.data_dir, "--replay", "--through", "last")
        assert fingerprint(node.data_dir) == before, "the dump changed the directory"
        node.start().wait_ready()
        assert rows(dump) == cluster.contents(node)
        (state,) = dump["state"]
        assert state["revision"] == node.client.range(b"x").header.revision
        # Everything acknowledged was in the dump.
        held = {row[0]: row[1] for row in rows(dump)}
        for key, (value, outcome, _) in list(workload.recorded.items()):
            assert outcome != history.OK or held[key] == value


def test_dumps_of_three_killed_nodes_agree_with_what_they_serve(make_cluster):
    """Each dump shows a committed state of the past: the restarted cluster must still know it."""
    cluster = make_cluster(3, memtable_bytes=64 << 10).start()
    kill_all_mid_load(cluster, 11)
    dumps = {}
    for node in cluster.nodes:
        before = fingerprint(node.data_dir)
        flushed = dumped("keys", node.data_dir)
        dumps[node] = dumped("keys", node.data_dir, "--replay")
        log = dumped("log", node.data_dir)
        meta = json.loads(raftkv_dump("meta", node.data_dir, "-o", "json"))
        assert fingerprint(node.data_dir) == before, "a dump changed the directory"
        assert flushed["state"][0]["revision"] <= dumps[node]["state"][0]["revision"]
        check_meta_and_log(node, meta, log)
    cluster.start()
    for node in cluster.nodes:
        (state,) = dumps[node]["state"]
        for other in cluster.nodes:
            cluster.wait_converged()
            assert rows(dumps[node]) == cluster.contents(other, revision=state["revision"]), (
                f"the dump of {node} differs from what {other} serves")


def check_meta_and_log(node, meta, log):
    assert meta["node_name"] == node.name
    voters = meta["membership"]["voters"]
    assert len(voters) == 3 and meta["node_id"] in voters
    indexes = [entry["index"] for entry in log["entry"]]
    assert indexes == list(range(meta["log"]["first"], meta["log"]["last"] + 1))
    terms = [entry["term"] for entry in log["entry"]]
    assert terms == sorted(terms) and terms[-1] == meta["log"]["last_term"]
    assert meta["hard_state"]["term"] >= terms[-1]
    assert meta["hard_state"]["commit"] <= meta["log"]["last"]


def test_dump_after_a_clean_stop(three):
    """Nothing to replay: keys as they are flushed are all there are, on every node."""
    rng = random.Random(3)
    for i in range(100):
        three.nodes[i % 3].client.put(b"k/%d" % rng.randint(0, 20), rng.randbytes(50))
    three.nodes[0].client.delete(b"k/7")
    held = three.assert_same_contents()
    revision = three.nodes[0].client.range(b"x").header.revision
    old = three.contents(three.nodes[0], revision=revision - 50)
    ids = {f"{n.status().header.member_id:x}" for n in three.nodes}
    three.stop()
    for node in three.nodes:
        dump = dumped("keys", node.data_dir)
        assert rows(dump) == held
        assert dump["state"][0]["revision"] == revision
        assert rows(dumped("keys", node.data_dir, "--revision", revision - 50)) == old
        some = dumped("keys", node.data_dir, "--prefix", "k/1")
        assert rows(some) == [row for row in held if row[0].startswith(b"k/1")]
        meta = json.loads(raftkv_dump("meta", node.data_dir, "-o", "json"))
        assert set(meta["membership"]["voters"]) == ids
        assert meta["applied"]["revision"] == revision
        assert node.name in raftkv_dump("meta", node.data_dir)
        assert "k/1" in raftkv_dump("log", node.data_dir)


def test_dump_refuses_what_it_can_not_read(make_cluster):
    (node,) = make_cluster(1).start().nodes
    node.client.put(b"k", b"v")
    assert str(node.process.pid) in raftkv_dump("keys", node.data_dir, code=2)  # it runs
    node.stop()
    raftkv_dump("keys", node.data_dir / "missing", code=2)
    raftkv_dump("keys", node.cluster.dir, code=2)
    raftkv_dump("keys", node.data_dir, "--no-such-flag", code=2)
    current = node.db_dir / "CURRENT"
    saved = current.read_bytes()
    current.unlink()
    for _ in range(2):
        raftkv_dump("keys", node.data_dir, code=1)
    assert not current.exists(), "it repaired what it was only to look at"
    current.write_bytes(saved)
    assert rows(dumped("keys", node.data_dir))[0][:2] == (b"k", b"v")
    node.start().wait_ready()
    assert node.client.get(b"k") == b"v"

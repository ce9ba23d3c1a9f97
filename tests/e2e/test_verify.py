"""raftkv-dump verify and diff on what real nodes leave: it is whole, and members agree."""

import itertools
import json
import random
import subprocess

import pytest
from harness.cluster import BIN_DIR
from harness.dump import fingerprint, kill_all_mid_load

pytestmark = pytest.mark.raftkv_only


def run(*args):
    """The exit code and the JSON records."""
    done = subprocess.run([BIN_DIR / "raftkv-dump", *map(str, args), "-o", "jsonl"],
                          capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 1), f"raftkv-dump {args}: {done.returncode} {done.stderr}"
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def assert_whole(node):
    before = fingerprint(node.data_dir)
    for args in ([], ["--deep"]):
        code, records = run("verify", node.data_dir, *args)
        problems = [record for record in records if record["type"] == "problem"]
        assert code == 0 and not problems, f"{node}: {problems}"
    assert fingerprint(node.data_dir) == before, "verify changed the directory"
    return records


def test_what_a_killed_node_leaves_is_whole(make_cluster):
    (node,) = (cluster := make_cluster(1, memtable_bytes=64 << 10)).start().nodes
    for seed in range(3):
        kill_all_mid_load(cluster, seed)
        checks = {record["check"] for record in assert_whole(node) if record["type"] == "check"}
        assert {"files", "wal", "log", "meta", "applied", "versions", "revisions", "sessions",
                "cluster", "start", "tables"} <= checks
        node.start().wait_ready()


def test_what_three_killed_nodes_leave_is_whole_and_agrees_on_what_was_committed(make_cluster):
    cluster = make_cluster(3, memtable_bytes=64 << 10).start()
    for seed in range(2):
        kill_all_mid_load(cluster, 20 + seed)
        for node in cluster.nodes:
            assert_whole(node)
        for a, b in itertools.combinations(cluster.nodes, 2):
            _, records = run("diff", a.data_dir, b.data_dir, "--replay")
            for record in records:
                if record["type"] == "problem":  # tails that no quorum has
                    assert record["check"] == "log" and "must never" not in record["means"], record
        cluster.start()
        cluster.wait_converged()


def test_members_agree_after_a_clean_stop(three):
    rng = random.Random(5)
    for i in range(60):
        three.nodes[i % 3].client.put(b"k/%d" % rng.randint(0, 20), rng.randbytes(50))
    three.assert_same_contents()
    three.stop()
    for a, b in itertools.combinations(three.nodes, 2):
        code, records = run("diff", a.data_dir, b.data_dir)
        assert code == 0, records
        assert sum(r["type"] == "side" for r in records) == 2

"""Followers that are very far behind, while writes go on: minutes of work, run by `make soak`."""

import random
import subprocess
import time

import pytest
from harness.client import prefix_end
from harness.cluster import BIN_DIR
from harness.wait import wait_until
from harness.workload import Workload

pytestmark = pytest.mark.raftkv_only

_GIB = 1 << 30


class Clock:
    """Says how long each step took."""

    def __init__(self):
        self._begin = time.monotonic()

    def step(self, what):
        now = time.monotonic()
        print(f"  {now - self._begin:6.1f} s  {what}", flush=True)
        self._begin = now


def load(nodes, keys, value_bytes):
    """Puts `keys` keys, each eight hexadecimal digits; see raftkv-bench --help."""
    endpoints = ",".join(node.address for node in nodes)
    done = subprocess.run(
        [BIN_DIR / "raftkv-bench", "load", f"--endpoints={endpoints}", f"--keys={keys}",
         f"--value-bytes={value_bytes}", "--random-values", "--clients=8",
         f"--connections={2 * len(nodes)}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print("  " + done.stdout.strip())


def check_same(cluster, keys):
    """All nodes hold the same at one revision, and all of what was loaded."""
    revision = cluster.wait_converged(timeout_s=120)
    hashes = {node.name: node.client.hash_kv(revision, timeout_s=300)[0] for node in cluster.nodes}
    print(f"  HashKV at revision {revision}: {hashes}")
    assert len(set(hashes.values())) == 1, hashes
    for node in cluster.nodes:
        count = node.client.range(b"0", prefix_end(b"0"), serializable=True, count_only=True,
                                  timeout_s=120).count
        assert count == keys, f"{node} holds {count} of the {keys} keys that were loaded"


def catch_up(cluster, workload, follower, clock):
    """Waits for the follower; writes must have gone on all the time. Then checks everything."""
    acked = workload.acked
    wait_until(follower.ready, lambda: f"{follower} is ready; {cluster.describe()}", 900, poll_s=0.1)
    clock.step(f"{follower} is ready; {workload.acked - acked} writes and reads went on meanwhile")
    workload.wait_acked(200)
    workload.stop()


def check_all(cluster, workload, keys, clock):
    check_same(cluster, keys)
    rng = random.Random(1)
    for node in cluster.nodes:
        workload.check_node(cluster, node, rng)
    workload.check_history()
    clock.step("checked: HashKV, counts, every acknowledged write, history")


@pytest.mark.deadline(1800)
def test_a_gibibyte_to_an_empty_disk_while_writes_go_on(make_cluster):
    value_bytes = 4096
    keys = _GIB // value_bytes  # eight hexadecimal digits that begin with 0
    clock = Clock()
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=1000).start()
    load(cluster.nodes, keys, value_bytes)
    clock.step("1 GiB loaded")
    old = cluster.others(cluster.leader())[0]
    member_id = old.status().header.member_id
    rest = cluster.others(old)
    cluster.forget_node(old)
    rest[0].client.member_remove(member_id)
    workload = Workload(cluster, 1).start()
    try:
        workload.wait_acked(200)
        new = cluster.prepare_node("n4")
        rest[0].client.member_add(new.peer_url)
        clock.step("member removed, its successor added; writes go on")
        new.start()
        catch_up(cluster, workload, new, clock)
    finally:
        workload.close()
    assert new.metric("raftkv_snapshots_installed_total") >= 1
    assert new.metric("raftkv_snapshot_received_bytes_total") >= _GIB
    check_all(cluster, workload, keys, clock)


@pytest.mark.deadline(1800)
def test_down_for_the_whole_of_a_load_of_a_million_keys(make_cluster):
    keys = 1_000_000
    clock = Clock()
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=1000).start()
    follower = cluster.others(cluster.leader())[0]
    rest = cluster.others(follower)
    follower.kill()
    workload = Workload(cluster, 2).start()
    try:
        load(rest, keys, 256)
        clock.step("a million keys loaded, writes beside them")
        follower.start()
        catch_up(cluster, workload, follower, clock)
    finally:
        workload.close()
    check_all(cluster, workload, keys, clock)

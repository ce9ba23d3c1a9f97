"""The log is cut, and who needs what is gone gets a snapshot, while writes go on."""

import random
import threading
import time

import pytest
from harness.client import RpcFailed
from harness.wait import wait_until
from harness.workload import Workload

pytestmark = pytest.mark.raftkv_only

# Little is kept, so that a few thousand writes do what millions do otherwise.
_SMALL_LOG = dict(snapshot_catchup_entries=100, replay_entries_max=500, memtable_bytes=1 << 20)


class Filler:
    """Threads that put values and remember what was acknowledged, until the end of the with."""

    def __init__(self, nodes, keys, value_bytes=1000, threads=4):
        self.nodes = list(nodes)
        self.acked = {}
        self.count = 0
        self.longest_gap_s = 0.0
        self._keys, self._value_bytes = keys, value_bytes
        self._lock = threading.Lock()
        self._last_ack = time.monotonic()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True)
                         for i in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number):
        rng = random.Random(number)
        n = 0
        while not self._stop.is_set():
            n += 1
            # Each thread has keys of its own: the last one acknowledged is what must be there.
            key = b"fill/%d/%d" % (number, rng.randrange(self._keys))
            value = b"%d-%d-" % (number, n) + rng.randbytes(self._value_bytes)
            node = rng.choice(self.nodes)
            try:
                node.client.put(key, value, timeout_s=2)
            except (RpcFailed, ValueError):  # ValueError: the client was closed by a kill
                with self._lock:
                    self.acked.pop(key, None)  # may or may not be there
                time.sleep(0.02)
                continue
            with self._lock:
                now = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now - self._last_ack)
                self._last_ack = now
                self.acked[key] = value
                self.count += 1

    def wait(self, writes, timeout_s=40):
        target = self.count + writes
        wait_until(lambda: self.count >= target, lambda: f"{target - self.count} more writes",
                   timeout_s)

    def check(self, cluster, node):
        held = {key: value for key, value, *_ in cluster.contents(node, b"fill/")}
        lost = [key for key, value in self.acked.items() if held.get(key) != value]
        assert not lost, f"{node} lost {len(lost)} of {len(self.acked)}, e.g. {lost[:3]}"


def first_index(node):
    return node.metric("raftkv_raft_first_index") or 0


def wait_cut_beyond(index, nodes, timeout_s=30):
    wait_until(lambda: all(first_index(node) > index for node in nodes),
               lambda: f"logs start beyond {index}: {[(n, first_index(n)) for n in nodes]}",
               timeout_s, poll_s=0.1)


def leave_behind(follower, filler, writes):
    """Kills the follower, until what it needs next is cut off the others' logs; its last index."""
    filler.wait(200)
    last = follower.metric("raftkv_raft_last_index")
    follower.kill()
    filler.wait(writes)
    wait_cut_beyond(last, filler.nodes)
    return last


@pytest.mark.deadline(90)
def test_a_follower_catches_up_by_snapshot_while_writes_go_on(make_cluster):
    cluster = make_cluster(3, **_SMALL_LOG).start()
    follower = cluster.others(cluster.leader())[0]
    rest = cluster.others(follower)
    with Filler(rest, keys=2000) as filler:
        last = leave_behind(follower, filler, 3000)
        before = cluster.leader(rest)
        follower.start().wait_ready(40)
        filler.wait(500)
        assert cluster.leader(rest) is before, "catching up cost the leader its leadership"
        assert filler.longest_gap_s < 5, f"writers waited {filler.longest_gap_s:.2f} s"
    cluster.assert_same_contents()
    for node in cluster.nodes:
        filler.check(cluster, node)
    assert first_index(follower) > last  # it did not get those entries one by one


@pytest.mark.deadline(110)
def test_kills_in_the_middle_of_a_snapshot(make_cluster):
    # A slow transfer, so that there is a middle.
    cluster = make_cluster(3, **_SMALL_LOG, snapshot_rate_bytes=3 << 20).start()
    follower = cluster.others(cluster.leader())[0]
    rest = cluster.others(follower)
    with Filler(rest, keys=1500) as filler:
        leave_behind(follower, filler, 4000)
        for delay_s in (0.2, 0.7, 1.3):
            follower.start()
            time.sleep(delay_s)
            follower.kill()
        follower.start()
        time.sleep(0.7)
        leader = cluster.agreed_leader(rest) or rest[0]
        leader.kill()
        leader.start()
        cluster.wait_ready(50)
        filler.wait(200)
    cluster.assert_same_contents()
    for node in cluster.nodes:
        filler.check(cluster, node)


@pytest.mark.deadline(90)
def test_an_empty_directory_fetches_everything(make_cluster):
    """A new member, whose log starts at nothing, when the leader's no longer does."""
    cluster = make_cluster(1, **_SMALL_LOG).start()
    with Filler(cluster.nodes, keys=1000) as filler:
        filler.wait(2500)
        wait_cut_beyond(500, cluster.nodes)
        node = cluster.prepare_node("n2")
        cluster.nodes[0].client.member_add(node.peer_url)
        node.start().wait_ready(40)
        filler.wait(200)
    cluster.assert_same_contents()
    filler.check(cluster, node)


@pytest.mark.deadline(100)
def test_disk_size_levels_off_under_overwrite(make_cluster):
    cluster = make_cluster(1, **_SMALL_LOG, wal_bytes_max=4 << 20).start()
    node = cluster.nodes[0]
    sizes, spans = [], []
    with Filler([node], keys=100, value_bytes=4000) as filler:  # 1.6 MB live
        for _ in range(10):
            filler.wait(1000)
            # History is kept until it is compacted: that is what bounds it, as in etcd.
            node.client.compact(node.client.range(b"x").header.revision)
            sizes.append(int(node.metric("raftkv_disk_bytes")))
            spans.append(node.metric("raftkv_raft_last_index") - first_index(node))
    print("bytes on disk:", sizes, "log spans:", spans)
    assert max(spans) < 3000, spans
    # 40 MB were written. What is there now is not what was written, but a multiple of what is live
    # and of the memtables.
    assert max(sizes[5:]) < 1.5 * max(sizes[:5]) + (4 << 20), sizes
    # A crash replays little.
    node.kill()
    node.start().wait_ready()
    assert node.metric("raftkv_replayed_entries") < 3000
    filler.check(cluster, node)


@pytest.mark.deadline(90)
def test_history_stays_linearizable_across_snapshots(make_cluster):
    cluster = make_cluster(3, snapshot_catchup_entries=10, replay_entries_max=50,
                           memtable_bytes=1 << 16).start()
    rng = random.Random(3)
    workload = Workload(cluster, 3).start()
    try:
        for _ in range(4):
            down = rng.choice(cluster.nodes)
            down.kill()
            workload.wait_acked(300)
            down.start().wait_ready(30)
        workload.stop()
    finally:
        workload.close()
    workload.check_cluster(cluster, rng)

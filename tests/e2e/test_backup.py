"""Backup and restore, and comparing replicas."""

import json
import os
import random
import re
import shutil
import subprocess
import threading
import time

import grpc
import pytest
from harness.client import Client, RpcFailed
from harness.cluster import BIN_DIR
from harness.tools import raftkvctl
from harness.wait import wait_until

pytestmark = pytest.mark.raftkv_only

_BUMP = 1_000_000_000


def fill(cluster, count=300):
    client = cluster.leader().client
    for i in range(count):
        client.put(b"k/%04d" % (i % 200), b"v%d" % i)
    client.delete(b"k/0007")
    return cluster.wait_converged()


def status_of(path):
    return json.loads(raftkvctl([], "snapshot", "status", path, "-w", "json"))


def restore(cluster, path, *args, token="restored"):
    """Makes every node's directory from the snapshot, as an operator would on each machine."""
    for node in cluster.nodes:
        initial = ",".join(f"{n.name}={n.peer_url}" for n in cluster.nodes)
        raftkvctl([], "snapshot", "restore", path, "--name", node.name,
                  "--initial-cluster", initial, "--initial-cluster-token", token,
                  "--initial-advertise-peer-urls", node.peer_url, "--data-dir", node.data_dir, *args)
        node.own_flags["initial-cluster-token"] = token


def values(contents):
    return [(key, value) for key, value, *_ in contents]


@pytest.mark.parametrize("size", [1, 3])
def test_save_and_restore(size, make_cluster, tmp_path):
    source = make_cluster(3).start()
    revision = fill(source)
    expected = source.contents(source.nodes[0])
    path = tmp_path / "backup.db"
    raftkvctl(source.nodes, "snapshot", "save", path)
    assert not list(tmp_path.glob("*.part"))
    status = status_of(path)
    assert status["revision"] == revision
    assert status["totalKey"] == len(expected)
    assert status["totalSize"] == path.stat().st_size
    source.close()

    target = make_cluster(size)
    restore(target, path)
    # What is there is never overwritten.
    args = ["snapshot", "restore", path, "--name", "n1", "--data-dir", target.nodes[0].data_dir]
    raftkvctl([], *args, code=1)
    target.start()
    contents = target.assert_same_contents()
    assert values(contents) == values(expected)
    # Revisions went on, so that watchers and caches notice; the past can't be read.
    client = target.leader().client
    assert client.put(b"new", b"v").header.revision > revision + _BUMP
    with pytest.raises(RpcFailed, match="compacted"):
        client.range(b"k/0001", revision=revision)
    # It restarts like any other.
    target.stop()
    target.start()
    assert len(target.assert_same_contents()) == len(expected) + 1


def test_restore_without_a_bump(make_cluster, tmp_path):
    source = make_cluster(1).start()
    revision = fill(source)
    expected = source.contents(source.nodes[0])
    path = tmp_path / "backup.db"
    raftkvctl(source.nodes, "snapshot", "save", path)
    source.close()
    target = make_cluster(1)
    restore(target, path, "--no-bump-revision")
    target.start()
    assert target.contents(target.nodes[0]) == expected
    assert target.nodes[0].client.put(b"new", b"v").header.revision == revision + 1


def test_etcdctl_saves_too(make_cluster, tmp_path):
    if not shutil.which("etcdctl"):
        pytest.skip("no etcdctl here")
    cluster = make_cluster(1).start()
    revision = fill(cluster)
    path = tmp_path / "etcdctl.db"
    done = subprocess.run(
        ["etcdctl", "--endpoints", cluster.nodes[0].address, "snapshot", "save", path],
        env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert status_of(path)["revision"] == revision


def test_damage_is_found(make_cluster, tmp_path):
    cluster = make_cluster(1).start()
    fill(cluster)
    path = tmp_path / "backup.db"
    raftkvctl(cluster.nodes, "snapshot", "save", path)
    whole = path.read_bytes()
    for name, damaged in {
            "cut": whole[:-40], "empty": b"", "flipped": whole[:1000] + bytes([whole[1000] ^ 1])
            + whole[1001:]}.items():
        bad = tmp_path / name
        bad.write_bytes(damaged)
        assert raftkvctl([], "snapshot", "status", bad, code=1)
        raftkvctl([], "snapshot", "restore", bad, "--name", "n1", "--data-dir", tmp_path / "out",
                  code=1)
        assert not (tmp_path / "out" / "db").exists()


def test_hashes_agree_whatever_was_compacted(three):
    cluster = three
    revision = fill(cluster)
    hashes = {node.client.hash_kv(revision)[0] for node in cluster.nodes}
    assert len(hashes) == 1
    raftkvctl(cluster.nodes, "hashkv", "--cluster")
    # One node compacts its store, the others don't (or later): the logical state is the same.
    cluster.nodes[0].client.compact(revision - 5, physical=True)
    raftkvctl([cluster.nodes[0]], "defrag")
    cluster.wait_converged()
    assert len({node.client.hash_kv(revision)[0] for node in cluster.nodes}) == 1
    cluster.leader().client.put(b"k/0001", b"changed")
    newer = cluster.wait_converged()
    assert cluster.nodes[0].client.hash_kv(newer)[0] not in hashes
    raftkvctl(cluster.nodes, "hashkv", "--cluster", "-w", "table")


class SlowestPut(threading.Thread):
    """Writes one after the other, and notes how long the slowest took."""

    def __init__(self, node):
        super().__init__()
        self.node = node
        self.slowest_s = 0.0
        self.count = 0
        self.stop = threading.Event()

    def run(self):
        with Client(self.node.address) as client:
            while not self.stop.is_set():
                begin = time.monotonic()
                client.put(b"beside/%d" % (self.count % 100), b"x" * 100)
                self.slowest_s = max(self.slowest_s, time.monotonic() - begin)
                self.count += 1


def kv_bytes(node):
    """Of the tables of the applied state. Those of the log come and go by a plan of their own."""
    _, text = node.http_get("/metrics")
    sizes = re.findall(r'^raftkv_rocksdb_bytes\{family="kv[^"]*",what="sst"\} (\S+)$', text.decode(),
                       re.MULTILINE)
    return sum(float(size) for size in sizes)


@pytest.mark.deadline(90)
def test_defrag_gives_space_back_while_writes_go_on(make_cluster):
    election_ms = 1000
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=election_ms,
                           defrag_rate_bytes=8 << 20, memtable_bytes=4 << 20).start()
    leader = cluster.leader()
    rng = random.Random(5)
    for i in range(300):  # 30 MB that don't compress, of which two thirds are deleted then
        leader.client.put(b"k/%03d" % i, rng.randbytes(100_000))
    leader.client.delete(b"k/1", b"k/3")
    leader.client.compact(leader.client.put(b"k/last", b"").header.revision, physical=True)
    cluster.wait_converged()
    before = kv_bytes(leader)
    writer = SlowestPut(leader)
    writer.start()
    try:
        wait_until(lambda: writer.count > 10, "writes are under way")
        begin = time.monotonic()
        output = raftkvctl([leader], "defrag")
        took_s = time.monotonic() - begin
    finally:
        writer.stop.set()
        writer.join()
    assert output == f"Finished defragmenting member[{leader.address}]\n"
    # It is finished when it says so: what it logs at its end is there.
    assert "defragmented pieces=" in leader.log_text()
    after = kv_bytes(leader)
    print(f"defrag: {before:.0f} -> {after:.0f} bytes in {took_s:.2f} s; "
          f"{writer.count} writes beside it, the slowest {writer.slowest_s * 1000:.0f} ms")
    assert before - after > 12_000_000
    assert writer.count > 50
    assert writer.slowest_s < election_ms / 1000
    assert cluster.agreed_leader() is leader


def test_defrag_outlives_a_client_that_gives_up(make_cluster):
    cluster = make_cluster(1, defrag_rate_bytes=1 << 20, memtable_bytes=1 << 20).start()
    node = cluster.nodes[0]
    for i in range(60):
        node.client.put(b"k/%03d" % i, random.Random(i).randbytes(100_000))
    raftkvctl([node], "defrag")  # what is in memory goes to the lowest level, for the next to pace
    with pytest.raises(RpcFailed) as caught:
        node.client.raw("/etcdserverpb.Maintenance/Defragment", b"", timeout_s=0.5)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert node.log_text().count("defragmented pieces=") == 1
    wait_until(lambda: node.log_text().count("defragmented pieces=") == 2, "it goes on", 30)
    # A stop does not wait for it.
    with pytest.raises(RpcFailed):
        node.client.raw("/etcdserverpb.Maintenance/Defragment", b"", timeout_s=0.2)
    code, took_s = node.stop()
    assert code == 0 and took_s < 4, f"{code}, {took_s:.1f} s"


def test_programs_say_what_is_missing(tmp_path):
    done = subprocess.run([BIN_DIR / "raftkvctl", "snapshot", "status", tmp_path / "nothing"],
                          capture_output=True, check=False)
    assert done.returncode == 1 and b"nothing" in done.stderr

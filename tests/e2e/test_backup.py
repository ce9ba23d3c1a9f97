"""Backup and restore, comparing replicas, and a disk that is full."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from harness.client import RpcFailed
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


def free_bytes(path):
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def small_file_system(path):
    """A file system of its own where that is allowed, so that nothing else fills or frees it."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", path],
                          capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.deadline(90)
def test_a_full_disk_raises_an_alarm_and_clears_it(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[0]
    mount = pathlib.Path(node.data_dir)
    mounted = small_file_system(mount)
    try:
        # The alarm clears at 1.25 times the reserve, which must be less than what is free now.
        reserve = free_bytes(mount) // 4 * (2 if mounted else 3)
        node.own_flags["free-space-reserve-bytes"] = reserve
        cluster.start()
        client = node.client
        client.put(b"k", b"v")
        ballast = mount / "ballast"
        subprocess.run(["fallocate", "-l", str(free_bytes(mount) - reserve // 10 * 9), ballast],
                       check=True)
        wait_until(lambda: "NOSPACE" in raftkvctl([node], "alarm", "list"),
                   "the alarm is raised", 30, poll_s=0.2)
        with pytest.raises(RpcFailed, match="etcdserver: mvcc: database space exceeded"):
            client.put(b"k2", b"v")
        assert client.get(b"k") == b"v"
        revision = client.delete(b"k").header.revision
        client.compact(revision)
        ballast.unlink()
        wait_until(lambda: raftkvctl([node], "alarm", "list") == "", "the alarm clears by itself",
                   30, poll_s=0.2)
        client.put(b"k2", b"v")
    finally:
        cluster.close()
        if mounted:
            subprocess.run(["umount", mount], check=False)
            shutil.rmtree(cluster.dir, ignore_errors=True)


def test_programs_say_what_is_missing(tmp_path):
    done = subprocess.run([BIN_DIR / "raftkvctl", "snapshot", "status", tmp_path / "nothing"],
                          capture_output=True, check=False)
    assert done.returncode == 1 and b"nothing" in done.stderr

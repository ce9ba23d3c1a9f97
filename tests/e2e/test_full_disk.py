"""A disk that gets full: refusing writes in time, and what happens without that."""

import os
import pathlib
import shutil
import subprocess
import threading

import pytest
from harness.client import Client, RpcFailed
from harness.tools import raftkvctl
from harness.wait import wait_until

pytestmark = pytest.mark.raftkv_only


def free_bytes(path):
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def small_file_system(path, mib=512):
    """A file system of its own where that is allowed, so that nothing else fills or frees it."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", path],
                          capture_output=True, check=False)
    return done.returncode == 0


def accepts_put(client):
    try:
        client.put(b"k2", b"v")
    except RpcFailed:
        return False
    return True


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
        # The node itself notices within a step of its maintenance.
        wait_until(lambda: not accepts_put(client), "writes are refused", 5)
        with pytest.raises(RpcFailed, match="etcdserver: mvcc: database space exceeded"):
            client.put(b"k2", b"v")
        assert client.get(b"k") == b"v"
        revision = client.delete(b"k").header.revision
        client.compact(revision)
        ballast.unlink()
        wait_until(lambda: raftkvctl([node], "alarm", "list") == "", "the alarm clears by itself",
                   30, poll_s=0.2)
        wait_until(lambda: accepts_put(client), "writes are taken again", 5)
    finally:
        cluster.close()
        if mounted:
            subprocess.run(["umount", mount], check=False)
            shutil.rmtree(cluster.dir, ignore_errors=True)


@pytest.mark.deadline(90)
def test_a_disk_that_is_full_ends_the_node_and_loses_nothing(make_cluster):
    cluster = make_cluster(1, free_space_reserve_bytes=0)
    node = cluster.nodes[0]
    mount = pathlib.Path(node.data_dir)
    if not small_file_system(mount, 200):
        pytest.skip("a file system of the test's own can't be mounted here")
    try:
        cluster.start()
        acknowledged = []
        full = threading.Event()

        def write(number):
            with Client(node.address) as client:
                while not full.is_set():
                    key = b"%d/%d" % (number, len(acknowledged))
                    try:
                        client.put(key, os.urandom(16 << 10))
                    except RpcFailed:
                        return
                    acknowledged.append(key)

        writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for writer in writers:
            writer.start()
        wait_until(lambda: not node.running, "the node ends by itself", 60)
        full.set()
        for writer in writers:
            writer.join()
        log = node.log_tail()
        assert "No space left on device" in log and "start the node again" in log, log
        assert "Assertion" not in log, log
        subprocess.run(["mount", "-o", "remount,size=512m", mount], check=True)
        node.drop_client()
        node.start().wait_ready(30)
        found = {kv.key for kv in node.client.range(b"\0", b"\0", keys_only=True).kvs}
        assert acknowledged and found.issuperset(acknowledged)
    finally:
        cluster.close()
        subprocess.run(["umount", mount], check=False)
        shutil.rmtree(cluster.dir, ignore_errors=True)

"""A member whose data differs from the others', though every check of its start passes."""

import json
import subprocess
import threading

import grpc
import pytest
from harness.client import Client, RpcFailed
from harness.cluster import BIN_DIR
from harness.tools import id_text, member_id, raftkvctl, replace_member
from harness.wait import wait_until

pytestmark = pytest.mark.raftkv_only

_CHANGE_VALUE = BIN_DIR.parent / "tests/e2e/change_value"
_CORRUPT = "etcdserver: corrupt cluster"


def damage(node, key, value):
    """Another value for one key of a stopped node, in a record with the right checksum."""
    subprocess.run([_CHANGE_VALUE, node.db_dir, key, value], check=True, timeout=30)


class Writer:
    """Writes without a pause until that is refused with another error than those of elections."""

    def __init__(self, node):
        self.refusal = None
        self.acked = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(node.address,))
        self._thread.start()

    def _run(self, address):
        with Client(address) as client:
            while not self._stop.is_set():
                try:
                    client.put(b"load/%d" % (self.acked % 1000), b"x" * 100)
                    self.acked += 1
                except RpcFailed as error:
                    if error.code != grpc.StatusCode.UNAVAILABLE:
                        self.refusal = error
                        return

    def join(self):
        self._thread.join(30)

    def close(self):
        self._stop.set()
        self._thread.join()


def refused(call, *args):
    with pytest.raises(RpcFailed, match=_CORRUPT) as caught:
        call(*args)
    assert caught.value.code == grpc.StatusCode.DATA_LOSS


def accepted(node):
    try:
        return node.client.put(b"probe", b"v", timeout_s=10)
    except RpcFailed as error:
        assert _CORRUPT in str(error), error
        return None


@pytest.mark.deadline(90)
def test_a_member_with_other_data_is_named_and_replaced(make_cluster):
    cluster = make_cluster(3, corrupt_check_time_s=1).start()
    leader = cluster.leader()
    for i in range(100):
        leader.client.put(b"k/%d" % i, b"v")
    cluster.wait_converged()
    bad = cluster.others(leader)[0]
    good = cluster.others(bad)
    bad_id = member_id(good, bad)
    assert raftkvctl(good, "alarm", "list") == ""
    # Compared, and equal, while writes go on: what is found later is not the load.
    load = Writer(leader)
    try:
        wait_until(lambda: "compared members=3" in leader.log_text(),
                   "all members are compared under load", 20, poll_s=0.2)
        assert load.refusal is None, load.refusal
        bad.stop()
        damage(bad, "k/7", "w")
        bad.start()
        load.join()
        assert load.refusal is not None and _CORRUPT in str(load.refusal)
        assert bad.running, bad.log_tail()
    finally:
        load.close()
    alarms = [line for line in raftkvctl(good, "alarm", "list").splitlines() if line]
    assert alarms == [f"memberID:{id_text(bad_id)} alarm:CORRUPT"]
    listed = json.loads(raftkvctl(good, "alarm", "list", "-w", "json"))["alarms"]
    assert listed == [{"memberID": bad_id, "alarm": 2}]
    for node in cluster.nodes:
        wait_until(lambda node=node: not accepted(node), f"{node} refuses writes")
        refused(node.client.put, b"probe", b"v")
        refused(node.client.delete, b"k/1")
        refused(node.client.compact, 2)
    for node in good:
        assert node.client.get(b"k/8") == b"v"
        assert node.http_get("/readyz")[0] == 200
    refused(bad.client.get, b"k/7")
    assert bad.http_get("/readyz")[0] == 503

    # Disarmed through the damaged member itself, which knows no better: until the next check.
    raftkvctl([bad], "alarm", "disarm")
    wait_until(lambda: "CORRUPT" in raftkvctl(good, "alarm", "list"), "the alarm is back", 20)

    # What operations.md says: replace it. Its alarm goes with it.
    replace_member(cluster, bad, "n4")
    assert raftkvctl(good, "alarm", "list") == ""
    # Each node notices within a moment.
    for node in cluster.nodes:
        wait_until(lambda node=node: accepted(node), f"{node} takes writes again", 10)
    cluster.assert_same_contents()
    raftkvctl(cluster.nodes, "hashkv", "--cluster")

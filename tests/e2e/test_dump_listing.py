"""raftkv-dump's listing commands: against what a restarted node serves, against Debian's ldb, and
with --live against a node under load."""

import base64
import json
import re
import shutil

import pytest
from harness.dump import (digest, dumped, fingerprint, kill_all_mid_load, ldb_scan, raftkv_dump,
                          rows)
from harness.workload import Workload

pytestmark = pytest.mark.raftkv_only


def summary(node, *args):
    return json.loads(raftkv_dump("summary", node.data_dir, "-o", "json", *args))


def test_listings_of_a_killed_node_agree_with_what_it_then_serves(make_cluster):
    """A lone node: what its log holds is committed once it leads again."""
    (node,) = (cluster := make_cluster(1, memtable_bytes=64 << 10)).start().nodes
    kill_all_mid_load(cluster, 21)
    before = fingerprint(node.data_dir)
    seen = summary(node)
    log = dumped("log", node.data_dir)
    wal = dumped("wal", node.data_dir)
    files = dumped("files", node.data_dir, "--verify")
    members = dumped("members", node.data_dir)
    sessions = dumped("sessions", node.data_dir)
    flushed = dumped("keys", node.data_dir)
    replayed = dumped("keys", node.data_dir, "--replay", "--through", "last")
    assert fingerprint(node.data_dir) == before, "a listing changed the directory"

    assert seen["start"]["would_start"] and not seen["problems"]
    assert seen["live_keys"] == len(flushed["key"])
    applied = seen["applied"]
    assert applied["sessions"] == len(sessions["session"])
    indexes = [entry["index"] for entry in log["entry"]]
    assert [indexes[0], indexes[-1]] == [seen["log"]["first"], seen["log"]["last"]]

    # The WAL holds the end of the log, and the tables hold what is not in the WAL.
    in_wal = {update["index"] for record in wal["record"] for update in record["updates"]
              if update["family"] == "raft_log" and update["op"] == "put"}
    assert max(in_wal) == indexes[-1]
    in_tables = set()
    for table in files["file"]:
        assert table["state"] == "verified"
        if table["family"] == "raft_log":
            in_tables.update(range(table["indexes"]["first"], table["indexes"]["last"] + 1))
    assert in_tables | in_wal >= set(indexes)

    # What a start would do is what the start then says it did.
    node.start().wait_ready()
    recovered = re.findall(r"recovered .*", node.log_text())[-1]
    assert f"applied={applied['index']} " in recovered
    assert f"revision={applied['revision']} " in recovered
    assert f"replay={seen['start']['entries_to_replay']}" in recovered
    assert rows(replayed) == cluster.contents(node)
    (member,) = members["member"]
    assert (member["name"], member["role"]) == (node.name, "voter")
    assert member["id"] == f"{node.status().header.member_id:x}"


def unescaped(key):
    return key.replace(b"\x00\xff", b"\x00")


def varint(data):
    value = shift = 0
    for i, byte in enumerate(data):
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, data[i + 1:]
    raise AssertionError("a varint without an end")


def version(key, record):
    """A data record by docs/on-disk-format.md: (key, revision, create, version, value); the last
    three are empty for a tombstone."""
    assert key[:1] == b"d" and key[-14:-12] == b"\x00\x01" and record[0] == 1
    revision = (1 << 64) - 1 - int.from_bytes(key[-12:-4], "big")
    flags, body = record[5], record[6:]
    if flags & 1:
        return unescaped(key[1:-14]), revision, "", "", ""
    since_create, body = varint(body)
    number, body = varint(body)
    _, value = varint(body)
    return unescaped(key[1:-14]), revision, revision - since_create, number, value


def dumped_version(record):
    key = base64.b64decode(record["key"])
    if "deleted" in record:
        return key, record["mod_revision"], "", "", ""
    return (key, record["mod_revision"], record["create_revision"], record["version"],
            base64.b64decode(record["value"]))


def test_ldb_finds_the_same(make_cluster, tmp_path):
    """Debian's ldb on a copy of each killed node's database: the same log entries, byte by byte,
    and the same versions of keys, sessions and records of raft_meta."""
    cluster = make_cluster(3, memtable_bytes=64 << 10).start()
    kill_all_mid_load(cluster, 22)
    for node in cluster.nodes:
        copy = tmp_path / node.name
        shutil.copytree(node.db_dir, copy)
        entries = [(entry["index"].to_bytes(8, "big"), base64.b64decode(entry["raw"]))
                   for entry in dumped("log", node.data_dir, "--raw")["entry"]]
        # Entries in front of the log's start are not part of it, though they may not be gone yet.
        found = [record for record in ldb_scan(copy, "raft_log") if record[0] >= entries[0][0]]
        assert len(found) == len(entries) > 100
        assert digest(found) == digest(entries)

        kv = ldb_scan(copy, "kv")
        versions = [version(*record) for record in kv if record[0][:1] == b"d"]
        listed = [dumped_version(r)
                  for r in dumped("keys", node.data_dir, "--history")["version"]]
        assert len(versions) == len(listed) > 10
        assert digest(versions) == digest(listed)

        clients = [key[1:] for key, _ in kv if key[:1] == b"s"]
        assert clients == [base64.b64decode(session["client"])
                           for session in dumped("sessions", node.data_dir)["session"]]
        hard_state = dict(ldb_scan(copy, "raft_meta"))[b"hard_state"]
        assert int.from_bytes(hard_state[1:9], "little") == summary(node)["hard_state"]["term"]
        assert int.from_bytes(hard_state[17:25], "little") == summary(node)["log"]["commit_floor"]


@pytest.mark.deadline(120)
def test_live_under_load(make_cluster):
    """Again and again while clients write, tables are flushed and the log is cut: every look
    succeeds, and shows a log without a gap that goes on where the last one ended."""
    cluster = make_cluster(3, memtable_bytes=64 << 10).start()
    # Few writers, whose large values fill memtables all the same: more of them, and readers, would
    # only slow down the looks, which are what is tested.
    workload = Workload(cluster, 23, writers=1, readers=0, sessions=1, rest_writers=0).start()
    try:
        workload.wait_acked(200)
        first = {node: summary(node, "--live")["log"]["last"] for node in cluster.nodes}
        last = dict(first)
        assert "--live" in raftkv_dump("log", cluster.nodes[0].data_dir, code=2)
        for _ in range(6):
            for node in cluster.nodes:
                log = dumped("log", node.data_dir, "--live")
                indexes = [entry["index"] for entry in log["entry"]]
                assert indexes == list(range(indexes[0], indexes[-1] + 1))
                assert indexes[-1] >= last[node]
                last[node] = indexes[-1]
                keys = dumped("keys", node.data_dir, "--live")  # before meta: the log goes on
                seen = summary(node, "--live")
                assert not seen["problems"] and seen["node_name"] == node.name
                meta = json.loads(raftkv_dump("meta", node.data_dir, "-o", "json", "--live"))
                assert meta["log"]["last"] >= last[node] and not meta["problems"]
                assert len(dumped("members", node.data_dir, "--live")["member"]) == 3
                assert keys["state"][0]["applied_index"] <= meta["log"]["last"]
            workload.wait_acked(20)
    finally:
        workload.stop()
    assert all(last[node] > first[node] for node in cluster.nodes)
    # A flushed state that was seen is one that the cluster still knows.
    node = cluster.nodes[0]
    keys = dumped("keys", node.data_dir, "--live")
    revision = keys["state"][0]["revision"]
    cluster.wait_converged()
    assert rows(keys) == cluster.contents(node, revision=revision)

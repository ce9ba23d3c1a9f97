"""raftkv-dump's commands that make something, on directories of nodes that were killed under load."""

import base64
import json
import os
import shutil
import subprocess

import pytest
from harness.client import RpcFailed
from harness.cluster import BIN_DIR, REPO
from harness.tools import raftkvctl
from harness.workload import Workload

pytestmark = pytest.mark.raftkv_only

_BUMP = 1_000_000_000


def dump(*args, code=0):
    """The records of a run of raftkv-dump, which must end with `code`."""
    done = subprocess.run([BIN_DIR / "raftkv-dump", *map(str, args), "-o", "jsonl"],
                          capture_output=True, timeout=120, check=False)
    assert done.returncode == code, (
        f"raftkv-dump {args}: {done.returncode}\n{done.stdout.decode()[-3000:]}"
        f"{done.stderr.decode()}")
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def record(records, kind):
    (found,) = [r for r in records if r["type"] == kind]
    return found


@pytest.fixture
def crashed(make_cluster):
    """A lone node killed under load: (cluster, what it serves after a restart). All of its log is
    committed once it leads again, so that is what there is to find."""
    cluster = make_cluster(1, memtable_bytes=64 << 10).start()
    (node,) = cluster.nodes
    client = node.client
    client.put(b"\xff\x00binary", b"\x80\n\x00")
    client.put("wörter".encode(), "Grüße\n".encode())
    client.put(b"empty", b"")
    for i in range(300):
        client.put(b"fill/%03d" % (i % 100), b"%d" % i)
    client.delete(b"fill/007")
    workload = Workload(cluster, seed=4, timeout_s=0.5).start()
    try:
        workload.wait_acked(400)
        node.kill()
    finally:
        workload.close()
    copy = cluster.dir / "crashed"
    shutil.copytree(node.data_dir, copy)
    node.start().wait_ready()
    served = cluster.contents(node)
    node.stop()
    return cluster, copy, served


def start_on(make_cluster, make):
    """A lone node of a new cluster on what `make`(directory, flags) makes."""
    cluster = make_cluster(1)
    (node,) = cluster.nodes
    node.own_flags["initial-cluster-token"] = "made"
    make(node.data_dir, ["--name", node.name, "--initial-cluster-token", "made",
                         "--initial-advertise-peer-urls", node.peer_url])
    cluster.start()
    return cluster


def revision_of(node):
    return node.client.range(b"\0").header.revision


def values(contents):
    return [(key, value) for key, value, *_ in contents]


def etcdctl_get_all(node):
    done = subprocess.run(
        ["etcdctl", "--endpoints", node.address, "get", "", "--from-key", "-w", "json"],
        env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, timeout=30, check=True)
    return [(base64.b64decode(kv["key"]), base64.b64decode(kv.get("value", "")))
            for kv in json.loads(done.stdout)["kvs"]]


def test_export_and_import(crashed, make_cluster, tmp_path):
    _, directory, served = crashed
    path = tmp_path / "keys.jsonl"
    assert record(dump("export", directory, "--out", path), "exported")["keys"] == len(served)
    target = make_cluster(3).start()
    endpoints = ",".join(node.address for node in target.nodes)
    imported = record(dump("import", path, "--endpoints", endpoints), "imported")
    assert imported["created"] == len(served)
    assert values(target.assert_same_contents()) == values(served)
    if shutil.which("etcdctl"):
        assert etcdctl_get_all(target.nodes[1]) == values(served)
    # Again, as after a connection that broke off: nothing is written anew.
    revision = revision_of(target.nodes[0])
    again = record(dump("import", path, "--endpoints", endpoints), "imported")
    assert (again["created"], again["present"]) == (0, len(served))
    assert revision_of(target.nodes[0]) == revision
    # A key that somebody changed meanwhile ends it, and stays.
    target.leader().client.put(b"empty", b"no more")
    dump("import", path, "--endpoints", endpoints, code=2)
    assert target.leader().client.get(b"empty") == b"no more"
    over = record(dump("import", path, "--endpoints", endpoints, "--overwrite"), "imported")
    assert over["overwritten"] == 1
    assert values(target.assert_same_contents()) == values(served)


def test_import_while_the_leader_dies(crashed, make_cluster, tmp_path):
    _, directory, served = crashed
    path = tmp_path / "keys.jsonl"
    dump("export", directory, "--out", path)
    target = make_cluster(3).start()
    leader = target.leader()
    endpoints = ",".join(node.address for node in target.nodes)
    running = subprocess.Popen(
        [BIN_DIR / "raftkv-dump", "import", path, "--endpoints", endpoints, "-o", "json"],
        stdout=subprocess.PIPE)
    leader.kill()
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0, out
    leader.start()
    target.wait_ready()
    assert values(target.assert_same_contents()) == values(served)


def test_a_cut_file_is_not_imported(crashed, make_cluster, tmp_path):
    _, directory, _ = crashed
    path = tmp_path / "keys.jsonl"
    dump("export", directory, "--out", path)
    lines = path.read_bytes().splitlines(keepends=True)
    target = make_cluster(1).start()
    endpoint = target.nodes[0].address
    for damaged in (lines[:-1], lines[:5] + lines[6:], lines[:-1] + [lines[-1][:-9]]):
        path.write_bytes(b"".join(damaged))
        dump("import", path, "--endpoints", endpoint, code=1)
    assert target.contents(target.nodes[0]) == []


def test_replay_to_the_end_is_what_the_node_serves(crashed, make_cluster):
    _, directory, served = crashed
    made = {}

    def make(out, flags):
        made.update(record(dump("replay", directory, "--to", "last", "--out", out, *flags),
                           "replayed"))

    target = start_on(make_cluster, make)
    assert values(target.contents(target.nodes[0])) == values(served)
    client = target.nodes[0].client
    assert client.put(b"new", b"v").header.revision > made["revision"] + _BUMP
    with pytest.raises(RpcFailed, match="compacted"):
        client.range(b"empty", revision=made["revision"])
    target.stop()
    target.start()
    assert len(target.contents(target.nodes[0])) == len(served) + 1


def test_replay_to_a_revision_is_what_was_then(make_cluster):
    """Somebody deletes everything; the state from before is had back."""
    source = make_cluster(1).start()
    (node,) = source.nodes
    for i in range(200):
        node.client.put(b"k/%03d" % (i % 50), b"%d" % i)
    before = source.contents(node)
    revision = revision_of(node)
    node.client.delete(b"k/", b"k0")
    node.client.put(b"after", b"too late")
    node.kill()

    def make(out, flags):
        dump("replay", node.data_dir, "--to", f"revision:{revision}", "--out", out,
             "--no-bump-revision", *flags)

    target = start_on(make_cluster, make)
    assert target.contents(target.nodes[0]) == before


def test_it_is_not_the_old_member(crashed, make_cluster, tmp_path):
    cluster, directory, _ = crashed
    (node,) = cluster.nodes
    for command in (["replay", directory, "--to", "last"], ["salvage", directory]):
        dump(*command, "--out", tmp_path / "same", "--name", node.name, "--initial-cluster-token",
             "e2e", "--initial-advertise-peer-urls", node.peer_url, code=2)
        assert not (tmp_path / "same" / "db").exists()
    # With the old flags a node refuses the directory.
    out = tmp_path / "made"
    dump("salvage", directory, "--out", out, "--name", node.name, "--initial-cluster-token", "new",
         "--initial-advertise-peer-urls", node.peer_url)
    shutil.rmtree(node.data_dir)
    shutil.copytree(out, node.data_dir)
    node.start()
    node.process.wait(20)
    assert node.process.returncode == 1
    assert "belongs to another cluster" in node.log_tail(2000)


@pytest.mark.parametrize("damage", ["flip", "delete", "manifest", "current"])
def test_a_node_starts_on_what_was_salvaged(damage, crashed, make_cluster):
    _, directory, served = crashed
    db = directory / "db"
    if damage == "flip":
        table = max(db.glob("*.sst"))
        data = bytearray(table.read_bytes())
        data[len(data) // 3] ^= 4
        table.write_bytes(data)
    elif damage == "delete":
        max(db.glob("*.sst")).unlink()
    elif damage == "manifest":
        (manifest,) = db.glob("MANIFEST-*")
        os.truncate(manifest, 10)
    else:
        (db / "CURRENT").unlink()
    made = {}

    def make(out, flags):
        done = subprocess.run(
            [BIN_DIR / "raftkv-dump", "salvage", directory, "--out", out, *flags, "-o", "jsonl"],
            capture_output=True, timeout=60, check=False)
        made["code"] = done.returncode
        made["records"] = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert done.returncode in (0, 1), done.stdout.decode() + done.stderr.decode()

    target = start_on(make_cluster, make)
    contents = values(target.contents(target.nodes[0]))
    problems = [r for r in made["records"] if r["type"] == "problem"]
    assert (made["code"] == 0) == (not problems)
    if not problems:
        assert contents == values(served)
    assert raftkvctl(target.nodes, "put", "works", "yes") == "OK\n"


def test_a_node_starts_on_the_golden_directory(make_cluster):
    cluster = make_cluster(1)
    (node,) = cluster.nodes
    node.own_flags["initial-cluster-token"] = "golden"
    shutil.copytree(REPO / "tests/testdata/golden-v1", node.data_dir)
    cluster.start()
    assert values(cluster.contents(node)) == [
        (b"a", b"2"), (b"b\0\xff", b"two\nlines"), (b"d", b"newest"), (b"s", b"once"),
        (b"txn", b"yes")]
    assert node.client.delete(b"d").deleted == 1

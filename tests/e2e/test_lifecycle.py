"""Starting, stopping, and refusing to start."""

import json
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness.client import Client, RpcFailed, op_put
from harness.cluster import REPO, spawn
from harness.http import curl, key_path
from harness.ports import free_port
from harness.wait import wait_until
from harness.workload import Workload

pytestmark = pytest.mark.raftkv_only

# A clean stop is bounded: it hands leadership on and finishes requests (5 s each at most), flushes.
_STOP_BOUND_S = 15.0


def run_raftkvd(*command, timeout_s=20, user=None):
    """Runs a node that is expected to refuse; returns (exit code, what it printed)."""
    prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    process = subprocess.Popen(
        [*(prefix if user else ()), *map(str, command)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it did not refuse: {command}\n{err.decode()}") from None
    return process.returncode, out.decode(), err.decode()


def refuses(node, *words, user=None, command=None, **override):
    """The node must end by itself with a non-zero code and name each of `words` on stderr."""
    command = command or node.command(**override)
    code, _, err = run_raftkvd(*command, user=user)
    assert code > 0, f"exit code {code} (by a signal if negative):\n{err}"
    for word in words:
        assert str(word).lower() in err.lower(), f"no {word!r} in:\n{err}"
    # A message for people: no crash, and not an empty one.
    assert "CHECK" not in err and "terminate called" not in err, err
    return err


@pytest.fixture
def single(make_cluster):
    """One ready node that holds a key."""
    (node,) = make_cluster(1).start().nodes
    node.client.put(b"held", b"data")
    return node


def starts_with_its_data(node):
    node.start().wait_ready()
    assert node.client.get(b"held") == b"data"


# Stopping.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_stops_cleanly(single, number):
    begin = time.monotonic()
    single.signal(number)
    assert single.process.wait(_STOP_BOUND_S) == 0, single.log_tail()
    assert time.monotonic() - begin < _STOP_BOUND_S
    single.drop_client()
    starts_with_its_data(single)


def test_a_stopping_leader_hands_leadership_on(make_cluster):
    # Elections by timeout take at least three seconds here, so a quick successor was told.
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=3000).start()
    old = cluster.leader()
    rest = cluster.others(old)
    old.client.put(b"k", b"v")
    begin = time.monotonic()
    old.signal(signal.SIGTERM)
    cluster.leader(rest, timeout_s=10)
    took = time.monotonic() - begin
    assert old.process.wait(_STOP_BOUND_S) == 0
    assert took < 1.5, f"a new leader took {took:.2f} s"
    assert rest[0].client.get(b"k") == b"v"
    old.drop_client()
    old.start().wait_ready()
    cluster.assert_same_contents()


def test_a_stop_finishes_what_is_under_way(three):
    """Rolling restart under load: every node is stopped and started, and no write is lost."""
    workload = Workload(three, seed=7, writers=2, readers=2).start()
    try:
        for node in three.nodes:
            workload.wait_acked(100)
            code, seconds = node.stop()
            assert code == 0 and seconds < _STOP_BOUND_S, node.log_tail()
            workload.wait_acked(50)
            node.start().wait_ready()
        workload.wait_acked(100)
        workload.stop()
    finally:
        workload.close()
    workload.check_cluster(three, random.Random(7))


def test_idle_connections_do_not_delay_a_stop(single):
    """A client that holds its connections open and says nothing."""
    http = socket.create_connection(("127.0.0.1", single.http_port))
    grpc_idle = socket.create_connection(("127.0.0.1", single.client_port))
    try:
        code, seconds = single.stop()
        assert code == 0 and seconds < _STOP_BOUND_S
    finally:
        http.close()
        grpc_idle.close()


def test_a_client_that_takes_its_time_does_not_delay_a_stop(single):
    with socket.create_connection(("127.0.0.1", single.http_port)) as slow:
        slow.sendall(b"PUT /v1/kv/slow?upsert=true HTTP/1.1\r\nHost: a\r\n"
                     b"Content-Length: 100000\r\n\r\n")
        ended = threading.Event()

        def drip():
            while not ended.wait(0.5):
                try:
                    slow.send(b"x")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            code, seconds = single.stop()
        finally:
            ended.set()
            dripping.join()
    assert code == 0 and seconds < _STOP_BOUND_S


def test_all_stop_at_once_and_come_back(three):
    for i in range(50):
        three.nodes[i % 3].client.put(b"k/%d" % i, b"v")
    before = three.assert_same_contents()
    three.stop()
    three.start()
    assert three.assert_same_contents() == before


def test_a_clean_restart_replays_nothing(single):
    for i in range(300):
        single.client.put(b"k/%d" % (i % 20), b"x" * 1000)
    assert single.stop()[0] == 0
    single.start().wait_ready()
    assert single.metric("raftkv_replayed_entries") == 0
    assert single.client.range(b"k/0").kvs[0].version == 15
    # After kill -9 it is otherwise, or the line above says nothing.
    for i in range(100):
        single.client.put(b"k/%d" % i, b"y")
    single.kill()
    single.start().wait_ready()
    wait_until(lambda: single.metric("raftkv_replayed_entries") >= 100, "the replay is reported", 5)
    assert single.client.range(b"k/99").kvs[0].value == b"y"


# kill -9.


def test_one_node_keeps_everything_through_kill_9(make_cluster):
    """The single-node cluster takes the same path: every acknowledged put survives each crash."""
    (node,) = make_cluster(1, memtable_bytes=64 << 10).start().nodes
    acked, stop = [], threading.Event()

    def write(writer):
        n = 0
        with Client(node.address, timeout_s=1.0) as client:
            while not stop.is_set():
                n += 1
                key = b"%d/%06d" % (writer, n)
                try:
                    acked.append((key, client.put(key, b"v%d" % n).header.revision))
                except RpcFailed:
                    time.sleep(0.01)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            target = len(acked) + 200
            wait_until(lambda target=target: len(acked) >= target, "200 puts are acknowledged")
            node.kill()
            node.start().wait_ready()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    held = {row[0]: row[3] for row in node.cluster.contents(node)}
    lost = [key for key, revision in acked if held.get(key) != revision]
    assert not lost, f"{len(lost)} of {len(acked)} are lost, e.g. {lost[:5]}"


def test_a_restart_after_kill_9_with_much_data_is_quick(make_cluster):
    (node,) = make_cluster(1).start().nodes
    for i in range(20):
        node.client.txn((), [op_put(b"%02d/%03d" % (i, j), b"x" * 2000) for j in range(128)])
    node.kill()
    begin = time.monotonic()
    node.start().wait_ready()
    assert time.monotonic() - begin < 10
    assert node.client.prefix(b"", count_only=True).count == 20 * 128


# Refusals. Each also shows that nothing was harmed: once the cause is gone the node starts.


@pytest.mark.parametrize("port", ["client", "peer", "http"])
def test_port_in_use(single, port):
    single.stop()
    number = getattr(single, f"{port}_port")
    with socket.socket() as holder:
        # As a careless neighbour: willing to share the port.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", number))
        holder.listen()
        refuses(single, number, "use")
    starts_with_its_data(single)


@pytest.mark.parametrize("port", ["client", "peer", "http"])
def test_port_in_use_by_another_node(make_cluster, single, port):
    """gRPC and cpp-httplib share ports between processes unless told not to."""
    other = make_cluster(1).nodes[0]
    url = f"http://127.0.0.1:{getattr(single, port + '_port')}"
    refuses(other, getattr(single, f"{port}_port"), "use", **{f"listen_{port}_urls": url})
    assert single.client.get(b"held") == b"data"
    other.start().wait_ready()


def test_unwritable_directory(single):
    single.stop()
    refuses(single, "data-dir", data_dir="/proc/raftkv-cannot-be-here")
    file = single.cluster.dir / "a-file"
    file.write_text("not a directory")
    refuses(single, file, data_dir=file / "below")
    if os.geteuid() == 0:
        single.cluster.dir.chmod(0o755)
        refuses(single, single.data_dir, user=65534)
    starts_with_its_data(single)


def test_directory_in_use(make_cluster, single):
    other = make_cluster(1).nodes[0]
    refuses(other, single.data_dir, "in use", single.process.pid,
            name=single.name, data_dir=single.data_dir)
    assert single.client.get(b"held") == b"data"
    single.stop()
    starts_with_its_data(single)


def test_directory_of_another_cluster_or_node(make_cluster, single):
    single.stop()
    refuses(single, single.data_dir, "another cluster", initial_cluster_token="another")
    other = f"other=http://127.0.0.1:{single.peer_port}"
    refuses(single, "n1", "other", name="other", initial_cluster=other)
    # Other members make another cluster, too.
    more = f"n1=http://127.0.0.1:{single.peer_port},n2=http://127.0.0.1:{free_port()}"
    refuses(single, single.data_dir, initial_cluster=more)
    starts_with_its_data(single)


def test_nodes_of_different_clusters_do_not_join(make_cluster):
    """A node that was given the addresses of a foreign cluster takes no part in it."""
    cluster = make_cluster(3)
    a, b, c = cluster.nodes
    a.start()
    b.start()
    a.wait_ready()
    c.start(initial_cluster_token="another")
    wait_until(lambda: c.http_get("/healthz")[0] == 200, "it runs", 10)
    a.client.put(b"k", b"v")
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert c.http_get("/readyz")[0] == 503
        assert not c.client.range(b"k", serializable=True).kvs
        time.sleep(0.05)
    assert "cluster" in c.log_text() or "cluster" in a.log_text()


def test_bad_flags(single):
    single.stop()
    refuses(single, "--no-such-flag", no_such_flag="1")
    refuses(single, "heartbeat-interval", heartbeat_interval="fast")
    refuses(single, "heartbeat-interval", heartbeat_interval="0")
    refuses(single, "election-timeout", heartbeat_interval="100", election_timeout="200")
    refuses(single, "log-level", log_level="loud")
    refuses(single, "log-format", log_format="xml")
    refuses(single, "initial-cluster-state", initial_cluster_state="old")
    refuses(single, "max-request-bytes", max_request_bytes="-1")
    refuses(single, "listen-client-urls", listen_client_urls="127.0.0.1:2379")
    refuses(single, "listen-peer-urls", listen_peer_urls="http://127.0.0.1")
    refuses(single, "https", listen_client_urls="https://127.0.0.1:2379")
    refuses(single, "initial-cluster", "n9", name="n9")
    refuses(single, "twice", initial_cluster=f"n1=http://127.0.0.1:1,n1=http://127.0.0.1:2")
    refuses(single, "initial-cluster", initial_cluster="nonsense")
    starts_with_its_data(single)


def write_config(node, path, **extra):
    lines = [f'{k} = {v if isinstance(v, int) else chr(34) + str(v) + chr(34)}'
             for k, v in {**node.flags(), **extra}.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_config_file(single):
    single.stop()
    path = single.cluster.dir / "node.toml"
    config = ["--config-file", path]
    binary = single.cluster.binary
    write_config(single, path, hartbeat=20)
    refuses(single, "hartbeat", command=[binary, *config])
    write_config(single, path, **{"heartbeat-interval": "soon"})
    refuses(single, "heartbeat-interval", command=[binary, *config])
    refuses(single, "missing.toml", command=[binary, "--config-file", path.parent / "missing.toml"])
    path.write_text("this is = = not toml [")
    refuses(single, command=[binary, *config])
    # The flag wins over the file.
    write_config(single, path, **{"data-dir": "/proc/nowhere"})
    single.process = spawn([binary, *config, f"--data-dir={single.data_dir}"], single.log_path)
    single.wait_ready()
    assert single.client.get(b"held") == b"data"


@pytest.mark.parametrize("name", sorted(p.name for p in (REPO / "config").glob("*.toml")))
def test_example_configs_are_accepted(make_cluster, name):
    """Their own words, with this test's ports and directory in place of theirs."""
    node = make_cluster(1).nodes[0]
    urls = {k: v for k, v in node.flags().items() if "urls" in k or k == "data-dir"}
    text = (REPO / "config" / name).read_text()
    member = next(line.split('"')[1] for line in text.splitlines() if line.startswith("name"))
    node.process = spawn([node.cluster.binary, f"--config-file={REPO / 'config' / name}",
                          *(f"--{k}={v}" for k, v in urls.items())], node.log_path)
    wait_until(lambda: node.http_get("/healthz")[0] == 200,
               lambda: f"{member} serves:\n{node.log_tail()}", 10)
    assert f"name={member}" in node.log_text()
    assert node.stop()[0] == 0


def test_deleted_current_is_refused_every_time(single):
    """RocksDB itself would make a new, empty database at the second try."""
    single.stop()
    current = single.db_dir / "CURRENT"
    saved = current.read_bytes()
    current.unlink()
    for _ in range(3):
        refuses(single, "CURRENT")
    current.write_bytes(saved)
    starts_with_its_data(single)


def test_deleted_database_is_refused_every_time(single):
    single.stop()
    aside = single.data_dir / "aside"
    single.db_dir.rename(aside)
    for _ in range(3):
        refuses(single, single.data_dir)
    aside.rename(single.db_dir)
    starts_with_its_data(single)


def newest(directory, pattern):
    return max(directory.glob(pattern), key=lambda path: path.name)


def logged_bytes(wal):
    """Of a WAL file, without the zeros that are written ahead of the log."""
    return len(wal.read_bytes().rstrip(b"\0"))


def test_damaged_files_are_refused_every_time(single):
    """A flipped bit in the middle of what was synced, and a missing table file."""
    for i in range(50):
        single.client.put(b"k/%d" % i, b"x" * 500)
    single.kill()  # the WAL holds it all
    wal = newest(single.db_dir, "*.log")
    saved = wal.read_bytes()
    damaged = bytearray(saved)
    damaged[logged_bytes(wal) // 2] ^= 0x10
    wal.write_bytes(damaged)
    for _ in range(2):
        refuses(single, wal.name)
    wal.write_bytes(saved)
    starts_with_its_data(single)
    single.stop()  # now it is in table files
    table = newest(single.db_dir, "*.sst")
    table.rename(single.data_dir / "aside")
    for _ in range(2):
        refuses(single, table.stem)  # (RocksDB speaks of it by its old extension, .ldb)
    (single.data_dir / "aside").rename(table)
    starts_with_its_data(single)


def test_a_torn_tail_is_no_damage(single):
    """What a power cut leaves: a last record, not synced yet, that was only partly written."""
    for i in range(20):
        single.client.put(b"k/%d" % i, b"x" * 500)
    single.kill()
    wal = newest(single.db_dir, "*.log")
    with open(wal, "r+b") as file:
        file.seek(logged_bytes(wal))
        # A checksum, a length of 512, "whole record", and not all of it.
        file.write(b"\x12\x34\x56\x78" + b"\x00\x02" + b"\x01" + b"z" * 100)
    starts_with_its_data(single)
    assert "cut off" in single.log_text()
    assert single.client.prefix(b"k/", count_only=True).count == 20


def test_a_tail_that_was_synced_is_missed(single):
    """A crash can't take away what was acknowledged: the fence knows better than the log."""
    single.client.put(b"k", b"x" * 500)
    single.kill()
    wal = newest(single.db_dir, "*.log")
    with open(wal, "r+b") as file:
        file.truncate(logged_bytes(wal) - 7)
    refuses(single, "this node acknowledged entries up to index")


def ldb(node, *args, check=True):
    done = subprocess.run(["ldb", f"--db={node.db_dir}", *args], capture_output=True, timeout=60,
                          check=False)
    text = done.stdout.decode() + done.stderr.decode()
    assert not check or done.returncode == 0, f"ldb {args}: {text}"
    return done.stdout.decode()


def crc32c(data):
    """CRC-32C (Castagnoli), as the format documents it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_newer_format_is_refused(single):
    """The identity record with a format version of the future, its checksum right."""
    single.stop()
    meta = ("--column_family=raft_meta", "--hex")
    key = "0x" + b"identity".hex().upper()
    record = bytes.fromhex(ldb(single, *meta, "get", key).strip()[2:])
    assert record[1:5] == (1).to_bytes(4, "little"), "the record's layout has changed"
    newer = record[:1] + (2).to_bytes(4, "little") + record[5:-4]
    newer += crc32c(b"identity" + newer).to_bytes(4, "little")
    ldb(single, *meta, "put", key, "0x" + newer.hex().upper())
    for _ in range(2):
        refuses(single, "format version 2")
    damaged = newer[:-1] + bytes([newer[-1] ^ 1])
    ldb(single, *meta, "put", key, "0x" + damaged.hex().upper())
    refuses(single, "checksum")
    ldb(single, *meta, "put", key, "0x" + record.hex().upper())
    starts_with_its_data(single)


# What others see in the directory of a stopped node.


def test_ldb_opens_the_directory(three):
    for i in range(20):
        three.nodes[0].client.put(b"seen by ldb/%d" % i, b"v")
    three.wait_converged()
    three.stop()
    for node in three.nodes:
        families = ldb(node, "list_column_families")
        for family in ("raft_meta", "raft_log", "kv"):
            assert family in families
            assert ldb(node, f"--column_family={family}", "--hex", "scan", "--max_keys=5").strip()
        # The log's keys are its indexes, in order.
        keys = [int(line.split(":")[0].strip(), 16) for line in
                ldb(node, "--column_family=raft_log", "--hex", "scan", "--no_value").split()
                if line.startswith("0x")]
        assert keys == list(range(keys[0], keys[0] + len(keys)))
    # Looking did no harm.
    three.start()
    assert three.assert_same_contents(prefix=b"seen by ldb/")[19][1] == b"v"


# What it says about itself.


def test_version_and_help(single):
    code, out, _ = run_raftkvd(single.cluster.binary, "--version")
    assert code == 0 and out.startswith("raftkvd ")
    assert out.split()[1] in curl(single, "GET", "/version").body.decode()
    code, out, _ = run_raftkvd(single.cluster.binary, "--help")
    assert code == 0
    for flag in single.flags():
        assert f"--{flag}" in out


def test_json_logs(make_cluster):
    (node,) = make_cluster(1, log_format="json").start().nodes
    curl(node, "POST", key_path(b"k"), b"v")
    node.stop()
    lines = [line for line in node.log_text().splitlines() if not line.startswith("---")]
    assert len(lines) > 3
    for line in lines:
        record = json.loads(line)
        assert {"ts", "level", "msg"} <= set(record), record


def test_data_is_private(single):
    assert single.data_dir.stat().st_mode & 0o077 == 0

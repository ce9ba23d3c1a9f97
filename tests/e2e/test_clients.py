"""The clients people already have, against three real nodes: gRPC as such, etcdctl, python3-etcd3.

REST has a file of its own (test_rest.py). With RAFTKV_E2E_ETCD these run against etcd, which is how
they know what to expect.
"""

import itertools
import json
import os
import subprocess
import time

import etcd3
import grpc
import pytest
from etcd3 import etcdrpc as rpc
from harness.client import (Client, RpcFailed, op_delete, op_put, op_range, op_txn, prefix_end)

Code = grpc.StatusCode
raftkv_only = pytest.mark.raftkv_only
_unique = itertools.count(1)


@pytest.fixture
def cluster(shared_cluster):
    return shared_cluster


@pytest.fixture
def client(cluster):
    """Talks to a follower, where there is more to go wrong."""
    return cluster.others(cluster.leader())[0].client


@pytest.fixture
def prefix():
    """Keys of one test alone: the cluster is shared."""
    return b"test%d/" % next(_unique)


def fails(code, text, call, *args, **kwargs):
    with pytest.raises(RpcFailed) as error:
        call(*args, **kwargs)
    assert (error.value.code, error.value.text) == (code, text)


# Any node takes any request.


def test_put_through_each_get_from_each(cluster, prefix):
    for writer in cluster.nodes:
        key = prefix + writer.name.encode()
        writer.client.put(key, b"from " + writer.name.encode())
        for reader in cluster.nodes:
            assert reader.client.get(key) == b"from " + writer.name.encode()


def test_a_write_is_seen_by_the_next_read_anywhere(cluster, prefix):
    """Linearizable reads on other nodes, right behind each acknowledgement."""
    for i in range(150):
        writer, reader = cluster.nodes[i % 3], cluster.nodes[(i + 1 + i // 3 % 2) % 3]
        writer.client.put(prefix + b"k", b"%d" % i)
        assert reader.client.get(prefix + b"k") == b"%d" % i


def test_headers_say_who_answered(cluster):
    leader = cluster.leader()
    statuses = {node: node.status() for node in cluster.nodes}
    assert len({s.header.member_id for s in statuses.values()}) == 3
    for node, status in statuses.items():
        header = node.client.range(b"x").header
        assert header.member_id == status.header.member_id
        assert header.cluster_id == statuses[leader].header.cluster_id != 0
        assert header.raft_term == status.raftTerm > 0
        assert header.revision > 0
        assert status.version.startswith("3.")
        assert status.dbSize > 0 and status.raftIndex > 0


def test_member_list(cluster):
    members = cluster.nodes[0].client.members().members
    assert {m.name for m in members} == {"n1", "n2", "n3"}
    by_name = {m.name: m for m in members}
    for node in cluster.nodes:
        member = by_name[node.name]
        assert list(member.clientURLs) == [f"http://{node.address}"]
        assert list(member.peerURLs) == [f"http://127.0.0.1:{node.peer_port}"]
        assert member.ID == node.status().header.member_id


# Semantics. More of them are tested against a model in tests/store; these are for the whole path.


def test_revisions_and_versions(client, prefix):
    key = prefix + b"k"
    first = client.put(key, b"a").header.revision
    second = client.put(key, b"a").header.revision  # an equal value is a change too
    assert second == first + 1
    (kv,) = client.range(key).kvs
    assert (kv.create_revision, kv.mod_revision, kv.version) == (first, second, 2)
    assert client.delete(prefix + b"missing").header.revision == second  # nothing was changed
    deleted = client.delete(key, prev_kv=True)
    assert deleted.deleted == 1 and deleted.prev_kvs[0].value == b"a"
    assert deleted.header.revision == second + 1
    client.put(key, b"b")
    (kv,) = client.range(key).kvs
    assert (kv.create_revision, kv.version) == (second + 2, 1)
    # The past is still there; the header speaks of the present.
    past = client.range(key, revision=first)
    assert past.kvs[0].version == 1 and past.header.revision == second + 2
    assert client.range(key, revision=second + 1).count == 0


def test_put_options(client, prefix):
    key = prefix + b"k"
    fails(Code.INVALID_ARGUMENT, "etcdserver: key not found",
          client.put, key, b"", ignore_value=True)
    client.put(key, b"a")
    assert client.put(key, b"b", prev_kv=True).prev_kv.value == b"a"
    client.put(key, b"", ignore_value=True)
    (kv,) = client.range(key).kvs
    assert (kv.value, kv.version) == (b"b", 3)
    fails(Code.INVALID_ARGUMENT, "etcdserver: value is provided",
          client.put, key, b"c", ignore_value=True)
    fails(Code.NOT_FOUND, "etcdserver: requested lease not found", client.put, key, b"c", lease=77)
    assert client.get(key) == b"b"


def test_ranges(client, prefix):
    keys = [prefix + suffix for suffix in (b"a", b"a\0", b"a\0\0", b"a\xff", b"a\xff\xff", b"b")]
    for i, key in enumerate(keys):
        client.put(key, b"%d" % (9 - i))
    everything = client.prefix(prefix)
    assert [kv.key for kv in everything.kvs] == keys == sorted(keys)
    assert everything.count == 6 and not everything.more
    some = client.prefix(prefix, limit=2)
    assert [kv.key for kv in some.kvs] == keys[:2] and some.more and some.count == 6
    assert client.prefix(prefix, count_only=True).count == 6
    assert [(kv.key, kv.value) for kv in client.prefix(prefix, keys_only=True).kvs] == [
        (key, b"") for key in keys]
    assert [kv.key for kv in client.range(prefix + b"a\0", prefix + b"a\xff").kvs] == keys[1:3]
    assert [kv.key for kv in client.range(prefix + b"b", prefix + b"a").kvs] == []
    assert [kv.key for kv in client.prefix(prefix + b"a\xff").kvs] == keys[3:5]
    order = rpc.RangeRequest
    down = client.prefix(prefix, sort_order=order.DESCEND, sort_target=order.KEY, limit=2)
    assert [kv.key for kv in down.kvs] == keys[:-3:-1]
    by_value = client.prefix(prefix, sort_order=order.ASCEND, sort_target=order.VALUE)
    assert [kv.key for kv in by_value.kvs] == keys[::-1]
    third = everything.kvs[2].mod_revision
    assert [kv.key for kv in client.prefix(prefix, min_mod_revision=third).kvs] == keys[2:]
    assert [kv.key for kv in client.prefix(prefix, max_create_revision=third).kvs] == keys[:3]
    # From a key to the end of the store.
    tail = [kv.key for kv in client.range(prefix, b"\0").kvs]
    assert tail[:6] == keys and tail == sorted(tail)


def test_delete_range(client, prefix):
    for suffix in (b"a", b"b", b"c"):
        client.put(prefix + suffix, b"v")
    before = client.range(prefix).header.revision
    response = client.delete(prefix + b"a", prefix + b"c", prev_kv=True)
    assert response.deleted == 2 and response.header.revision == before + 1
    assert [kv.key for kv in response.prev_kvs] == [prefix + b"a", prefix + b"b"]
    assert [kv.key for kv in client.prefix(prefix).kvs] == [prefix + b"c"]


def compare(key, target, result, **operand):
    return rpc.Compare(key=key, target=target, result=result, **operand)


def test_txn(client, prefix):
    a, b = prefix + b"a", prefix + b"b"
    absent = compare(a, rpc.Compare.VERSION, rpc.Compare.EQUAL, version=0)
    before = client.range(a).header.revision
    response = client.txn([absent], [op_put(a, b"1"), op_put(b, b"2"), op_range(a)],
                          [op_range(a)])
    assert response.succeeded and response.header.revision == before + 1
    assert response.responses[2].response_range.kvs[0].value == b"1"
    kvs = client.prefix(prefix).kvs
    assert [kv.mod_revision for kv in kvs] == [before + 1] * 2  # one revision for both
    response = client.txn([absent], [op_put(a, b"x")], [op_range(a), op_delete(b)])
    assert not response.succeeded
    assert response.responses[0].response_range.kvs[0].value == b"1"
    assert response.responses[1].response_delete_range.deleted == 1
    assert client.get(b) is None
    for condition, holds in (
            (compare(a, rpc.Compare.VALUE, rpc.Compare.EQUAL, value=b"1"), True),
            (compare(a, rpc.Compare.VALUE, rpc.Compare.GREATER, value=b"1"), False),
            (compare(a, rpc.Compare.VALUE, rpc.Compare.LESS, value=b"2"), True),
            (compare(a, rpc.Compare.VALUE, rpc.Compare.NOT_EQUAL, value=b"1"), False),
            (compare(a, rpc.Compare.MOD, rpc.Compare.EQUAL, mod_revision=before + 1), True),
            (compare(a, rpc.Compare.CREATE, rpc.Compare.GREATER, create_revision=before), True),
            (compare(a, rpc.Compare.LEASE, rpc.Compare.EQUAL, lease=0), True),
            (compare(prefix, rpc.Compare.VALUE, rpc.Compare.EQUAL, value=b"1",
                     range_end=prefix_end(prefix)), True),
            (compare(b, rpc.Compare.VALUE, rpc.Compare.EQUAL, value=b"1"), False)):
        assert client.txn([condition]).succeeded == holds, condition
    nested = client.txn((), [op_txn([absent], [], [op_put(b, b"inner")]), op_range(b)])
    assert not nested.responses[0].response_txn.succeeded
    assert nested.responses[1].response_range.kvs[0].value == b"inner"


def test_error_texts(client, prefix):
    """Clients match on these."""
    a, b = prefix + b"a", prefix + b"b"
    client.put(a, b"v")
    empty = "etcdserver: key is not provided"
    fails(Code.INVALID_ARGUMENT, empty, client.put, b"", b"v")
    fails(Code.INVALID_ARGUMENT, empty, client.range, b"")
    fails(Code.INVALID_ARGUMENT, empty, client.delete, b"")
    fails(Code.INVALID_ARGUMENT, empty, client.txn, (), [op_put(b"", b"v")])
    fails(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision",
          client.range, a, revision=10**9)
    fails(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision",
          client.compact, 10**9)
    duplicate = "etcdserver: duplicate key given in txn request"
    fails(Code.INVALID_ARGUMENT, duplicate, client.txn, (), [op_put(a, b"1"), op_put(a, b"2")])
    fails(Code.INVALID_ARGUMENT, duplicate, client.txn, (),
          [op_delete(prefix, prefix_end(prefix)), op_put(a, b"2")])
    fails(Code.INVALID_ARGUMENT, duplicate, client.txn, (),
          [op_put(a, b"1"), op_txn((), [op_put(a, b"2")])])
    assert client.txn((), [op_put(a, b"1"), op_put(b, b"2")]).succeeded
    fails(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request",
          client.txn, (), [op_range(a)] * 129)
    assert len(client.txn((), [op_range(a)] * 128).responses) == 128
    assert client.get(a) == b"1"


def test_request_too_large(client, prefix):
    limit = 1536 * 1024
    fails(Code.INVALID_ARGUMENT, "etcdserver: request is too large",
          client.put, prefix + b"k", b"x" * (limit + 1))
    with pytest.raises(RpcFailed) as error:  # far above: gRPC itself refuses to read it
        client.put(prefix + b"k", b"x" * (2 * limit))
    assert error.value.code == Code.RESOURCE_EXHAUSTED
    assert client.get(prefix + b"k") is None
    client.put(prefix + b"k", b"x" * (limit - 1024))
    assert len(client.get(prefix + b"k")) == limit - 1024


def test_compact(cluster, client, prefix):
    revisions = [client.put(prefix + b"k", b"%d" % i).header.revision for i in range(5)]
    client.put(prefix + b"gone", b"v")
    client.delete(prefix + b"gone")
    client.compact(revisions[3], physical=True)
    compacted = "etcdserver: mvcc: required revision has been compacted"
    for node in cluster.nodes:
        fails(Code.OUT_OF_RANGE, compacted, node.client.range, prefix + b"k",
              revision=revisions[2])
        assert node.client.get(prefix + b"k", revision=revisions[3]) == b"3"
        assert node.client.get(prefix + b"k") == b"4"
    fails(Code.OUT_OF_RANGE, compacted, client.compact, revisions[3])
    fails(Code.OUT_OF_RANGE, compacted, client.compact, revisions[1])


def test_serializable_reads_catch_up(cluster, prefix):
    cluster.leader().client.put(prefix + b"k", b"v")
    cluster.wait_converged()
    for node in cluster.nodes:
        assert node.client.get(prefix + b"k", serializable=True) == b"v"


def test_many_calls_at_once_on_one_connection(client, prefix):
    """Pipelined from one thread: more than any pool of threads."""
    stub = rpc.KVStub(client.channel)
    futures = [stub.Put.future(rpc.PutRequest(key=prefix + b"%04d" % i, value=b"v"), timeout=20)
               for i in range(1000)]
    revisions = {future.result().header.revision for future in futures}
    assert len(revisions) == 1000
    assert client.prefix(prefix, count_only=True).count == 1000


# Sessions: what etcd does not have.


@raftkv_only
def test_a_retried_write_applies_once(cluster, prefix):
    key, session = prefix + b"k", prefix.decode() + "session"
    clients = [node.client for node in cluster.nodes]
    first = clients[0].put(key, b"a", session=(session, 1), prev_kv=True)
    clients[1].put(key, b"other")
    # The same write again, through every node: the first answer, and nothing happens.
    for client in clients:
        again = client.put(key, b"a", session=(session, 1), prev_kv=True)
        assert again.header.revision == first.header.revision
        assert not again.HasField("prev_kv") or again.prev_kv == first.prev_kv
    assert clients[2].get(key) == b"other"
    assert clients[0].delete(key, session=(session, 2)).deleted == 1
    assert clients[1].delete(key, session=(session, 2)).deleted == 1  # the first answer
    assert clients[1].delete(key, session=(session, 3)).deleted == 0
    absent = compare(key, rpc.Compare.VERSION, rpc.Compare.EQUAL, version=0)
    for client in clients:
        assert client.txn([absent], [op_put(key, b"t")], session=(session, 4)).succeeded
    (kv,) = clients[0].range(key).kvs
    assert (kv.value, kv.version) == (b"t", 1)


@raftkv_only
def test_session_errors(client, prefix):
    key, session = prefix + b"k", prefix.decode() + "session"
    stranger = ("raftkv: the session does not exist or has expired; start again at sequence 1")
    fails(Code.FAILED_PRECONDITION, stranger, client.put, key, b"v", session=(session, 2))
    client.put(key, b"1", session=(session, 1))
    client.put(key, b"2", session=(session, 7))  # numbers may be left out
    fails(Code.FAILED_PRECONDITION,
          "raftkv: the session has already gone past this sequence number",
          client.put, key, b"late", session=(session, 1))
    for bad in ((session, 0), (session, "x"), (session, -1), ("", 1), ("c" * 129, 1)):
        with pytest.raises(RpcFailed) as error:
            client.put(key, b"v", session=bad)
        assert error.value.code == Code.INVALID_ARGUMENT, bad
    assert client.get(key) == b"2"


# Methods and services.


@raftkv_only
def test_other_methods_answer_unimplemented(client):
    calls = {
        "watch": lambda: list(rpc.WatchStub(client.channel).Watch(iter(()), timeout=5)),
        "lease": lambda: rpc.LeaseStub(client.channel).LeaseGrant(
            rpc.LeaseGrantRequest(TTL=5), timeout=5),
        "auth": lambda: rpc.AuthStub(client.channel).AuthEnable(
            rpc.AuthEnableRequest(), timeout=5),
        "downgrade": lambda: client.channel.unary_unary(
            "/etcdserverpb.Maintenance/Downgrade")(b"", timeout=5),
        "no such": lambda: client.channel.unary_unary("/no.such/Method")(b"", timeout=5),
    }
    for name, call in calls.items():
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == Code.UNIMPLEMENTED, name


def test_health_service(cluster):
    for node in cluster.nodes:
        # HealthCheckResponse{status: SERVING}
        assert node.client.raw("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"


@raftkv_only
def test_server_reflection(client):
    method = client.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=bytes, response_deserializer=bytes)
    # ServerReflectionRequest{list_services: "*"}
    (answer,) = method(iter([b"\x3a\x01*"]), timeout=5)
    for service in (b"etcdserverpb.KV", b"etcdserverpb.Cluster", b"etcdserverpb.Maintenance",
                    b"grpc.health.v1.Health"):
        assert service in answer


@raftkv_only
def test_move_leader(cluster, prefix):
    leader = cluster.leader()
    target = cluster.others(leader)[1]
    target_id = target.status().header.member_id
    with Client(leader.address) as client:
        move = client.channel.unary_unary(
            "/etcdserverpb.Maintenance/MoveLeader",
            request_serializer=rpc.MoveLeaderRequest.SerializeToString,
            response_deserializer=rpc.MoveLeaderResponse.FromString)
        client.call(move, rpc.MoveLeaderRequest(targetID=target_id))
        assert cluster.leader() is target
        fails(Code.FAILED_PRECONDITION, "etcdserver: not leader",
              client.call, move, rpc.MoveLeaderRequest(targetID=target_id))
    for node in cluster.nodes:
        node.client.put(prefix + b"k", node.name.encode())


@raftkv_only
def test_long_lived_clients_may_ping(cluster):
    """gRPC's default policy cuts off a client that pings more than every five minutes; etcd's
    clients do, and etcd lets them, every 5 s."""
    options = [("grpc.keepalive_time_ms", 5000), ("grpc.keepalive_timeout_ms", 3000),
               ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0)]
    with Client(cluster.nodes[0].address, options=options) as client:
        # A health watch sends one message now and stays open. Too many pings would end it.
        watch = client.channel.unary_stream(
            "/grpc.health.v1.Health/Watch", request_serializer=bytes,
            response_deserializer=bytes)(b"", timeout=40)
        assert next(watch) == b"\x08\x01"
        # gRPC gives up on the client at the third early ping.
        begin = time.monotonic()
        while time.monotonic() - begin < 18 and not watch.done():
            time.sleep(0.1)
        assert not watch.done(), f"cut off: {watch.code()} {watch.details()}"
        watch.cancel()


# etcdctl.


def etcdctl(cluster, *args, node=None, stdin=None, ok=True):
    endpoints = ",".join(n.address for n in ([node] if node else cluster.nodes))
    done = subprocess.run(["etcdctl", f"--endpoints={endpoints}", *args], input=stdin,
                          env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, timeout=20,
                          check=False)
    assert (done.returncode == 0) == ok, f"etcdctl {args}: {done.returncode} {done.stderr.decode()}"
    return done.stdout.decode() if ok else done.stderr.decode()


def test_etcdctl_put_get_del(cluster, prefix):
    p = prefix.decode()
    for node in cluster.nodes:
        assert etcdctl(cluster, "put", p + node.name, "v-" + node.name, node=node) == "OK\n"
    for node in cluster.nodes:
        assert etcdctl(cluster, "get", p + "n1", node=node) == f"{p}n1\nv-n1\n"
        assert etcdctl(cluster, "get", p + "n1", "--consistency=s", node=node).endswith("v-n1\n")
    assert etcdctl(cluster, "get", p, "--prefix", "--print-value-only") == "v-n1\nv-n2\nv-n3\n"
    assert etcdctl(cluster, "get", p, "--prefix", "--limit=1", "--keys-only").split() == [p + "n1"]
    assert etcdctl(cluster, "del", p + "n2") == "1\n"
    assert etcdctl(cluster, "del", p, "--prefix", "--prev-kv") == (
        f"2\n{p}n1\nv-n1\n{p}n3\nv-n3\n")
    assert etcdctl(cluster, "get", p, "--prefix") == ""


def test_etcdctl_txn(cluster, prefix):
    key = prefix.decode() + "k"
    etcdctl(cluster, "put", key, "old")
    script = f'value("{key}") = "old"\n\nput {key} new\nget {key}\n\nget {key}\n\n'.encode()
    assert etcdctl(cluster, "txn", stdin=script) == f"SUCCESS\n\nOK\n\n{key}\nnew\n"
    assert etcdctl(cluster, "txn", stdin=script) == f"FAILURE\n\n{key}\nnew\n"


def test_etcdctl_revisions_and_compaction(cluster, prefix):
    key = prefix.decode() + "k"
    etcdctl(cluster, "put", key, "one")
    first = json.loads(etcdctl(cluster, "get", key, "-w", "json"))["kvs"][0]["mod_revision"]
    etcdctl(cluster, "put", key, "two")
    assert etcdctl(cluster, "get", key, f"--rev={first}", "--print-value-only") == "one\n"
    assert etcdctl(cluster, "compact", str(first + 1)) == f"compacted revision {first + 1}\n"
    text = etcdctl(cluster, "get", key, f"--rev={first}", ok=False)
    assert "etcdserver: mvcc: required revision has been compacted" in text
    assert etcdctl(cluster, "get", key, "--print-value-only") == "two\n"


def test_etcdctl_cluster_commands(cluster):
    rows = json.loads(etcdctl(cluster, "endpoint", "status", "-w", "json"))
    assert {row["Endpoint"] for row in rows} == {node.address for node in cluster.nodes}
    assert len({row["Status"]["leader"] for row in rows}) == 1
    etcdctl(cluster, "endpoint", "health")
    table = etcdctl(cluster, "member", "list")
    for node in cluster.nodes:
        assert f"started, {node.name}, http://127.0.0.1:{node.peer_port}" in table


# python3-etcd3.


@pytest.fixture
def python_client(cluster):
    host, port = cluster.nodes[1].address.split(":")
    client = etcd3.client(host, int(port), timeout=10)
    yield client
    client.close()


def test_python_etcd3_keys(python_client, prefix):
    p = prefix.decode()
    python_client.put(p + "a", "1")
    python_client.put(p + "b", b"\x00\xff\n")
    value, metadata = python_client.get(p + "b")
    assert value == b"\x00\xff\n" and metadata.version == 1
    assert [(m.key, v) for v, m in python_client.get_prefix(p)] == [
        (prefix + b"a", b"1"), (prefix + b"b", b"\x00\xff\n")]
    assert python_client.get(p + "none") == (None, None)
    assert python_client.delete(p + "a") is True
    assert python_client.delete(p + "a") is False
    assert python_client.replace(p + "b", b"\x00\xff\n", "new") is True
    assert python_client.replace(p + "b", "not it", "newer") is False
    assert python_client.put_if_not_exists(p + "c", "made") is True
    assert python_client.put_if_not_exists(p + "c", "again") is False
    assert python_client.delete_prefix(p).deleted == 2


def test_python_etcd3_transaction(python_client, prefix):
    key = prefix.decode() + "k"
    python_client.put(key, "doot")
    txn = python_client.transactions
    for expected in (True, False):
        succeeded, responses = python_client.transaction(
            compare=[txn.value(key) == "doot", txn.version(key) > 0],
            success=[txn.put(key, "success")], failure=[txn.get(key)])
        assert succeeded == expected
    assert responses[0][0][0] == b"success"


def test_python_etcd3_cluster(cluster, python_client):
    assert {m.name for m in python_client.members} == {"n1", "n2", "n3"}
    status = python_client.status()
    assert status.leader.name == cluster.leader().name
    python_client.compact(python_client.get_response("x").header.revision)

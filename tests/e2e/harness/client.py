"""A small client for etcd's gRPC API, on the stubs python3-etcd3 was generated with.

python3-etcd3's own client hides error texts and revisions, which are what the tests look at.
One Client talks to one node and may be used from many threads.
"""

import os
import threading

# Nothing forks without exec here; grpc's fork handlers would only slow subprocesses down.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import grpc  # noqa: E402
from etcd3 import etcdrpc as rpc  # noqa: E402

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A restarted node must be found again at once.
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 2000),  # in fact: how long one attempt may take
    ("grpc.max_reconnect_backoff_ms", 100),
    # A call is sent once: what a retry does is for the tests to decide.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]

REFUSED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.NOT_FOUND,
)


class RpcFailed(Exception):
    """A call's error: gRPC code and text."""

    def __init__(self, error):
        self.code = error.code()
        self.text = error.details() or ""
        super().__init__(f"{self.code.name}: {self.text}")

    @property
    def definite(self):
        """Whether the request was certainly not carried out."""
        return self.code in REFUSED and not self.text.startswith("raftkv: the write was applied")


def prefix_end(prefix):
    """The range_end that makes a range of all keys starting with `prefix`."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else b"\0"


def varint_field(number, value):
    """A varint field of a message, for what the stubs are too old to know."""
    out = bytearray([number << 3])
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def parse_varints(data):
    """The varint fields of a message by number; nested messages and strings are passed over."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 2:
            at += value
        else:
            assert tag & 7 == 0, f"wire type {tag & 7}"
            fields[tag >> 3] = value
    return fields


class Client:
    """Calls one node. Every call raises RpcFailed on an error."""

    def __init__(self, address, timeout_s=5.0, options=()):
        self.address = address
        self.timeout_s = timeout_s
        self.channel = grpc.insecure_channel(address, options=_OPTIONS + list(options))
        # Without a watcher nothing drives reconnecting between calls (grpc core makes progress only
        # while somebody polls), and every call would fail at once, long after the node is back.
        self.channel.subscribe(self._ignore_state, try_to_connect=True)
        self._kv = rpc.KVStub(self.channel)
        self._maintenance = rpc.MaintenanceStub(self.channel)
        self._cluster = rpc.ClusterStub(self.channel)

    @staticmethod
    def _ignore_state(state):
        del state

    def close(self):
        """Returns at once: the watcher's thread holds the channel for up to 0.2 s more."""
        self.channel.unsubscribe(self._ignore_state)
        threading.Thread(target=self.channel.close, name="close channel").start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, method, request, timeout_s=None, session=None):
        """Calls a stub's method. `session` is (client id, sequence number)."""
        metadata = None
        if session is not None:
            client_id, sequence = session
            metadata = (("raftkv-client", client_id), ("raftkv-sequence", str(sequence)))
        try:
            return method(request, timeout=timeout_s or self.timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise RpcFailed(error) from None

    def put(self, key, value, timeout_s=None, session=None, **fields):
        request = rpc.PutRequest(key=key, value=value, **fields)
        return self.call(self._kv.Put, request, timeout_s, session)

    def range(self, key, range_end=b"", timeout_s=None, **fields):
        request = rpc.RangeRequest(key=key, range_end=range_end, **fields)
        return self.call(self._kv.Range, request, timeout_s)

    def get(self, key, timeout_s=None, **fields):
        """The value of one key, or None."""
        response = self.range(key, timeout_s=timeout_s, **fields)
        return response.kvs[0].value if response.kvs else None

    def prefix(self, prefix, timeout_s=None, **fields):
        return self.range(prefix or b"\0", prefix_end(prefix), timeout_s=timeout_s, **fields)

    def delete(self, key, range_end=b"", timeout_s=None, session=None, **fields):
        request = rpc.DeleteRangeRequest(key=key, range_end=range_end, **fields)
        return self.call(self._kv.DeleteRange, request, timeout_s, session)

    def txn(self, compare=(), success=(), failure=(), timeout_s=None, session=None):
        request = rpc.TxnRequest(compare=compare, success=success, failure=failure)
        return self.call(self._kv.Txn, request, timeout_s, session)

    def compact(self, revision, physical=False, timeout_s=None):
        request = rpc.CompactionRequest(revision=revision, physical=physical)
        return self.call(self._kv.Compact, request, timeout_s)

    def status(self, timeout_s=2.0):
        return self.call(self._maintenance.Status, rpc.StatusRequest(), timeout_s)

    def members(self):
        return self.call(self._cluster.MemberList, rpc.MemberListRequest())

    def member_add(self, peer_url, learner=False):
        # The stubs are older than learners: field 2 (isLearner) goes in by hand.
        request = rpc.MemberAddRequest(peerURLs=[peer_url]).SerializeToString()
        request += varint_field(2, 1) if learner else b""
        raw = self.raw("/etcdserverpb.Cluster/MemberAdd", request)
        return rpc.MemberAddResponse.FromString(raw)

    def member_remove(self, member_id):
        return self.call(self._cluster.MemberRemove, rpc.MemberRemoveRequest(ID=member_id))

    def hash_kv(self, revision=0, timeout_s=30):
        """(hash, compact revision) of this node's own state at `revision`."""
        request = varint_field(1, revision)
        raw = self.raw("/etcdserverpb.Maintenance/HashKV", request, timeout_s)
        fields = parse_varints(raw)
        return fields.get(2, 0), fields.get(3, 0)

    def raw(self, path, request, timeout_s=None):
        """A unary call of any method, bytes in and bytes out."""
        method = self.channel.unary_unary(
            path, request_serializer=bytes, response_deserializer=bytes)
        return self.call(method, request, timeout_s)


def op_put(key, value, **fields):
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, **fields))


def op_range(key, range_end=b"", **fields):
    return rpc.RequestOp(
        request_range=rpc.RangeRequest(key=key, range_end=range_end, **fields))


def op_delete(key, range_end=b"", **fields):
    return rpc.RequestOp(
        request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=range_end, **fields))


def op_txn(compare=(), success=(), failure=()):
    return rpc.RequestOp(
        request_txn=rpc.TxnRequest(compare=compare, success=success, failure=failure))

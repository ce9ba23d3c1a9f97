"""The REST API, by the curl program, against three real nodes; health and metrics too."""

import base64
import itertools
import json
import subprocess
import urllib.parse

import pytest
from harness.http import call, curl, key_path

pytestmark = pytest.mark.raftkv_only
_unique = itertools.count(1)

# Every byte value, and what URLs, file paths and C strings trip over.
ALL_BYTES = bytes(range(256))
AWKWARD_KEYS = (b"/", b"a/b//c", b"..", b"a/../b", b".", b"a b+c%d?e#f&g=h", b"\0", b"a\0b", b"\n",
                b"\xff\xfe", "schlüssel".encode(), ALL_BYTES)


@pytest.fixture
def cluster(shared_cluster):
    return shared_cluster


@pytest.fixture
def node(cluster):
    return cluster.others(cluster.leader())[0]


@pytest.fixture
def prefix():
    return b"rest%d/" % next(_unique)


def refused(reply, status, code):
    assert (reply.status, reply.error_code) == (status, code), reply
    assert reply.json()["error"]["message"]


def test_create_update_read_delete(cluster, prefix):
    path = key_path(prefix + b"k")
    a, b, c = cluster.nodes
    refused(curl(a, "GET", path), 404, "not_found")
    refused(curl(a, "PUT", path, b"v"), 404, "not_found")
    refused(curl(a, "DELETE", path), 404, "not_found")
    assert curl(a, "POST", path, b"one").status == 201
    refused(curl(b, "POST", path, b"again"), 409, "already_exists")
    got = curl(c, "GET", path)
    assert (got.status, got.body) == (200, b"one")
    assert curl(b, "PUT", path, b"two").status == 200
    assert curl(c, "GET", path).body == b"two"
    assert curl(c, "DELETE", path).status == 200
    refused(curl(b, "GET", path), 404, "not_found")
    assert curl(b, "PUT", path + "?upsert=true", b"three").status == 200
    assert curl(b, "PUT", path + "?upsert=true", b"four").status == 200
    # What REST wrote, gRPC reads.
    assert a.client.get(prefix + b"k") == b"four"


@pytest.mark.parametrize("key", AWKWARD_KEYS, ids=lambda key: ascii(key)[2:20])
def test_keys_are_bytes(cluster, node, prefix, key):
    for full in (prefix + key, key):  # also as the whole key: such as the lone "/"
        value = b"value of " + full
        path = key_path(full)
        assert curl(node, "PUT", path + "?upsert=true", value).status == 200
        assert curl(cluster.nodes[0], "GET", path).body == value
        assert cluster.nodes[1].client.get(full) == value
        assert curl(node, "DELETE", path).status == 200
        assert cluster.nodes[1].client.get(full) is None


def test_slashes_need_no_encoding(node, prefix):
    assert curl(node, "POST", "/v1/kv/" + prefix.decode() + "a/b", b"v").status == 201
    assert node.client.get(prefix + b"a/b") == b"v"


@pytest.mark.parametrize("value", (b"", b"\0", ALL_BYTES, b"a=b&c=d", b'{"json": 1}',
                                   ALL_BYTES * 4000), ids=lambda value: f"{len(value)} bytes")
def test_values_are_bytes(cluster, node, prefix, value):
    path = key_path(prefix + b"k")
    reply = curl(node, "POST", path, value)
    assert reply.status == 201, reply
    got = curl(cluster.leader(), "GET", path)
    assert got.status == 200 and got.body == value
    assert node.client.get(prefix + b"k") == value


def test_no_body_is_an_empty_value(node, prefix):
    """curl -X POST without -d sends neither a length nor a body: that is an empty one (RFC 9112,
    6.3), not one to wait for."""
    path = key_path(prefix + b"k")
    assert curl(node, "POST", path, timeout_s=3).status == 201
    assert curl(node, "GET", path).body == b""
    assert curl(node, "PUT", path, timeout_s=3).status == 200


def test_curls_default_content_type_is_bytes_too(node, prefix):
    """curl -d says it sends a form. It does not."""
    path = key_path(prefix + b"k")
    body = b"a=1&b=%41+x" * 2000
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert call(node, "POST", path, body, headers).status == 201
    assert node.client.get(prefix + b"k") == body


def test_headers_carry_revisions(node, prefix):
    path = key_path(prefix + b"k")
    created = int(curl(node, "POST", path, b"1").headers["x-raftkv-revision"])
    updated = int(curl(node, "PUT", path, b"2").headers["x-raftkv-revision"])
    assert updated == created + 1
    headers = curl(node, "GET", path).headers
    assert int(headers["x-raftkv-create-revision"]) == created
    assert int(headers["x-raftkv-mod-revision"]) == updated
    assert int(headers["x-raftkv-version"]) == 2
    assert int(headers["x-raftkv-revision"]) >= updated
    past = curl(node, "GET", f"{path}?revision={created}")
    assert past.body == b"1" and int(past.headers["x-raftkv-mod-revision"]) == created
    refused(curl(node, "GET", f"{path}?revision={updated + 10**6}"), 400, "out_of_range")
    node.client.compact(updated)
    refused(curl(node, "GET", f"{path}?revision={created}"), 400, "out_of_range")


def test_consistency(cluster, prefix):
    path = key_path(prefix + b"k")
    assert curl(cluster.leader(), "POST", path, b"v").status == 201
    cluster.wait_converged()
    for node in cluster.nodes:
        for consistency in ("linearizable", "serializable"):
            assert curl(node, "GET", f"{path}?consistency={consistency}").body == b"v"


def test_bad_requests(node, prefix):
    path = key_path(prefix + b"k")
    for method, target, body in (
            ("GET", path + "?consistency=maybe", None),
            ("GET", path + "?revision=abc", None),
            ("GET", path + "?revision=-1", None),
            ("GET", path + "?revison=1", None),
            ("GET", "/v1/kv/%", None),
            ("GET", "/v1/kv/%g0", None),
            ("GET", "/v1/kv?limit=0", None),
            ("GET", "/v1/kv?limit=x", None),
            ("GET", "/v1/kv?keys_only=yes", None),
            ("POST", "/v1/kv/", b"v"),
            ("PUT", "/v1/kv/", b"v"),
            ("PUT", path + "?upsert=1", b"v"),
            ("POST", path + "?upsert=true", b"v"),
            ("DELETE", "/v1/kv/", None)):
        reply = curl(node, method, target, body)
        assert reply.status == 400, (method, target, reply)
        assert reply.error_code == "invalid_argument", (method, target, reply)
    assert curl(node, "GET", "/v2/keys/x").status == 404
    assert node.client.get(prefix + b"k") is None


def test_value_too_large(node, prefix):
    path = key_path(prefix + b"k")
    limit = 1536 * 1024
    for size in (limit + 1, limit, 3 * limit, 16 * limit):
        refused(call(node, "POST", path, b"x" * size), 413, "request_too_large")
    refused(curl(node, "PUT", path + "?upsert=true", b"x" * (limit + 1)), 413, "request_too_large")
    assert node.client.get(prefix + b"k") is None
    assert call(node, "POST", path, b"x" * (limit - 1024)).status == 201


def test_sessions(cluster, prefix):
    path = key_path(prefix + b"k")

    def headers(sequence):
        return {"X-Raftkv-Client": prefix.decode() + "client", "X-Raftkv-Sequence": str(sequence)}

    a, b, c = cluster.nodes
    first = curl(a, "POST", path, b"one", headers(1))
    assert first.status == 201
    # Without a session the second try would answer 409, and a client could not tell why.
    again = curl(b, "POST", path, b"one", headers(1))
    assert again.status == 201
    assert again.headers["x-raftkv-revision"] == first.headers["x-raftkv-revision"]
    assert curl(c, "PUT", path, b"two", headers(2)).status == 200
    assert curl(a, "PUT", path, b"three").status == 200  # somebody else
    assert curl(b, "PUT", path, b"two", headers(2)).status == 200
    assert c.client.get(prefix + b"k") == b"three"
    assert curl(a, "DELETE", path, None, headers(3)).status == 200
    assert curl(b, "DELETE", path, None, headers(3)).status == 200
    refused(curl(b, "DELETE", path, None, headers(4)), 404, "not_found")
    # The same session by gRPC.
    session = (prefix.decode() + "client", 5)
    put = a.client.put(prefix + b"k", b"five", session=session)
    again = b.client.put(prefix + b"k", b"five", session=session)
    assert again.header.revision == put.header.revision
    refused(curl(a, "PUT", path, b"x", headers(1)), 400, "failed_precondition")
    for bad in ({"X-Raftkv-Client": "c"}, {"X-Raftkv-Client": "c", "X-Raftkv-Sequence": "x"},
                {"X-Raftkv-Client": "c", "X-Raftkv-Sequence": "0"}):
        refused(curl(a, "PUT", path, b"x", bad), 400, "invalid_argument")
    assert a.client.get(prefix + b"k") == b"five"


def listing(node, **query):
    text = urllib.parse.urlencode({k: v for k, v in query.items()}, quote_via=urllib.parse.quote)
    reply = curl(node, "GET", "/v1/kv?" + text)
    assert reply.status == 200, reply
    return reply.json()


def test_listing_and_paging(node, prefix):
    keys = [prefix + b"%02d" % i for i in range(10)] + [prefix + b"a/b", prefix + b"\xff\x00\xff"]
    for key in keys:
        node.client.put(key, b"value of " + key)
    node.client.put(prefix[:-1] + b"0", b"just behind the prefix")
    everything = listing(node, prefix=prefix)
    assert not everything["more"] and "next" not in everything
    assert [base64.b64decode(kv["key"]) for kv in everything["kvs"]] == keys
    for kv in everything["kvs"]:
        assert base64.b64decode(kv["value"]) == b"value of " + base64.b64decode(kv["key"])
        assert kv["version"] == 1 and kv["create_revision"] == kv["mod_revision"] > 0
    # Pages of every size give the same keys, at one revision even while others write.
    for limit in (1, 3, 5, 12, 100):
        page = listing(node, prefix=prefix, limit=limit, keys_only="true")
        revision, seen = page["revision"], page["kvs"]
        node.client.put(prefix + b"00", b"changed in between")
        node.client.put(prefix + b"new", b"made in between")
        while page["more"]:
            reply = curl(node, "GET", f"/v1/kv?prefix={urllib.parse.quote(prefix, safe='')}"
                         f"&limit={limit}&keys_only=true&revision={revision}&after={page['next']}")
            page = reply.json()
            assert 0 < len(page["kvs"]) <= limit
            seen += page["kvs"]
        assert [base64.b64decode(kv["key"]) for kv in seen] == keys
        assert all("value" not in kv for kv in seen)
        node.client.delete(prefix + b"new")
    assert listing(node, prefix=prefix + b"none") == {
        "revision": listing(node, prefix=prefix)["revision"], "kvs": [], "more": False}
    whole = listing(node, limit=10000, consistency="serializable")
    held = [base64.b64decode(kv["key"]) for kv in whole["kvs"]]
    assert held == sorted(held) and set(keys) <= set(held)


def test_a_multipart_body_is_refused_and_said(node, prefix):
    reply = curl(node, "PUT", key_path(prefix + b"k") + "?upsert=true", b"--x--\r\n",
                 {"Content-Type": "multipart/form-data; boundary=x"})
    refused(reply, 415, "unsupported_media_type")
    assert node.client.get(prefix + b"k") is None


def test_a_message_may_quote_any_bytes(node, prefix):
    refused(curl(node, "GET", key_path(prefix + b"k") + "?%ff=1"), 400, "invalid_argument")


def test_half_a_session_is_refused(node, prefix):
    path = key_path(prefix + b"k") + "?upsert=true"
    refused(curl(node, "PUT", path, b"v", {"X-Raftkv-Sequence": "1"}), 400, "invalid_argument")
    assert node.client.get(prefix + b"k") is None


def test_bodies_that_nobody_reads_are_bounded(node, prefix):
    body = b"x" * (40 << 20)
    before = node.metric("process_resident_memory_bytes")
    for method in ("DELETE", "PATCH"):
        assert curl(node, method, key_path(prefix + b"k"), body).status in (404, 413)
    assert node.metric("process_resident_memory_bytes") < before + (20 << 20)


def test_keys_that_wait_leave_room_for_health(make_cluster):
    """Without a leader every request for a key waits."""
    cluster = make_cluster(3).start()
    for node in cluster.nodes[1:]:
        node.kill()
    (node, *_) = cluster.nodes
    waiting = [subprocess.Popen(
        ["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{node.http_port}/v1/kv/k"])
        for _ in range(40)]
    try:
        for _ in range(5):
            assert curl(node, "GET", "/healthz", timeout_s=3).status == 200
    finally:
        for process in waiting:
            process.kill()
            process.wait()


def test_head_and_wrong_methods(node, prefix):
    path = key_path(prefix + b"k")
    node.client.put(prefix + b"k", b"v")
    head = curl(node, "HEAD", path)
    assert head.status == 200 and head.body == b""
    assert head.headers["x-raftkv-version"] == "1"
    for method in ("PATCH", "OPTIONS"):
        assert curl(node, method, path, b"x").status in (404, 405, 501)
    assert node.client.get(prefix + b"k") == b"v"


def test_health_and_version(cluster):
    for node in cluster.nodes:
        assert curl(node, "GET", "/healthz").status == 200
        assert curl(node, "GET", "/readyz").status == 200
        version = curl(node, "GET", "/version")
        assert version.status == 200
        assert set(json.loads(version.body)) == {"raftkv", "etcd_api"}


SERIES = (
    "raftkv_raft_is_leader", 'raftkv_raft_role{role="', "raftkv_raft_term",
    "raftkv_raft_commit_index", "raftkv_applied_index", "raftkv_raft_leader_changes_total",
    "raftkv_raft_proposals_total", "raftkv_raft_proposals_failed_total",
    "raftkv_raft_proposals_pending", "raftkv_log_sync_duration_seconds_bucket",
    "raftkv_log_sync_duration_seconds_count", "raftkv_apply_duration_seconds_bucket",
    "raftkv_apply_duration_seconds_sum", 'raftkv_queue_depth{queue="',
    'raftkv_rocksdb_bytes{family="', 'raftkv_rocksdb_written_bytes_total{cause="flush"', "raftkv_disk_bytes", "raftkv_replayed_entries",
    'raftkv_maintenance_duration_seconds_count{task="flush"}',
    'raftkv_maintenance_duration_seconds_count{task="cut"}',
    "raftkv_snapshots_sent_total", "raftkv_snapshot_received_bytes_total",
    "raftkv_revision", "process_resident_memory_bytes", "process_cpu_seconds_total",
)


def test_metrics(cluster, prefix):
    leader = cluster.leader()
    before = leader.metric("raftkv_raft_proposals_total")
    for i in range(20):
        leader.client.put(prefix + b"k", b"%d" % i)
    for node in cluster.nodes:
        reply = curl(node, "GET", "/metrics")
        assert reply.headers["content-type"].startswith("text/plain")
        lines = reply.body.decode().splitlines()
        for series in SERIES:
            assert any(line.startswith(series) for line in lines), f"{series} is not in /metrics"
        assert any(line == f"raftkv_raft_is_leader {int(node is leader)}" for line in lines)
        status = node.status()
        assert node.metric("raftkv_raft_term") == status.raftTerm
        assert node.metric("raftkv_log_syncs_total") > 0
        assert node.metric("raftkv_log_sync_duration_seconds_count") > 0
        assert node.metric("process_resident_memory_bytes") > 1e6
    assert leader.metric("raftkv_raft_proposals_total") >= before + 20
    for node in cluster.nodes:
        for family in ("raft_meta", "raft_log", "kv"):
            assert f'family="{family}"' in node.http_get("/metrics")[1].decode()

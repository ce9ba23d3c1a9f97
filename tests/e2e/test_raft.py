"""Raft seen from outside: elections, agreement, partitions and the loss of a majority."""

import fcntl
import threading
import time

import pytest
from harness.client import Client, RpcFailed, grpc
from harness.cluster import BIN_DIR
from harness.http import call, key_path
from harness.wait import wait_until

# What a request that finds no quorum may be told: it waited in vain.
_NO_QUORUM = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def put_anywhere(nodes, key, value, timeout_s=15.0):
    """Puts through whichever of `nodes` answers first; retries, so the value must be harmless to
    write twice."""

    def attempt():
        for node in nodes:
            try:
                return node.client.put(key, value, timeout_s=2.0)
            except RpcFailed:
                continue
        return None

    return wait_until(attempt, f"a put through one of {nodes} succeeds", timeout_s)


def leadership(cluster):
    """(leader's name, term), once the running nodes agree."""
    leader = cluster.leader()
    return leader.name, leader.status().raftTerm


def test_initial_election(three):
    leader = three.leader()
    claims = [n for n in three.nodes if n.status().leader == n.status().header.member_id]
    assert claims == [leader]
    assert len({n.status().header.cluster_id for n in three.nodes}) == 1
    assert len({n.status().header.member_id for n in three.nodes}) == 3


def test_no_election_while_the_leader_lives(make_cluster):
    """A quiet cluster keeps its leader and term for many election timeouts."""
    cluster = make_cluster(3, heartbeat_ms=50, election_ms=500).start()
    before = leadership(cluster)
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        for node in cluster.nodes:
            status = node.status()
            assert status.raftTerm == before[1] and status.leader, cluster.describe()
        time.sleep(0.05)
    assert leadership(cluster) == before


def test_re_election_and_the_old_leader_returns(three):
    old = three.leader()
    old_term = old.status().raftTerm
    old.client.put(b"k", b"before")
    old.kill()
    new = three.leader_other_than(old)
    new_term = new.status().raftTerm
    assert new_term > old_term
    new.client.put(b"k", b"while away")
    old.start().wait_ready()
    # It follows, and what leads goes on leading.
    assert three.leader() is new
    assert new.status().raftTerm == new_term
    assert old.client.get(b"k") == b"while away"
    three.assert_same_contents()


def test_leaders_fall_one_after_another(three):
    """Each leader in turn is killed and comes back; the term only grows and nothing is lost."""
    terms = []
    for i in range(4):
        leader = three.leader()
        terms.append(leader.status().raftTerm)
        leader.client.put(b"turn/%d" % i, leader.name.encode())
        leader.kill()
        three.leader_other_than(leader)
        leader.start().wait_ready()
    assert terms == sorted(set(terms)), terms
    keys = [row[0] for row in three.assert_same_contents(prefix=b"turn/")]
    assert keys == [b"turn/%d" % i for i in range(4)]


def test_log_agreement(three):
    """Puts through all nodes at once end up in one order everywhere."""

    def write(node):
        with Client(node.address) as client:
            for i in range(100):
                client.put(b"agree/%d" % (i % 10), b"%s-%d" % (node.name.encode(), i))

    threads = [threading.Thread(target=write, args=(node,)) for node in three.nodes]
    before = three.nodes[0].client.range(b"agree").header.revision
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = three.assert_same_contents(prefix=b"agree/")
    assert sum(version for *_, version in rows) == 300
    assert three.nodes[0].client.range(b"agree").header.revision == before + 300
    # Not only the last values agree: every revision does.
    for revision in range(before + 1, before + 301, 7):
        assert len({tuple(three.contents(n, b"agree/", revision)) for n in three.nodes}) == 1


def test_a_node_that_was_down_gets_what_it_missed(three):
    follower = three.others(three.leader())[0]
    follower.kill()
    running = three.others(follower)
    for i in range(200):
        running[i % 2].client.put(b"missed/%03d" % i, b"x" * 100)
    running[0].client.delete(b"missed/000")
    follower.start().wait_ready()
    rows = three.assert_same_contents(prefix=b"missed/")
    assert [row[0] for row in rows] == [b"missed/%03d" % i for i in range(1, 200)]


def test_entries_survive_in_different_majorities(three):
    """Each write is held by another pair of nodes; at the end all three have all of them."""
    for i in range(3):
        away = three.nodes[i]
        away.kill()
        put_anywhere(three.others(away), b"pair/%d" % i, b"v")
        away.start().wait_ready()
        three.wait_converged()
    rows = three.assert_same_contents(prefix=b"pair/")
    assert [row[0] for row in rows] == [b"pair/0", b"pair/1", b"pair/2"]


def test_large_values_to_a_lagging_node(three):
    """Many megabytes of backlog go over in bounded pieces."""
    follower = three.others(three.leader())[0]
    follower.kill()
    value = bytes(range(256)) * 4096  # 1 MiB
    for i in range(12):
        three.others(follower)[0].client.put(b"large/%02d" % i, value, timeout_s=10)
    follower.start().wait_ready()
    rows = three.assert_same_contents(prefix=b"large/")
    assert [(row[0], row[1] == value) for row in rows] == [
        (b"large/%02d" % i, True) for i in range(12)]


def test_a_paused_leader_is_replaced_and_serves_nothing_stale(three):
    """SIGSTOP, the classic way to make a leader that does not know it was deposed."""
    old = three.leader()
    old.client.put(b"k", b"old")
    old.pause()
    new = three.leader_other_than(old)
    new.client.put(b"k", b"new")
    answers = []

    def read():
        # Sent while it sleeps: it will find these first when it wakes.
        with Client(old.address, timeout_s=8.0) as client:
            try:
                answers.append(client.get(b"k"))
            except RpcFailed as error:
                answers.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    old.resume()
    for thread in threads:
        thread.join()
    # Right or refused; never the old value.
    assert all(a == b"new" or isinstance(a, RpcFailed) for a in answers), answers
    three.wait_ready()
    three.assert_same_contents()


@pytest.mark.raftkv_only
@pytest.mark.parametrize("mode", ["stall", "reset"])
def test_a_leader_cut_off_acknowledges_and_serves_nothing(make_cluster, mode):
    cluster = make_cluster(3, proxied=True).start()
    old = cluster.leader()
    rest = cluster.others(old)
    old.client.put(b"k", b"v0")
    cluster.wait_converged()

    cluster.network.isolate([old.name], mode)
    acknowledged, stale, stop = [], [], threading.Event()

    def write():
        with Client(old.address, timeout_s=1.0) as client:
            i = 0
            while not stop.is_set():
                i += 1
                try:
                    client.put(b"lost/%d" % i, b"x")
                    acknowledged.append(i)
                except RpcFailed as error:
                    assert error.code in _NO_QUORUM, error

    def read():
        with Client(old.address, timeout_s=1.0) as client:
            while not stop.is_set():
                try:
                    stale.append(client.get(b"k"))
                except RpcFailed as error:
                    assert error.code in _NO_QUORUM, error

    threads = [threading.Thread(target=run) for run in (write, read)]
    for thread in threads:
        thread.start()
    try:
        new = cluster.leader(rest)
        for i in range(20):
            rest[i % 2].client.put(b"k", b"v%d" % (i + 1))
        assert rest[0].client.get(b"k") == rest[1].client.get(b"k") == b"v20"
        # The one that was cut off notices that it leads no more (check-quorum).
        wait_until(lambda: old.status().leader != old.status().header.member_id,
                   lambda: f"{old} steps down; {cluster.describe()}")
        # It may say so, or answer from what it has when asked for no more than that.
        assert old.client.get(b"k", serializable=True) == b"v0"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # The reads had begun after the cut, so none could be confirmed by a majority.
    assert not stale, f"{old} served linearizable reads while cut off: {stale[:5]}"
    assert not acknowledged, f"{old} acknowledged writes while cut off: {acknowledged[:5]}"

    cluster.network.heal()
    assert cluster.leader() in rest
    wait_until(lambda: old.status().leader == new.status().leader, f"{old} follows again")
    assert old.client.get(b"k") == b"v20"
    # Writes nobody acknowledged are gone, or everywhere: never on one node alone.
    cluster.assert_same_contents()


@pytest.mark.raftkv_only
def test_a_follower_cut_off_disturbs_nobody(make_cluster):
    """Pre-vote (thesis 9.6): coming back with a restless election timer changes no term."""
    cluster = make_cluster(3, heartbeat_ms=50, election_ms=500, proxied=True).start()
    before = leadership(cluster)
    leader = cluster[before[0]]
    follower = cluster.others(leader)[0]
    cluster.network.isolate([follower.name])
    wait_until(lambda: follower.status().leader == 0,
               lambda: f"{follower} misses its leader; {cluster.describe()}")
    deadline = time.monotonic() + 2.0  # several of its election timeouts
    while time.monotonic() < deadline:
        leader.client.put(b"k", b"v")
        assert follower.status().raftTerm == before[1], "it raised its term while cut off"
        time.sleep(0.02)
    with pytest.raises(RpcFailed) as error:
        follower.client.get(b"k", timeout_s=1.0)
    assert error.value.code in _NO_QUORUM
    cluster.network.heal()
    wait_until(lambda: follower.status().leader == leader.status().leader, "it follows again")
    assert follower.client.get(b"k") == b"v"
    assert leadership(cluster) == before


@pytest.mark.raftkv_only
def test_a_follower_that_hears_nothing_but_speaks(make_cluster):
    """A link cut one way: its pre-votes arrive, and nobody who hears the leader grants them."""
    cluster = make_cluster(3, heartbeat_ms=50, election_ms=500, proxied=True).start()
    before = leadership(cluster)
    leader = cluster[before[0]]
    follower = cluster.others(leader)[0]
    cluster.network.links[leader.name, follower.name].cut()
    wait_until(lambda: follower.status().leader == 0, f"{follower} misses its leader")
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        leader.client.put(b"k", b"v")
        assert leader.status().raftTerm == before[1], cluster.describe()
        time.sleep(0.02)
    cluster.network.heal()
    assert leadership(cluster) == before
    cluster.assert_same_contents()


@pytest.mark.raftkv_only
def test_a_leader_that_speaks_but_hears_nothing(make_cluster):
    """The other way round: its heartbeats arrive and no answer does. Check-quorum (thesis 6.2)
    makes it step down, or nobody could ever commit again."""
    cluster = make_cluster(3, proxied=True).start()
    old = cluster.leader()
    rest = cluster.others(old)
    for node in rest:
        cluster.network.links[node.name, old.name].cut()
    with pytest.raises(RpcFailed) as error:
        old.client.put(b"one way", b"1", timeout_s=1.0)
    assert error.value.code in _NO_QUORUM
    new = wait_until(lambda: next((n for n in rest if n.status().leader == n.status().header
                                   .member_id), None),
                     lambda: f"another leads; {cluster.describe()}")
    put_anywhere([new], b"k", b"v")
    cluster.network.heal()
    cluster.leader()
    cluster.assert_same_contents()


@pytest.mark.raftkv_only
def test_no_link_between_two_followers(make_cluster):
    """Both reach the leader, not each other: nothing is wrong, and nobody may think so."""
    cluster = make_cluster(3, heartbeat_ms=50, election_ms=500, proxied=True).start()
    before = leadership(cluster)
    leader = cluster[before[0]]
    a, b = cluster.others(leader)
    cluster.network.links[a.name, b.name].cut()
    cluster.network.links[b.name, a.name].cut()
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        for node in cluster.nodes:
            node.client.put(b"k", node.name.encode())
            assert node.client.get(b"k") == node.name.encode()
        time.sleep(0.02)
    assert leadership(cluster) == before


def assert_refused(error, bound_s, begin):
    """Refused by the server itself, in etcd's words, within its bound."""
    assert error.code == grpc.StatusCode.UNAVAILABLE, error
    assert error.text.startswith("etcdserver: "), error
    assert "timed out" in error.text or "no leader" in error.text, error
    assert time.monotonic() - begin < bound_s


@pytest.mark.raftkv_only
def test_a_leader_whose_disk_hangs_hands_over(make_cluster):
    """Its heartbeats go on, so that nobody else would stand for election by himself."""
    library = BIN_DIR.parent / "tests/e2e/libhang_sync.so"
    if not library.exists():
        pytest.skip("a build with sanitizers takes no preloaded library")
    cluster = make_cluster(3)
    for node in cluster.nodes:
        hang = cluster.dir / f"{node.name}.hang"
        hang.touch()
        node.own_environment = {"LD_PRELOAD": str(library), "HANG_SYNC": str(hang)}
    cluster.start()
    old = cluster.leader()
    old.client.put(b"k", b"before")
    others = cluster.others(old)
    with open(cluster.dir / f"{old.name}.hang", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        put_anywhere(others, b"k", b"committed without its disk")
        new = cluster.leader_other_than(old)
        new.client.put(b"k", b"while it hangs")
        assert new.client.get(b"k") == b"while it hangs"
    old.wait_ready()
    assert old.client.get(b"k") == b"while it hangs"
    cluster.assert_same_contents()


def test_majority_lost_and_back(three):
    three.leader().client.put(b"k", b"v")
    three.wait_converged()
    survivor = three.nodes[0]
    down = three.others(survivor)
    for node in down:
        node.kill()
    # The server gives up after 5 s and two election timeouts, as etcd; our deadline is longer.
    results = {}

    def attempt(name, call):
        begin = time.monotonic()
        try:
            results[name] = call()
        except RpcFailed as error:
            results[name] = error
            assert_refused(error, 9.0, begin)

    client = survivor.client
    threads = [threading.Thread(target=attempt, args=args) for args in (
        ("put", lambda: client.put(b"k", b"must not be acknowledged", timeout_s=12)),
        ("delete", lambda: client.delete(b"k", timeout_s=12)),
        ("get", lambda: client.get(b"k", timeout_s=12)))]
    for thread in threads:
        thread.start()
    # Its own state is still there for those who ask for no more.
    assert client.get(b"k", serializable=True) == b"v"
    for thread in threads:
        thread.join()
    assert all(isinstance(results[name], RpcFailed) for name in ("put", "delete", "get")), results
    assert client.get(b"k", serializable=True) == b"v"

    down[0].start()
    leader = three.leader([survivor, down[0]])
    leader.client.put(b"k", b"again")
    assert survivor.client.get(b"k") == b"again"
    down[1].start()
    three.wait_ready()
    three.assert_same_contents()


@pytest.mark.raftkv_only
def test_errors_say_whether_a_write_may_still_apply(three):
    """A client without a session may only retry what was certainly not applied."""
    leader = three.leader()
    for node in three.others(leader):
        node.kill()
    replies = {}

    def put(key):
        replies[key] = call(leader, "POST", key_path(key), b"v", timeout_s=12)

    # The first gets into the leader's log before it notices that it is alone; the second finds no
    # leader and goes nowhere.
    threads = [threading.Thread(target=put, args=(key,)) for key in (b"in the log", b"nowhere")]
    threads[0].start()
    wait_until(lambda: leader.status().leader == 0, "it notices")
    threads[1].start()
    for thread in threads:
        thread.join()
    assert all(reply.status == 503 for reply in replies.values()), replies
    assert replies[b"nowhere"].error_code == "unavailable"
    assert replies[b"in the log"].error_code == "outcome_unknown"
    # And indeed: with one other node back only the longer log can lead, so the write applies.
    three.others(leader)[0].start()
    three.wait_ready()
    assert leader.client.get(b"in the log") == b"v"
    assert leader.client.get(b"nowhere") is None


@pytest.mark.raftkv_only
def test_readyz_follows_the_majority(three):
    survivor = three.nodes[0]
    for node in three.others(survivor):
        node.kill()
    wait_until(lambda: survivor.http_get("/readyz")[0] == 503, "/readyz says 503 without a leader")
    assert survivor.http_get("/healthz")[0] == 200  # alive all the same
    three.nodes[1].start()
    wait_until(lambda: survivor.http_get("/readyz")[0] == 200, "/readyz says 200 with a leader")


def test_a_single_node_is_a_cluster(make_cluster):
    cluster = make_cluster(1).start()
    (node,) = cluster.nodes
    assert cluster.leader() is node
    node.client.put(b"k", b"v")
    node.kill()
    node.start().wait_ready()
    assert node.client.get(b"k") == b"v"


def test_five_nodes_survive_two(make_cluster):
    cluster = make_cluster(5).start()
    cluster.leader().client.put(b"k", b"v1")
    first = cluster.leader()
    second = cluster.others(first)[0]
    first.kill()
    second.kill()
    running = cluster.others(first, second)
    put_anywhere(running, b"k", b"v2")
    first.start()
    second.start()
    cluster.wait_ready()
    cluster.leader()
    assert cluster.assert_same_contents()[0][1] == b"v2"

"""Clients that write and read while a test breaks things, and what they must find afterwards.

Several kinds of writers, because each can show another kind of bug:
  register writers put unique values to a few shared keys; readers get them: for linearizability;
  REST writers do the same over HTTP, whose errors say whether the write may still apply: one that
    was said to be definitely not applied must never be seen;
  recorders put each value to a key of its own, once: none that was acknowledged may be missing;
  sessions retry each write, through any node, until it is acknowledged: each must apply once.
"""

import http.client
import random
import threading
import time

from harness import history
from harness.client import Client, RpcFailed
from harness.cluster import ETCD
from harness.http import key_path, reply_of
from harness.history import Op, Recorder
from harness.tools import raftkv_check
from harness.wait import wait_until


class Workload:
    """Runs until stop(). Every thread has a random generator of its own, derived from the seed."""

    def __init__(self, cluster, seed, registers=5, writers=3, readers=3, recorders=2, sessions=2,
                 rest_writers=1, timeout_s=1.5, prefix=b"w"):
        self.nodes = list(cluster.nodes)
        self.recorder = Recorder()
        self.recorded = {}     # key -> (value, outcome, revision) of the recorders
        self.sessions = {}     # key -> acknowledged writes of one session
        self.timeout_s = timeout_s
        self._seed = seed
        self._prefix = prefix
        self._registers = [b"%s/register/%d" % (prefix, i) for i in range(registers)]
        self._stop = threading.Event()
        self._crashed = []
        self._counts_lock = threading.Lock()
        self._acked = 0
        self.last_errors = {}  # thread name -> text, to explain a stall
        self._threads = []
        # A client for each node, shared by all threads; they reconnect by themselves.
        self._clients = {node: Client(node.address, timeout_s) for node in self.nodes}
        if ETCD:
            sessions = rest_writers = 0
        for kind, count in ((self._write, writers), (self._read, readers),
                            (self._record, recorders), (self._session, sessions),
                            (self._rest, rest_writers)):
            for i in range(count):
                name = f"{kind.__name__.strip('_')}{i}"
                rng = random.Random(f"{seed}/{name}")
                self._threads.append(threading.Thread(
                    target=self._guard, args=(kind, name, rng), name=name, daemon=True))

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        """Ends the threads. The cluster must be up: sessions retry until they succeed."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), f"{thread.name} is stuck"
        self.close()
        if self._crashed:
            raise self._crashed[0]
        return self

    def close(self):
        """Ends the threads as they come, without waiting for them or for what they began."""
        self._stop.set()
        for client in self._clients.values():
            client.close()

    def use_nodes(self, nodes):
        """From now on these are the nodes to call: the cluster has others than before."""
        for node in nodes:
            if node not in self._clients:
                self._clients[node] = Client(node.address, self.timeout_s)
        self.nodes = list(nodes)

    @property
    def acked(self):
        """Calls acknowledged so far; grows while the cluster serves."""
        if self._crashed:
            raise self._crashed[0]
        with self._counts_lock:
            return self._acked

    def wait_acked(self, calls, timeout_s=20.0):
        """Waits until `calls` more calls were acknowledged: the load really runs."""
        target = self.acked + calls
        wait_until(lambda: self.acked >= target,
                   lambda: f"{calls} calls succeed; {target - self.acked} are missing; the last "
                   f"errors were {self.last_errors}", timeout_s)

    def _count(self):
        with self._counts_lock:
            self._acked += 1

    def _guard(self, kind, name, rng):
        try:
            kind(name, rng)
        except Exception as error:  # pylint: disable=broad-except
            if not self._stop.is_set() or not isinstance(error, ValueError):
                self._crashed.append(error)

    def _pick(self, rng):
        node = rng.choice(self.nodes)
        return node, self._clients[node]

    def _pause_after_error(self, rng, error):
        self.last_errors[threading.current_thread().name] = str(error)
        # A node that is down refuses in microseconds: don't spin on it.
        self._stop.wait(rng.uniform(0.005, 0.03))

    def _write(self, name, rng):
        n = 0
        while not self._stop.is_set():
            n += 1
            node, client = self._pick(rng)
            op = Op("put", rng.choice(self._registers), b"%s-%d" % (name.encode(), n),
                    Recorder.now(), client=name, node=node.name)
            try:
                response = client.put(op.key, op.value)
                op.end = Recorder.now()
                op.revision = response.header.revision
                self._count()
            except RpcFailed as error:
                # Only a definite refusal may be held against the server if it applies after all.
                op.outcome = history.FAILED if error.definite else history.UNKNOWN
                self._pause_after_error(rng, error)
            self.recorder.add(op)

    def _rest(self, name, rng):
        connections = {}
        n = 0
        while not self._stop.is_set():
            n += 1
            node, _ = self._pick(rng)
            op = Op("put", rng.choice(self._registers), b"%s-%d" % (name.encode(), n),
                    Recorder.now(), client=name, node=node.name)
            if node not in connections:
                connections[node] = http.client.HTTPConnection(
                    "127.0.0.1", node.http_port, timeout=self.timeout_s)
            try:
                connections[node].request("PUT", key_path(op.key) + "?upsert=true", op.value)
                reply = reply_of(connections[node].getresponse())
            except (OSError, http.client.HTTPException) as error:
                connections.pop(node).close()
                op.outcome = history.UNKNOWN
                self._pause_after_error(rng, error)
            else:
                if reply.status == 200:
                    op.end = Recorder.now()
                    op.revision = int(reply.headers["x-raftkv-revision"])
                    self._count()
                else:
                    unknown = reply.error_code == "outcome_unknown"
                    op.outcome = history.UNKNOWN if unknown else history.FAILED
                    self._pause_after_error(rng, reply.json()["error"])
            self.recorder.add(op)
        for connection in connections.values():
            connection.close()

    def _read(self, name, rng):
        while not self._stop.is_set():
            node, client = self._pick(rng)
            op = Op("get", rng.choice(self._registers), None, Recorder.now(), client=name,
                    node=node.name)
            try:
                response = client.range(op.key)
            except RpcFailed as error:
                self._pause_after_error(rng, error)
                continue
            op.end = Recorder.now()
            op.revision = response.header.revision
            if response.kvs:
                op.value = response.kvs[0].value
                op.mod_revision = response.kvs[0].mod_revision
            self.recorder.add(op)
            self._count()

    def _record(self, name, rng):
        n = 0
        while not self._stop.is_set():
            n += 1
            _, client = self._pick(rng)
            key = b"%s/record/%s/%06d" % (self._prefix, name.encode(), n)
            value = b"%s-%d-" % (name.encode(), n) + b"x" * rng.choice((0, 10, 300, 5000))
            try:
                response = client.put(key, value)
                self.recorded[key] = (value, history.OK, response.header.revision)
                self._count()
            except RpcFailed as error:
                outcome = history.FAILED if error.definite else history.UNKNOWN
                self.recorded[key] = (value, outcome, 0)
                self._pause_after_error(rng, error)

    def _session(self, name, rng):
        client_id = f"{self._prefix.decode()}-{self._seed}-{name}"
        key = b"%s/session/%s" % (self._prefix, name.encode())
        self.sessions[key] = 0
        sequence = 0
        while not self._stop.is_set():
            sequence += 1
            op = Op("put", key, b"%d" % sequence, Recorder.now(), client=name)
            give_up = None
            while True:
                node, client = self._pick(rng)
                try:
                    response = client.put(key, op.value, session=(client_id, sequence))
                    break
                except RpcFailed as error:
                    if error.definite and "too many requests" not in error.text:
                        raise AssertionError(
                            f"session {client_id} sequence {sequence}: {error}") from None
                    if self._stop.is_set() and give_up is None:
                        give_up = time.monotonic() + 30
                    assert give_up is None or time.monotonic() < give_up, (
                        f"{client_id} could not finish {sequence}: {error}")
                    time.sleep(rng.uniform(0.005, 0.03))
            op.end = Recorder.now()
            op.node = node.name
            # A retry gets the first answer, so its revision lies within the call's interval too.
            op.revision = response.header.revision
            self.recorder.add(op)
            self.sessions[key] = sequence
            self._count()

    # After everything is up again.

    def check_cluster(self, cluster, rng):
        """All nodes hold the same, and what was acknowledged; and no read was wrong."""
        cluster.assert_same_contents()
        for node in cluster.nodes:
            self.check_node(cluster, node, rng)
        self.check_history()

    def check_node(self, cluster, node, rng, history_samples=60):
        """What one node itself holds must include everything that was acknowledged."""
        held = {key: (value, mod, version) for key, value, _, mod, version in
                cluster.contents(node, self._prefix + b"/")}
        missing, wrong = [], []
        for key, (value, outcome, revision) in self.recorded.items():
            if outcome == history.OK:
                if key not in held:
                    missing.append(key)
                elif held[key][:2] != (value, revision):
                    wrong.append((key, held[key][1], revision))
            elif outcome == history.FAILED and key in held:
                wrong.append((key, "refused, yet applied"))
            elif key in held and held[key][0] != value:
                wrong.append((key, "another value"))
            if key in held and held[key][2] != 1:
                wrong.append((key, "applied more than once"))
        assert not missing, f"{node} lost {len(missing)} acknowledged writes, e.g. {missing[:5]}"
        assert not wrong, f"{node} holds {len(wrong)} writes wrongly, e.g. {wrong[:5]}"
        for key, sequence in self.sessions.items():
            if sequence:
                value, _, version = held.get(key, (None, 0, 0))
                assert (value, version) == (b"%d" % sequence, sequence), (
                    f"{node}: {key!r} is {value!r} at version {version} after {sequence} writes of "
                    "one session, each of which must apply exactly once")
        # Overwritten values are still there at their revisions.
        puts = [op for op in self.recorder.ops if op.kind == "put" and op.outcome == history.OK]
        for op in rng.sample(puts, min(history_samples, len(puts))):
            kvs = node.client.range(op.key, serializable=True, revision=op.revision).kvs
            found = (kvs[0].value, kvs[0].mod_revision) if kvs else None
            assert found == (op.value, op.revision), (
                f"{node} holds {found} at revision {op.revision} instead of\n    {op}")

    def check_history(self):
        # Two checkers that share nothing; ours first, because it draws what it finds.
        if not ETCD:
            raftkv_check(self.recorder.ops)
        history.check(self.recorder.ops)

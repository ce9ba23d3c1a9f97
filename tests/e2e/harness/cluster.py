"""Real nodes as processes on loopback, with their data in a temporary directory.

Processes are ended by their own id, and die with this process whatever happens to it (setpriv's
--pdeathsig). Start nodes from the main thread only: that signal is sent when the *thread* that
started the process ends.
"""

import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from harness.client import Client, RpcFailed, prefix_end
from harness.links import Network
from harness.ports import free_port
from harness.wait import wait_until

REPO = pathlib.Path(__file__).resolve().parents[3]
BIN_DIR = pathlib.Path(os.environ.get("RAFTKV_BIN_DIR", REPO / "build/release/bin"))
ETCD = os.environ.get("RAFTKV_E2E_ETCD")

# Clusters that exist now, so that a failure can be reported with their logs.
live_clusters = []

_STOP_TIMEOUT_S = 20.0
_LOG_TAIL_BYTES = 6000


class Exited(AssertionError):
    """A node ended when it should run."""


def spawn(command, log_path, **kwargs):
    """Starts a process that dies with us, its output appended to `log_path`."""
    with open(log_path, "ab") as log:
        log.write(("--- " + " ".join(map(str, command)) + "\n").encode())
        log.flush()
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **kwargs)


class Node:
    """One member: where it lives and, while it runs, its process."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.client_port = free_port()
        self.peer_port = free_port()
        self.http_port = free_port()
        self.data_dir = cluster.dir / name
        self.log_path = cluster.dir / f"{name}.log"
        self.process = None
        self.paused = False
        # How this node sees the peers: itself directly, the others perhaps through a proxy.
        self.peer_view = {}
        self.own_flags = {}  # by name, beside those of the cluster
        self.own_environment = {}
        self._client = None

    def __repr__(self):
        return self.name

    @property
    def address(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def client(self):
        """A shared client; made anew after each start so that no backoff of the last life stays."""
        if self._client is None:
            self._client = Client(self.address)
        return self._client

    def drop_client(self):
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def db_dir(self):
        return self.data_dir / "db"

    def flags(self):
        """The flags this node is started with, by name."""
        c = self.cluster
        flags = {
            "name": self.name,
            "data-dir": self.data_dir,
            "listen-client-urls": f"http://127.0.0.1:{self.client_port}",
            "advertise-client-urls": f"http://127.0.0.1:{self.client_port}",
            "listen-peer-urls": f"http://127.0.0.1:{self.peer_port}",
            "initial-advertise-peer-urls": f"http://127.0.0.1:{self.peer_port}",
            "listen-http-urls": f"http://127.0.0.1:{self.http_port}",
            "advertise-http-urls": f"http://127.0.0.1:{self.http_port}",
            "initial-cluster": ",".join(
                f"{name}=http://127.0.0.1:{port}" for name, port in self.peer_view.items()),
            "initial-cluster-token": "e2e",
            "initial-cluster-state": "new",
            "heartbeat-interval": c.heartbeat_ms,
            "election-timeout": c.election_ms,
        }
        flags.update(c.extra_flags)
        flags.update(self.own_flags)
        if ETCD:
            for ours in ("listen-http-urls", "advertise-http-urls", "memtable-bytes"):
                flags.pop(ours, None)
            flags["listen-metrics-urls"] = f"http://127.0.0.1:{self.http_port}"
            flags["log-level"] = "warn"
            flags["enable-v2"] = "false"
        return flags

    def command(self, **override):
        """The command line. Keywords replace or (None) remove flags; '_' stands for '-'."""
        flags = self.flags()
        for key, value in override.items():
            key = key.replace("_", "-")
            if value is None:
                flags.pop(key, None)
            else:
                flags[key] = value
        return [self.cluster.binary, *(f"--{k}={v}" for k, v in flags.items())]

    def start(self, **override):
        assert not self.running, f"{self.name} runs already"
        self.drop_client()
        self.process = spawn(self.command(**override), self.log_path,
                             env={**os.environ, **self.own_environment})
        self.paused = False
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, and waits until the process is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.drop_client()

    def stop(self, timeout_s=_STOP_TIMEOUT_S):
        """SIGTERM; returns the exit code and the seconds it took."""
        begin = time.monotonic()
        self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end within {timeout_s} s of SIGTERM") from None
        finally:
            self.drop_client()
        return code, time.monotonic() - begin

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    def http_get(self, path, timeout_s=2.0):
        """(status, body) of a plain GET; (None, reason) when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            return None, repr(error).encode()
        finally:
            connection.close()

    def ready(self):
        if not self.running:
            raise Exited(f"{self.name} ended with code {self.process and self.process.poll()}"
                         f" while starting:\n{self.log_tail(2000)}")
        return self.http_get("/health" if ETCD else "/readyz")[0] == 200

    def wait_ready(self, timeout_s=20.0):
        wait_until(self.ready, lambda: f"{self.name} is ready; /readyz says "
                   f"{self.http_get('/readyz')}", timeout_s)
        return self

    def status(self, timeout_s=2.0):
        return self.cluster.note_leader(self.client.status(timeout_s))

    def metric(self, name):
        """The value of an unlabelled series in /metrics, or None."""
        for line in self.http_get("/metrics")[1].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return None

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, size=_LOG_TAIL_BYTES):
        return self.log_text()[-size:]


class Cluster:
    """Nodes n1..nN that know each other. Use as a context manager, or call close()."""

    def __init__(self, size=3, heartbeat_ms=20, election_ms=200, proxied=False, **extra_flags):
        self.binary = ETCD or BIN_DIR / "raftkvd"
        if not os.access(self.binary, os.X_OK):
            raise RuntimeError(f"{self.binary} is missing; build it or set RAFTKV_BIN_DIR")
        self.heartbeat_ms = heartbeat_ms
        self.election_ms = election_ms
        self.extra_flags = {k.replace("_", "-"): v for k, v in extra_flags.items()}
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="raftkv-e2e-"))
        self.nodes = [Node(self, f"n{i + 1}") for i in range(size)]
        self.network = Network() if proxied else None
        self.leader_of_term = {}
        for node in self.nodes:
            for peer in self.nodes:
                if proxied and peer is not node:
                    port = self.network.add(node.name, peer.name, peer.peer_port)
                else:
                    port = peer.peer_port
                node.peer_view[peer.name] = port
        live_clusters.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, name):
        return next(node for node in self.nodes if node.name == name)

    def close(self, keep_data=False):
        """Ends every process and removes the data. Safe to call twice."""
        for node in self.nodes:
            node.kill()
        if self.network:
            self.network.close()
            self.network = None
        if self in live_clusters:
            live_clusters.remove(self)
        if not keep_data:
            shutil.rmtree(self.dir, ignore_errors=True)

    # Growing and shrinking (not through proxies).

    def prepare_node(self, name):
        """A node that is not a member yet, and is not started: add it, then start() it."""
        node = Node(self, name)
        node.peer_view = {n.name: n.peer_port for n in [*self.nodes, node]}
        node.own_flags["initial-cluster-state"] = "existing"
        self.nodes.append(node)
        return node

    def forget_node(self, node):
        """Ends a node that is not a member any more, and takes it off the list."""
        node.kill()
        self.nodes.remove(node)

    # Whole-cluster steps.

    def start(self):
        for node in self.nodes:
            node.start()
        return self.wait_ready()

    def wait_ready(self, timeout_s=20.0):
        for node in self.nodes:
            if node.running and not node.paused:
                node.wait_ready(timeout_s)
        return self

    def stop(self):
        """SIGTERM to all at once; every one must exit 0."""
        running = [node for node in self.nodes if node.running]
        for node in running:
            node.signal(signal.SIGTERM)
        for node in running:
            try:
                code = node.process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{node.name} did not end on SIGTERM") from None
            assert code == 0, f"{node.name} ended with code {code} on SIGTERM"
            node.drop_client()

    def others(self, *nodes):
        return [node for node in self.nodes if node not in nodes]

    # Leadership.

    def note_leader(self, status):
        """Remembers which node leads which term; two leaders in one term is the worst of bugs."""
        if status.leader and not ETCD:  # (etcd reads its term and its leader one after the other)
            known = self.leader_of_term.setdefault(status.raftTerm, status.leader)
            assert known == status.leader, (
                f"two leaders in term {status.raftTerm}: {known:x} and {status.leader:x}")
        return status

    def agreed_leader(self, nodes=None):
        """The leader that all of `nodes` name in the same term and that claims it itself; or None
        when they don't agree now."""
        statuses = {}
        for node in nodes or [n for n in self.nodes if n.running and not n.paused]:
            try:
                statuses[node] = node.status()
            except RpcFailed:
                return None
        if len({(s.leader, s.raftTerm) for s in statuses.values()}) != 1:
            return None
        for node, status in statuses.items():
            if status.leader and status.leader == status.header.member_id:
                return node
        return None

    def leader(self, nodes=None, timeout_s=15.0):
        """Waits until `nodes` (default: all that run) agree on a leader among them."""
        return wait_until(lambda: self.agreed_leader(nodes),
                          lambda: f"{nodes or 'the running nodes'} agree on a leader; "
                          f"{self.describe()}", timeout_s)

    def leader_other_than(self, old, timeout_s=15.0):
        nodes = [n for n in self.nodes if n is not old and n.running and not n.paused]
        return wait_until(lambda: self.agreed_leader(nodes),
                          lambda: f"{nodes} elect a leader; {self.describe()}", timeout_s)

    def describe(self):
        words = []
        for node in self.nodes:
            if not node.running:
                words.append(f"{node.name}: down")
                continue
            try:
                s = node.status(timeout_s=1.0)
                words.append(f"{node.name}: id={s.header.member_id:x} leader={s.leader:x} "
                             f"term={s.raftTerm} commit={s.raftIndex} rev={s.header.revision}")
            except RpcFailed as error:
                words.append(f"{node.name}: {error}")
        return "; ".join(words)

    # State.

    def wait_converged(self, nodes=None, timeout_s=20.0):
        """Waits until every node's own state has reached the newest revision; returns that.

        The reads are serializable: each shows what this node itself has applied."""
        nodes = nodes or [n for n in self.nodes if n.running]

        def newest():
            for node in nodes:
                try:
                    return node.client.range(b"\0", timeout_s=3.0).header.revision
                except RpcFailed:
                    continue
            return None

        revision = wait_until(newest, lambda: f"a linearizable read succeeds; {self.describe()}",
                              timeout_s)

        def caught_up(node):
            try:
                return node.client.range(b"\0", serializable=True).header.revision >= revision
            except RpcFailed:
                return False

        for node in nodes:
            wait_until(lambda node=node: caught_up(node),
                       lambda node=node: f"{node} reaches revision {revision}; {self.describe()}",
                       timeout_s)
        return revision

    def contents(self, node, prefix=b"", revision=0):
        """Every key of one node's own state, as a list of comparable tuples."""
        result, key, end = [], prefix or b"\0", prefix_end(prefix)
        while True:
            response = node.client.range(
                key, end, serializable=True, revision=revision, limit=5000)
            revision = revision or response.header.revision  # all pages at one revision
            result += [(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version)
                       for kv in response.kvs]
            if not response.more:
                return result
            key = response.kvs[-1].key + b"\0"

    def assert_same_contents(self, nodes=None, prefix=b""):
        """After converging: all nodes hold the same keys, values, revisions and versions."""
        nodes = nodes or [n for n in self.nodes if n.running]
        revision = self.wait_converged(nodes)
        first = self.contents(nodes[0], prefix, revision)
        for node in nodes[1:]:
            other = self.contents(node, prefix, revision)
            if other != first:
                only = sorted(set(first) ^ set(other))[:6]
                raise AssertionError(
                    f"{nodes[0]} and {node} differ at revision {revision}, e.g. {only}")
        return first

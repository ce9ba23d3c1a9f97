"""What bench/compare measures: clusters of raftkv and of etcd, and the ceiling, on loopback.

Both systems run with their defaults (a heartbeat of 100 ms, an election timeout of 1,000 ms) and
with durability on, which neither lets one switch off here. Each node is a process with its data in
a temporary directory, ended by its own id; it dies with this process whatever happens to it.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import nodes as lab
from harness.cluster import spawn
from harness.ports import free_port, is_free

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60


class Node:
    def __init__(self, name):
        self.name = name
        self.client, self.peer, self.http = free_port(), free_port(), free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.client}"

    def http_get(self, path, timeout_s):
        """(status, body); as the end-to-end tests' nodes have it."""
        url = f"http://127.0.0.1:{self.http}{path}"
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:
            return reply.status, reply.read()


class System:
    """Nodes of one kind ("raftkv", "etcd" or "ceiling"); a context manager that starts and ends
    them."""

    def __init__(self, kind, size, binaries, parent_dir=None):
        self.kind, self.size, self._binaries = kind, size, binaries
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="raftkv-compare-", dir=parent_dir))
        self.nodes = [Node(f"n{i + 1}") for i in range(size)]

    def _command(self, node):
        data = self.directory / node.name
        if self.kind == "ceiling":
            return [self._binaries["ceiling"], "--listen", node.address, "--file", data]
        line = [
            self._binaries[self.kind], "--name", node.name, "--data-dir", data,
            "--listen-client-urls", f"http://{node.address}",
            "--advertise-client-urls", f"http://{node.address}",
            "--listen-peer-urls", f"http://127.0.0.1:{node.peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{node.peer}",
            "--initial-cluster",
            ",".join(f"{n.name}=http://127.0.0.1:{n.peer}" for n in self.nodes),
            "--initial-cluster-token", "compare", "--initial-cluster-state", "new",
        ]
        url = f"http://127.0.0.1:{node.http}"
        if self.kind == "raftkv":
            return line + ["--listen-http-urls", url]
        # etcd refuses writes above its quota, 2 GiB by default, which the large values would fill.
        return line + ["--listen-metrics-urls", url, "--quota-backend-bytes", str(8 << 30),
                       "--log-level", "warn"]

    def _ready(self, node):
        if node.process.poll() is not None:
            raise RuntimeError(f"{self.kind} {node.name} ended: {self._log_tail(node)}")
        if self.kind == "ceiling":
            return not is_free(node.client)
        path = "/readyz" if self.kind == "raftkv" else "/health"
        try:
            return node.http_get(path, timeout_s=1)[0] == 200
        except OSError:
            return False

    def _log_tail(self, node):
        return (self.directory / f"{node.name}.log").read_text(errors="replace")[-2000:]

    def start(self, node):
        node.process = spawn(self._command(node), self.directory / f"{node.name}.log")

    def kill(self, node):
        node.process.kill()
        node.process.wait()

    def wait_ready(self, node, poll_s=0.05):
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._ready(node):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.kind} {node.name} did not become ready: "
                                   f"{self._log_tail(node)}")
            time.sleep(poll_s)

    def __enter__(self):
        try:
            for node in self.nodes:
                self.start(node)
            for node in self.nodes:
                self.wait_ready(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        started = [node.process for node in self.nodes if node.process]
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pids(self):
        return [node.process.pid for node in self.nodes]

    def _status(self, node):
        line = [self._binaries["raftkvctl"], f"--endpoints={node.address}", "-w", "json", "status"]
        done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=30)
        return json.loads(done.stdout)[0]["Status"]

    def leader(self):
        """The node that says of itself that it leads."""
        if self.size == 1:
            return self.nodes[0]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for node in self.nodes:
                status = self._status(node)
                if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                    return node
            time.sleep(0.2)
        raise RuntimeError(f"{self.kind} has no leader")

    def compact(self):
        """Drops all history, and returns when it is gone."""
        leader = self.leader()
        revision = self._status(leader)["header"]["revision"]
        subprocess.run([self._binaries["raftkvctl"], f"--endpoints={leader.address}",
                        "--command-timeout=60s", "compact", "--physical", str(revision)],
                       capture_output=True, check=True, timeout=90)

    def term(self):
        """Rises with each election. The ceiling has none."""
        if self.kind == "ceiling":
            return 0
        return max(int(self._status(node)["raftTerm"]) for node in self.nodes)


def find_binaries(directory, etcd, who):
    """{name: path} of what is measured, and of what measures; ends the process if one is missing."""
    if not etcd or not os.path.exists(etcd):
        sys.exit(f"{who}: etcd is not installed; run: make bench")
    binaries = {"raftkv": directory / "raftkvd", "etcd": pathlib.Path(etcd)}
    binaries |= {name: directory / name for name in ("raftkvctl", "raftkv-bench", "ceiling")}
    for path in binaries.values():
        if not os.access(path, os.X_OK):
            sys.exit(f"{who}: {path} is missing; run: "
                     "scripts/build release raftkvd raftkvctl raftkv-bench ceiling")
    return binaries


def run_bench(line):
    """raftkv-bench's lines, as JSON."""
    done = subprocess.run([*line, "--format=json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, line))}: {done.stderr}")
    return [json.loads(text) for text in done.stdout.splitlines()]


class RssPeak:
    """The most memory that any of some processes had while the with was under way."""

    def __init__(self, pids):
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mib = 0.0

    def _watch(self):
        while not self._stop.wait(0.1):
            self._look()

    def _look(self):
        for pid in self._pids:
            try:
                with open(f"/proc/{pid}/status", encoding="ascii") as file:
                    found = re.search(r"VmRSS:\s*(\d+) kB", file.read())
            except OSError:
                continue
            if found:
                self.mib = max(self.mib, int(found.group(1)) / 1024)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._look()


def fdatasync_us(directory, times=500):
    """(median, 99th percentile) of appending 4 KiB to a file and syncing it, in microseconds."""
    waits = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(times):
            os.write(file.fileno(), b"x" * 4096)
            begin = time.monotonic()
            os.fdatasync(file.fileno())
            waits.append((time.monotonic() - begin) * 1e6)
    waits.sort()
    return round(statistics.median(waits)), round(waits[int(len(waits) * 0.99)])


def machine(binaries, directory):
    """For the report: where the figures are from."""
    directory = directory or tempfile.gettempdir()
    etcd = subprocess.run([binaries["etcd"], "--version"], capture_output=True, text=True,
                          check=True).stdout
    git = subprocess.run(["git", "-C", lab.REPO, "describe", "--always", "--dirty"],
                         capture_output=True, text=True, check=False).stdout.strip()
    disk = subprocess.run(["findmnt", "-n", "-o", "SOURCE,FSTYPE", "-T", directory],
                          capture_output=True, text=True, check=False).stdout.split()
    return lab.machine() | {
        "etcd": re.search(r"etcd Version: (\S+)", etcd).group(1),
        "raftkv": git or "unknown",
        "disk": " ".join(disk) or "unknown",
        "fdatasync_us": [fdatasync_us(directory)],
    }

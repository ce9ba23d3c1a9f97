"""What bench/endure and bench/measure-node share: nodes on loopback, load on them, and their sizes.

The nodes are the end-to-end tests' (tests/e2e/harness): processes with their data in a temporary
directory, ended by their own id. They run with raftkvd's defaults.
"""

import datetime
import os
import pathlib
import platform
import queue
import re
import subprocess
import sys
import threading

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "tests/e2e"))

from harness.cluster import BIN_DIR, Cluster  # noqa: E402
from harness.wait import wait_until  # noqa: E402

MIB = 1 << 20
KEY_BYTES = 8  # as raftkv-bench writes them


def cluster(size, **flags):
    """Nodes with the timeouts a user gets (the tests' are shorter)."""
    return Cluster(size, heartbeat_ms=100, election_ms=1000, **flags)


def machine():
    """When and where, for a table of figures."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return {
        "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        "cpus": os.cpu_count(),
        "cpu": model.group(1) if model else platform.machine(),
        "kernel": platform.release(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def directory_bytes(node):
    """(all files, WAL files) of a node's directory. A file that just went counts nothing."""
    total = wal = 0
    for path in node.data_dir.rglob("*"):
        try:
            info = path.lstat()
        except FileNotFoundError:
            continue
        if not path.is_file():
            continue
        total += info.st_size
        if path.suffix == ".log":
            wal += info.st_size
    return total, wal


def metrics(node):
    """All series of /metrics by their name with labels."""
    status, body = node.http_get("/metrics", timeout_s=30)
    if status != 200:
        raise RuntimeError(f"/metrics of {node}: {status} {body!r}")
    lines = (line.rsplit(" ", 1) for line in body.decode().splitlines() if line[:1] != "#")
    return {name: float(value) for name, value in lines}


def written_bytes(values):
    """{cause: bytes} written since the node's start, of its metrics."""
    tables = {cause: sum(value for name, value in values.items()
                         if "written_bytes" in name and f'cause="{cause}"' in name)
              for cause in ("flush", "compaction")}
    return {"log": values["raftkv_log_bytes_total"]} | tables


def settle(node):
    """Waits until no compaction is pending or running."""
    def calm():
        return not any(v for name, v in metrics(node).items() if "pending_compaction" in name)
    wait_until(calm, "compaction is done", timeout_s=600, poll_s=0.5)


def log_span(node):
    values = metrics(node)
    return int(values["raftkv_raft_last_index"] - values["raftkv_raft_first_index"] + 1)


def rss_bytes(node):
    # The node's own process: setpriv, which started it, became it.
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s*(\d+) kB", file.read()).group(1)) * 1024


def fields(line):
    """The name=value fields of a line that raftkv-bench printed, as numbers."""
    return {name: float(value) for name, value in re.findall(r"(\S+?)=([\d.]+)(?=\s|$)", line)}


class Bench:
    """raftkv-bench under way. Ends with the with; a failure of its requests is an error there."""

    def __init__(self, nodes, operation, **options):
        endpoints = ",".join(node.address for node in nodes)
        command = [BIN_DIR / "raftkv-bench", operation, f"--endpoints={endpoints}"]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            command.append(flag if value is True else f"{flag}={value}")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         text=True)
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.total = None  # the last line's fields, once it ended

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(fields(line) | {"last": not line.startswith("ops=")})
        self._lines.put(None)

    def next_line(self, timeout_s):
        """The next interval's fields; None when there is none (yet: see `total`, and running)."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if line is not None and line["last"]:
            self.total = line
            return None
        return line

    @property
    def running(self):
        return self.total is None and (self._process.poll() is None or not self._lines.empty())

    def finish(self):
        """Waits for the end; the whole run's fields."""
        while self.total is None and (self.running or self._reader.is_alive()):
            self.next_line(0.2)
        errors = self._process.stderr.read()
        if self._process.wait() != 0 or self.total is None:
            raise RuntimeError(f"raftkv-bench failed: {errors}")
        return self.total

    def stop(self):
        """Ends it now; for one whose servers are killed under it."""
        self._process.kill()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None or self._process.poll() is None:
            self.stop()


def load(nodes, keys, value_bytes, clients=8):
    """Puts every key once, a hundred to a transaction; the run's fields."""
    with Bench(nodes, "load", keys=keys, value_bytes=value_bytes, random_values=True,
               clients=clients, connections=min(clients, 2 * len(nodes))) as bench:
        return bench.finish()

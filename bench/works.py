"""The works that bench/compare gives each system, and how one is measured."""

import dataclasses
import time

from systems import RssPeak, run_bench

VALUE_BYTES = 256


@dataclasses.dataclass(frozen=True)
class Work:
    name: str  # for --only, and in the JSON
    title: str
    kind: str = "closed"  # or: sustained, open, overload; see Measurement
    operation: str = "put"
    clients: int = 64
    connections: int = 8
    options: tuple = ()  # more flags of raftkv-bench


@dataclasses.dataclass(frozen=True)
class Stage:
    """Works that the same nodes do, one after the other."""
    name: str
    size: int
    systems: tuple
    works: tuple


# Operations whose keys are all there.
FINDING = ("get", "get-serializable", "range", "txn", "delete")

# Operations that read, for which the nodes are settled first; see Measurement._settle.
READING = ("get", "get-serializable", "range", "txn", "mixed")

PUTS = (
    Work("put-1", "put, 1 client", clients=1, connections=1),
    Work("put-64", "put, 64 clients"),
    Work("put-1000", "put, 1,000 clients", clients=1000, connections=100),
)
READS = (
    Work("get-64", "linearizable get, 64 clients", operation="get"),
    Work("get-serializable-64", "serializable get, 64 clients", operation="get-serializable"),
)
CLUSTER = Stage("three nodes", 3, ("raftkv", "etcd"), PUTS + READS + (
    Work("range-64", "range of 100 keys, 64 clients", operation="range",
         options=("--range-keys=100",)),
    Work("txn-64", "txn: compare and put, 64 clients", operation="txn"),
    Work("mixed-64", "90% get, 10% put, 64 clients", operation="mixed",
         options=("--put-percent=10",)),
    # Of keys that are there, each once.
    Work("delete-64", "delete, 64 clients", operation="delete", kind="counted",
         options=("--distribution=sequential",)),
    # On the connections of 64 clients: on a hundred, each with few requests to gather, a put took
    # 126 us of the nodes' CPU at this rate, and 58 us with 1,000 clients: no half of the capacity.
    Work("open-50", "put, open loop at half the capacity", kind="open"),
    Work("overload-200", "put, open loop at twice the capacity", kind="overload",
         connections=100),
    Work("put-16B-64", "put of 16 B, 64 clients", options=("--value-bytes=16",)),
    Work("put-4KiB-64", "put of 4 KiB, 64 clients", options=("--value-bytes=4096",)),
    # Fewer keys, or what is live would be gigabytes.
    Work("put-64KiB-64", "put of 64 KiB, 64 clients",
         options=("--value-bytes=65536", "--keys=1000")),
))
SUSTAINED = Stage("sustained", 3, ("raftkv", "etcd"), (
    Work("sustained", "puts on end, 1,000 clients", kind="sustained", clients=1000,
         connections=100),
))
ONE = Stage("one node", 1, ("raftkv", "etcd", "ceiling"), PUTS + READS)
STAGES = (CLUSTER, SUSTAINED, ONE)


@dataclasses.dataclass(frozen=True)
class Length:
    """How long each work takes."""
    rounds: int
    keys: int  # what is there before the reads, and what is drawn from
    seconds: float
    warmup: float
    sustained_puts: int
    deletes: int
    overload_seconds: float


FULL = Length(rounds=5, keys=100_000, seconds=5, warmup=1, sustained_puts=1_000_000,
              deletes=60_000, overload_seconds=10)
QUICK = Length(rounds=2, keys=100_000, seconds=1.5, warmup=0.5, sustained_puts=50_000,
               deletes=10_000, overload_seconds=3)

SETTLE_SECONDS = 1.0

# More requests in flight than either system takes.
OVERLOAD_CLIENTS_MAX = 30_000
# Recovered: this share of what 64 clients got before.
RECOVERED = 0.8
RECOVERY_SECONDS_MAX = 20


class Measurement:
    """The works on one system, in one round. Keeps what later works need of earlier ones."""

    def __init__(self, system, bench, length, seed):
        self._system, self._bench, self._length, self._seed = system, bench, length, seed
        self._rates = {}
        self._written = True

    def _lines(self, endpoints, operation, *flags):
        """raftkv-bench's lines, as JSON."""
        common = {"--keys": self._length.keys, "--value-bytes": VALUE_BYTES, "--seed": self._seed,
                  "--cpu-of": ",".join(map(str, self._system.pids))}
        own = {flag.split("=")[0] for flag in flags}
        return run_bench([
            self._bench, operation, "--endpoints", ",".join(endpoints), "--random-values",
            "--failures-ok",
            *(f"{name}={value}" for name, value in common.items() if name not in own), *flags])

    def _run(self, work, *flags):
        # One client must ask the leader, in both systems (as etcd's own benchmark does with
        # --target-leader): or it would be chance whom it asks.
        nodes = [self._system.leader()] if work.clients == 1 else self._system.nodes
        return self._lines([node.address for node in nodes], work.operation,
                           f"--connections={work.connections}", *work.options, *flags)[-1]

    def load(self):
        self._lines([node.address for node in self._system.nodes], "load", "--clients=8",
                    "--connections=3")

    def _settle(self):
        """Compacts what was overwritten. etcd 3.4 copies its buffer of uncommitted writes, at the
        largest size it ever had, for each read, until a commit without puts drops it: a read after
        puts took 533 us of CPU instead of 36. Compact is such a commit, and what users have it do
        every few minutes; raftkv's nodes do the same, so that neither reads more history."""
        self._system.compact()
        time.sleep(SETTLE_SECONDS)

    def measure(self, work):
        if work.operation in READING and self._written:
            self._settle()
        self._written = work.operation not in ("get", "get-serializable", "range")
        result = getattr(self, f"_{work.kind}")(work)
        # Who finds nothing has less to do.
        if work.operation in FINDING and result["found"] != result["ops"]:
            raise RuntimeError(f"{self._system.kind} {work.name}: {result['found']} of "
                               f"{result['ops']} requests found their key")
        self._rates[work.name] = result["ops_per_s"]
        return result

    def _for(self, seconds):
        return f"--seconds={seconds}", f"--warmup={self._length.warmup}"

    def _closed(self, work):
        return self._run(work, f"--clients={work.clients}", *self._for(self._length.seconds))

    def _counted(self, work):
        return self._run(work, f"--clients={work.clients}", "--warmup=0",
                         f"--operations={min(self._length.deletes, self._length.keys)}")

    def _sustained(self, work):
        with RssPeak(self._system.pids) as rss:
            result = self._run(work, f"--clients={work.clients}", "--warmup=0",
                               f"--operations={self._length.sustained_puts}")
        return result | {"rss_peak_mib": round(rss.mib, 1)}

    def _rate_of(self, name):
        """What this system did of a work in this round; measured now if it was not."""
        if name not in self._rates:
            self.measure(next(work for work in PUTS if work.name == name))
        return self._rates[name]

    def _open(self, work):
        rate = self._rate_of("put-1000") / 2
        return self._run(work, f"--rate={rate:.0f}", *self._for(self._length.seconds))

    def _overload(self, work):
        peak, before = self._rate_of("put-1000"), self._rate_of("put-64")
        term = self._system.term()
        with RssPeak(self._system.pids) as rss:
            result = self._run(work, f"--rate={2 * peak:.0f}",
                               f"--clients-max={OVERLOAD_CLIENTS_MAX}", "--timeout=10",
                               # What waits at a warm-up's end would be work that nobody counts.
                               "--warmup=0", f"--seconds={self._length.overload_seconds}")
        end = time.monotonic()
        recovery = self._recovery_seconds(before, end)
        return result | {"peak_ops_per_s": peak, "rss_peak_mib": round(rss.mib, 1),
                         "elections": self._system.term() - term,
                         "recovery_seconds": None if recovery is None else
                         round(result["drain_seconds"] + recovery, 2)}

    def _recovery_seconds(self, before, end):
        """From the last answer until 64 clients are served as before; None: not in time."""
        endpoints = [node.address for node in self._system.nodes]
        while time.monotonic() < end + RECOVERY_SECONDS_MAX:
            begin = time.monotonic()
            lines = self._lines(endpoints, "put", "--clients=64", "--connections=8",
                                "--warmup=0", "--seconds=2", "--interval=0.1")
            elapsed = begin - end
            for line in lines[:-1]:
                elapsed += line["seconds"]
                if line["ops_per_s"] >= RECOVERED * before:
                    return elapsed
        return None

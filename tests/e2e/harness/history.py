"""What clients did and saw, and whether one register could have behaved so.

Values written to a key are unique, so every read names the write it saw. That makes the question
exact and cheap: check_register decides it in O(n log n) and never answers "unknown". Its method is
Gibbons and Korach's ("Testing Shared Memories", 1997): with all operations on one value gathered
into a cluster, a history is linearizable if and only if no read precedes its write and no two
clusters must each come before the other.

search_register answers the same question by the general search of Wing and Gong with Lowe's memo
of visited configurations. It is exponential at worst and serves as the reference that the fast
check is tested against.
"""

import bisect
import dataclasses
import itertools
import json
import math
import threading
import time

INFINITY = float("inf")
ABSENT = None  # the value of a key that does not exist

OK = "ok"
UNKNOWN = "unknown"  # a write whose fate the client did not learn: it may take effect at any time
FAILED = "failed"    # a write that was refused: it must never take effect


@dataclasses.dataclass
class Op:
    """One call as its client saw it. Times are time.monotonic()."""

    kind: str            # "put" or "get"
    key: bytes
    value: object        # written or read; ABSENT for a key that was not there
    start: float
    end: float = INFINITY
    outcome: str = OK
    revision: int = 0      # of the answer's header
    mod_revision: int = 0  # of the key read
    client: str = ""
    node: str = ""

    def __str__(self):
        end = f"{self.end:.6f}" if self.end != INFINITY else "-"
        return (f"[{self.start:.6f} {end}] {self.client}@{self.node} {self.kind} "
                f"{self.key!r} = {self.value!r} ({self.outcome}, revision {self.revision})")


class Recorder:
    """Collects operations from many threads. Times are taken around the call, never within."""

    def __init__(self):
        self._ops = []
        self._lock = threading.Lock()

    def add(self, op):
        with self._lock:
            self._ops.append(op)

    @staticmethod
    def now():
        return time.monotonic()

    @property
    def ops(self):
        with self._lock:
            return list(self._ops)

    def by_key(self):
        keys = {}
        for op in self.ops:
            keys.setdefault(op.key, []).append(op)
        return keys


class NotLinearizable(AssertionError):
    """No order of the operations explains what the clients saw."""


def _fail(why, *ops):
    raise NotLinearizable(why + "".join(f"\n    {op}" for op in ops))


@dataclasses.dataclass
class _Cluster:
    """All operations on one value."""

    write: Op
    reads: list

    @property
    def ops(self):
        return [self.write, *self.reads]

    @property
    def first_end(self):
        return min(op.end for op in self.ops)

    @property
    def last_start(self):
        return max(op.start for op in self.ops)


def _clusters(ops):
    """Gathers one key's operations by value; refuses reads of what was never written."""
    clusters = {ABSENT: _Cluster(Op("put", ops[0].key if ops else b"", ABSENT,
                                    -INFINITY, -INFINITY, client="initial"), [])}
    for op in ops:
        if op.kind == "put":
            if op.value in clusters:
                raise ValueError(f"the value {op.value!r} was written twice")
            clusters[op.value] = _Cluster(op, [])
    for op in ops:
        if op.kind != "get" or op.outcome != OK:
            continue
        cluster = clusters.get(op.value)
        if cluster is None:
            _fail("a read returned a value nobody wrote:", op)
        if cluster.write.outcome == FAILED:
            _fail("a read returned a value whose write had been refused:", cluster.write, op)
        if op.end < cluster.write.start:
            _fail("a read returned a value before it was written:", cluster.write, op)
        cluster.reads.append(op)
    # A write of unknown fate that nobody saw may never have happened; so may a refused one.
    return [c for c in clusters.values() if c.write.outcome == OK or c.reads]


def check_register(ops):
    """Raises NotLinearizable unless the operations on one key can be put in an order that agrees
    with real time and in which every read returns the last value written before it."""
    # Cluster a must come (at least in part, so wholly) before b when an operation of a ended before
    # one of b began: a.first_end < b.last_start. Two that must precede each other can't be ordered;
    # and a longer cycle always contains such a pair: the cluster with the latest start on it.
    clusters = sorted(_clusters(ops), key=lambda c: c.first_end)
    ends = [c.first_end for c in clusters]
    # The two clusters with the latest starts among the first i: two, so that one's own can be
    # left out.
    latest, top = [()], ()
    for cluster in clusters:
        top = tuple(sorted((*top, cluster), key=lambda c: -c.last_start)[:2])
        latest.append(top)
    for b in clusters:
        for a in latest[bisect.bisect_left(ends, b.last_start)]:
            if a is not b and b.first_end < a.last_start:
                _fail("these can't be put in order: each value was current before the other:",
                      min(a.ops, key=lambda op: op.end), max(b.ops, key=lambda op: op.start),
                      min(b.ops, key=lambda op: op.end), max(a.ops, key=lambda op: op.start))


def search_register(ops):
    """The same answer as check_register as a bool, by exhaustive search."""
    ops = [op for op in ops if op.outcome != FAILED and not (op.kind == "get" and op.outcome != OK)]
    ops.sort(key=lambda op: op.start)
    everything = (1 << len(ops)) - 1
    must = sum(1 << i for i, op in enumerate(ops) if op.outcome == OK)
    seen = set()
    stack = [(0, ABSENT)]
    while stack:
        done, value = stack.pop()
        if done & must == must:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        waiting = everything & ~done
        # Only an operation that began before every waiting one ended can be next.
        first_end = min(op.end if op.outcome == OK else INFINITY
                        for i, op in enumerate(ops) if waiting >> i & 1)
        for i, op in enumerate(ops):
            if waiting >> i & 1 and op.start <= first_end:
                if op.kind == "put":
                    stack.append((done | 1 << i, op.value))
                elif op.value == value:
                    stack.append((done | 1 << i, value))
    return False


def check_revisions(ops):
    """Checks the revisions in the answers, over all keys: they are a clock of the whole store.

    An answer's revision is at least that of every answer that came before the request was sent; a
    put's is greater, and no other put's; and a key read at some mod_revision holds the value that
    the put of that revision wrote."""
    acked = [op for op in ops if op.outcome == OK and op.revision]
    written = {}
    for op in acked:
        if op.kind == "put":
            other = written.setdefault(op.revision, op)
            if other is not op:
                _fail("two puts were given one revision:", other, op)
    for op in acked:
        if op.kind == "get" and op.value is not ABSENT:
            put = written.get(op.mod_revision)
            if put and (put.key, put.value) != (op.key, op.value):
                _fail("a read's mod_revision belongs to another put:", put, op)
            if op.mod_revision > op.revision:
                _fail("a read returned a revision above the store's:", op)
    by_end = sorted(acked, key=lambda op: op.end)
    by_start = sorted(acked, key=lambda op: op.start)
    newest, position = None, 0
    for op in by_start:
        while position < len(by_end) and by_end[position].end < op.start:
            if newest is None or by_end[position].revision > newest.revision:
                newest = by_end[position]
            position += 1
        if newest is None:
            continue
        if op.revision < newest.revision or (op.kind == "put" and op.revision == newest.revision):
            _fail("the store's revision ran backwards:", newest, op)


def check(ops):
    """Everything above, for a whole history."""
    keyed = sorted(ops, key=lambda op: op.key)
    for _, group in itertools.groupby(keyed, key=lambda op: op.key):
        check_register(list(group))
    check_revisions(ops)


def _bytes_field(value):
    if value is ABSENT:
        return None
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def to_lines(ops):
    """The history in the format of docs/history-format.md, for raftkv-check."""
    lines = []
    for op in ops:
        if op.kind == "get" and op.outcome != OK:
            continue
        line = {"client": op.client, "node": op.node, "op": op.kind, "key": _bytes_field(op.key),
                "invoke": math.floor(op.start * 1e9), "outcome": {FAILED: "fail"}.get(
                    op.outcome, op.outcome)}
        if op.outcome == OK:
            line["return"] = math.ceil(op.end * 1e9)
            line["revision"] = op.revision
        line["value" if op.kind == "put" else "result"] = _bytes_field(op.value)
        if op.kind == "get":
            line["mod_revision"] = op.mod_revision
        lines.append(json.dumps(line) + "\n")
    return lines

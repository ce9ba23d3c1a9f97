"""raftkv-dump as people run it, and what is compared with what it prints."""

import base64
import collections
import hashlib
import json
import subprocess

from harness.cluster import BIN_DIR
from harness.workload import Workload


def raftkv_dump(*args, code=0):
    done = subprocess.run([BIN_DIR / "raftkv-dump", *map(str, args)], capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == code, (
        f"raftkv-dump {args}: {done.returncode}\n{done.stdout.decode()[-2000:]}"
        f"{done.stderr.decode()}")
    return done.stdout.decode() if code == 0 else done.stderr.decode()


def dumped(*args):
    """A dump as JSON lines, by the records' type."""
    records = collections.defaultdict(list)
    values = ("--values",) if args[0] in ("keys", "log") else ()
    for line in raftkv_dump(*args, *values, "-o", "jsonl").splitlines():
        record = json.loads(line)
        records[record["type"]].append(record)
    return records


def rows(records):
    """The dumped keys in the form of Cluster.contents."""
    return [(base64.b64decode(r["key"]), base64.b64decode(r["value"]), r["create_revision"],
             r["mod_revision"], r["version"]) for r in records["key"]]


def fingerprint(directory):
    """Every file below it, with a digest of its bytes and its modification time."""
    return {str(path.relative_to(directory)): (
        hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.rglob("*") if path.is_file()}


def kill_all_mid_load(cluster, seed, calls=400):
    workload = Workload(cluster, seed, timeout_s=0.5).start()
    try:
        workload.wait_acked(calls)
        for node in cluster.nodes:
            node.kill()
    finally:
        workload.close()
    # The sessions' threads can't finish now; what they had is not looked at.
    return workload


def ldb_scan(db_dir, family):
    """All records of a column family, as Debian's ldb finds them: [(key, value)]."""
    done = subprocess.run(["ldb", f"--db={db_dir}", f"--column_family={family}", "--hex", "scan"],
                          capture_output=True, timeout=60, check=True)
    records = []
    for line in done.stdout.decode().splitlines():
        if line.startswith("0x"):
            key, value = line.split(" : ")
            records.append((bytes.fromhex(key[2:]), bytes.fromhex(value[2:])))
    return records


def digest(records):
    """One hash of a list of tuples of bytes and numbers."""
    total = hashlib.sha256()
    for record in records:
        for field in record:
            data = field if isinstance(field, bytes) else str(field).encode()
            total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()

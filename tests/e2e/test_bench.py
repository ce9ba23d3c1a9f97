"""raftkv-bench as scripts use it: each operation and format, against one real node; the ceiling;
and bench/compare from the first process to the page it writes."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from harness.client import prefix_end
from harness.cluster import BIN_DIR, REPO, Cluster, spawn
from harness.ports import free_port
from harness.wait import wait_until

KEYS = 2000
OPERATIONS = ("put", "get", "get-serializable", "range", "txn", "mixed", "delete")


@pytest.fixture(scope="module")
def node(request):
    cluster = Cluster(1, heartbeat_ms=50, election_ms=500)
    request.addfinalizer(cluster.close)
    return cluster.start().nodes[0]


def run(address, operation, *flags, code=0):
    """raftkv-bench's output, which must end with `code`."""
    done = subprocess.run(
        [BIN_DIR / "raftkv-bench", operation, f"--endpoints={address}", f"--keys={KEYS}",
         "--warmup=0", *flags], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def total(node, operation, *flags):
    """Its last line, as JSON."""
    return json.loads(run(node.address, operation, "--format=json", *flags).stdout.splitlines()[-1])


def load(node, *flags):
    return total(node, "load", "--clients=4", *flags)


def revision(node):
    return node.client.range(b"x").header.revision


def count(node):
    return node.client.range(b"0", range_end=prefix_end(b"0")).count


def test_load_puts_every_key_once(node):
    before = revision(node)
    result = load(node, "--batch=30")
    assert result["ops"] == -(-KEYS // 30)
    assert revision(node) == before + result["ops"]
    assert count(node) == KEYS
    assert node.client.get(b"000007cf") == b"v" * 256


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_does_its_work(node, operation):
    load(node)
    before = revision(node)
    result = total(node, operation, "--clients=8", "--connections=2", "--operations=400",
                   "--random-values", "--distribution=sequential", "--range-keys=16")
    assert (result["ops"], result["failures"]) == (400, 0)
    assert sum(bucket[2] for bucket in result["histogram_us"]) == 400
    assert 0 < result["min_us"] <= result["p50_us"] <= result["p99_us"] <= result["max_us"]
    written = revision(node) - before
    if operation == "mixed":
        assert 10 <= written <= 90  # a tenth of 400: five standard deviations and more
        assert result["found"] == 400 - written
    else:
        assert written == (400 if operation in ("put", "txn", "delete") else 0)
        assert result["found"] == (0 if operation == "put" else 400)
    assert count(node) == (KEYS - 400 if operation == "delete" else KEYS)
    if operation in ("put", "txn"):
        assert node.client.get(b"00000000") != b"v" * 256


def test_txn_compares_values(node):
    load(node)
    same = total(node, "txn", "--compare=value", "--operations=50")
    other = total(node, "txn", "--compare=value", "--operations=50", "--value-bytes=9")
    assert (same["found"], other["found"]) == (50, 0)


def test_mixed_takes_a_percentage(node):
    before = revision(node)
    total(node, "mixed", "--put-percent=100", "--operations=50")
    assert revision(node) == before + 50
    total(node, "mixed", "--put-percent=0", "--operations=50")
    assert revision(node) == before + 50


def test_text_and_csv(node):
    line = run(node.address, "put", "--operations=50", f"--cpu-of={os.getpid()}").stdout
    fields = dict(re.findall(r"(\S+)=(\S+)", line))
    assert (fields["ops"], fields["failures"], fields["clients"]) == ("50", "0", "1")
    for name in ("seconds", "ops/s", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "gap_us",
                 "generator_cpu_us_per_op", "generator_cpu_percent", "others_cpu_us_per_op"):
        assert float(fields[name]) >= 0
    out = run(node.address, "get", "--seconds=1", "--interval=0.2", "--format=csv").stdout
    *intervals, last = csv.DictReader(out.splitlines())
    assert last["stretch"] == "total"
    assert 1 <= len(intervals) <= 5  # fewer if this machine stood still
    assert sum(int(row["ops"]) for row in intervals) <= int(last["ops"])
    assert int(last["ops"]) > 0


def test_an_open_loop_keeps_its_rate(node):
    result = total(node, "put", "--rate=300", "--spacing=fixed", "--seconds=2", "--connections=4")
    assert (result["ops"], result["unstarted"]) == (600, 0)
    poisson = total(node, "put", "--rate=300", "--seconds=2", "--connections=4")
    assert abs(poisson["ops"] - 600) < 125  # five standard deviations
    assert poisson["ops"] != 600 or poisson["seconds"] > 1


def stall(node, seconds):
    """Soon, for so long."""
    def work():
        time.sleep(0.7)
        node.pause()
        time.sleep(seconds)
        node.resume()
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_stall_shows_in_an_open_loop(node):
    """What fell due while the node stood still waited that long: half of all, of two seconds."""
    thread = stall(node, 1)
    result = total(node, "put", "--rate=200", "--seconds=2", "--connections=4")
    thread.join()
    assert result["max_us"] > 800_000
    assert result["p90_us"] > 400_000
    assert result["unstarted"] == 0
    assert result["gap_us"] > 800_000


def test_a_generator_that_stood_still_counts_from_when_requests_were_due(node):
    process = subprocess.Popen(
        [BIN_DIR / "raftkv-bench", "put", f"--endpoints={node.address}", "--rate=200",
         "--seconds=2", "--warmup=0", "--format=json"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.7)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.7)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert json.loads(out)["max_us"] > 500_000
    assert json.loads(out)["p90_us"] > 200_000


def test_what_nobody_was_free_to_send_is_counted(node):
    thread = stall(node, 1)
    result = total(node, "put", "--rate=200", "--spacing=fixed", "--seconds=2", "--clients-max=50")
    thread.join()
    assert 100 <= result["unstarted"] < 400
    assert result["ops"] + result["unstarted"] == 400


def test_failures_are_counted_by_code():
    address = f"127.0.0.1:{free_port()}"
    done = run(address, "put", "--operations=3", "--format=json", code=1)
    result = json.loads(done.stdout)
    assert (result["ops"], result["failures_by_code"]) == (0, {"UNAVAILABLE": 3})
    assert "3 requests failed ( UNAVAILABLE=3 ), the first with: " in done.stderr
    run(address, "put", "--operations=3", "--failures-ok")


def test_ceiling_answers_what_is_in_its_file(tmp_path):
    port = free_port()
    process = spawn([BIN_DIR / "ceiling", f"--listen=127.0.0.1:{port}",
                     f"--file={tmp_path / 'file'}"], tmp_path / "log")

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, "it listens")
        run(f"127.0.0.1:{port}", "put", "--operations=1000", "--clients=64", "--value-bytes=100")
    finally:
        process.terminate()
        assert process.wait(10) == 0
    # Key and value, each behind a tag and a length.
    assert (tmp_path / "file").stat().st_size == 1000 * (2 + 8 + 2 + 100)


def script(name, *arguments, timeout_s=100):
    done = subprocess.run([sys.executable, REPO / "bench" / name, f"--bin={BIN_DIR}",
                           *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compare(*arguments):
    return script("compare", *arguments)


@pytest.mark.deadline(120)
@pytest.mark.skipif(not shutil.which("etcd"), reason="needs etcd (scripts/install-deps --bench)")
def test_compare_measures_and_reports(tmp_path):
    raw, dir_ = tmp_path / "raw.json", tmp_path / "docs"
    dir_.mkdir()
    out = compare("--quick", "--rounds=1", "--seconds=0.3", "--keys=1000", "--stages", "one node",
                  "--only", "put-1", "put-64", "--json", raw)
    runs = json.loads(raw.read_text())["runs"]
    assert [(run["system"], run["work"]) for run in runs] == [
        (system, work) for system in ("raftkv", "etcd", "ceiling") for work in ("put-1", "put-64")]
    for run_ in runs:
        assert run_["result"]["failures"] == 0 and run_["result"]["ops"] > 0
    # The kernel counts hundredths of a second: one node alone may have used less.
    assert sum(run_["result"]["others_cpu_us_per_op"] for run_ in runs) > 0
    assert "| put, 64 clients |" in out
    compare("--report", raw, "--docs", dir_)
    text = (dir_ / "benchmarks.md").read_text()
    assert "one node, put, 64 clients, over the ceiling" in text
    for name in re.findall(r"\((benchmarks-\S+\.svg)\)", text):
        assert (dir_ / name).read_text().startswith("<svg")


@pytest.mark.skipif(not shutil.which("etcd"), reason="needs etcd (scripts/install-deps --bench)")
@pytest.mark.deadline(150)
def test_growth_measures_and_reports(tmp_path):
    raw = tmp_path / "raw.json"
    script("growth", "--keys", 1000, "--etcd-keys", 1000, "--seconds=0.5", "--tries=1",
           "--json", raw, timeout_s=140)
    for run_ in json.loads(raw.read_text())["runs"]:
        written = run_["put"]["written_per_byte"]
        # The disk has at least what was put, where it is known which disk that is.
        assert written.get("disk", 2) > 1
        assert ("log" in written) == (run_["system"] == "raftkv")
        assert run_["get"]["ops_per_s"] > 0 and len(run_["starts_s"]) == 1
    script("growth", "--report", raw, "--docs", tmp_path)
    assert "| raftkv, 1,000 |" in (tmp_path / "growth-benchmarks.md").read_text()


def raw_results(rates, p99_us=(100, 200)):
    """A round of made-up results: {(stage, work): (raftkv's rate, etcd's)}."""
    runs = []
    for (stage, work), both in rates.items():
        for system, rate, p99 in zip(("raftkv", "etcd"), both, p99_us):
            runs.append({"stage": stage, "round": 1, "system": system, "work": work, "title": work,
                         "result": {"ops": 10, "ops_per_s": rate, "p50_us": 1, "p99_us": p99,
                                    "max_us": 300, "gap_us": 201_000, "others_cpu_us_per_op": 1,
                                    "rss_peak_mib": 1.0, "generator_cpu_us_per_op": 1,
                                    "generator_cpu_percent": 1}})
    return {"quick": False, "length": {"rounds": 1, "seconds": 5, "keys": 1000}, "runs": runs,
            "machine": {"date": "", "cpus": 2, "cpu": "", "memory_gib": 1, "kernel": "", "disk": "",
                        "fdatasync_us": [[160, 300]], "raftkv": "", "etcd": ""}}


def test_the_report_says_which_targets_are_met(tmp_path):
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps(raw_results({
        ("three nodes", "put-1"): (2000, 1000), ("three nodes", "put-64"): (2490, 1000),
        ("sustained", "sustained"): (3000, 1000)})))
    compare("--report", raw, "--docs", tmp_path)
    rows = [line for line in (tmp_path / "benchmarks.md").read_text().splitlines() if "|" in line]

    def verdict(start):
        return next(row for row in rows if row.startswith(f"| {start} |")).split("|")[-2].strip()

    assert verdict("puts, 1 client, against etcd") == "met"
    assert verdict("puts, 64 clients") == "**missed** by 0%"
    assert verdict("puts, 1,000 clients") == "not measured"
    assert verdict("p99 of puts, 64 clients, over etcd's") == "met"
    assert verdict("puts on end, 1,000 clients") == "met"
    assert verdict("longest time without an answer meanwhile, in any round") == "**missed** by 0%"

"""raftkv-torture: a short run must pass, and a run on a disk that lies must not."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from harness.cluster import BIN_DIR

_SEED = int(os.environ.get("RAFTKV_SEED", 7))
_SECONDS = int(os.environ.get("RAFTKV_TORTURE_SECONDS", 60))
_ALL = {"kill", "pause", "cut", "delay", "power", "clock", "disk"}


def torture(directory, *args, timeout_s=240):
    done = subprocess.run(
        [BIN_DIR / "raftkv-torture", "--dir", directory, *map(str, args)],
        capture_output=True, text=True, timeout=timeout_s, check=False)
    print(done.stdout, done.stderr)
    return done


def has_shim():
    return (BIN_DIR / "raftkv-torture-shim.so").exists()


@pytest.mark.deadline(_SECONDS + 210)
def test_a_run_with_every_fault_passes(tmp_path):
    done = torture(tmp_path / "run", "--seed", _SEED, "--seconds", _SECONDS,
                   timeout_s=_SECONDS + 200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "PASS" in done.stdout
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["verdict"] == "OK" and report["problems"] == []
    assert report["operations"]["ok"] > 20 * _SECONDS
    assert len(report["faults"]) >= _SECONDS // 8
    # What this machine can't do is left out, and said; everything else must have come.
    left_out = {line.split(":")[0] for line in report["left_out"]}
    assert left_out <= ({"disk"} if has_shim() else {"disk", "power", "clock"})
    assert set(report["enabled"]) == _ALL - left_out
    assert {fault["name"] for fault in report["faults"]} == set(report["enabled"])
    assert report["power"]["taken_back"] > 0 or "power" in left_out
    page = (tmp_path / "run/report.html").read_text()
    assert "<svg" in page and not re.search(r"(src|href)=", page)
    # The file says what was judged: another look at it comes to the same.
    check = subprocess.run([BIN_DIR / "raftkv-check", tmp_path / "run/history.jsonl"],
                           capture_output=True, text=True, timeout=200, check=False)
    assert check.returncode == 0, check.stdout


@pytest.mark.skipif(not has_shim(), reason="built with sanitizers, so without the shim")
@pytest.mark.deadline(200)
def test_a_disk_that_lies_is_found_out(tmp_path):
    done = torture(tmp_path / "run", "--seed", 1, "--seconds", 30, "--faults", "power",
                   "--lying-disk", "--check-time-s", 30, timeout_s=190)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr
    assert "FAIL; again: raftkv-torture --seed 1" in done.stdout
    # Where enough of a fence or a log is left, the nodes find out themselves what is gone, and stand
    # still rather than answer; it depends on what the cut left.
    noticed = re.search(r"^PROBLEM: .* (does not serve|ended)", done.stdout, re.M)
    illegal = "checker: ILLEGAL" in done.stdout
    assert illegal or noticed, done.stdout[-3000:]
    assert illegal == (tmp_path / "run/report.violation.html").exists()


def test_a_cluster_that_is_there(tmp_path, make_cluster):
    cluster = make_cluster(3).start()
    endpoints = ",".join(node.address for node in cluster.nodes)
    for _ in range(2):  # the second finds the keys of the first
        done = torture(tmp_path / "run", "--seed", 1, "--seconds", 3, "--endpoints", endpoints)
        assert done.returncode == 0 and "checker: OK" in done.stdout
    assert all(node.running for node in cluster.nodes)


def test_what_can_not_be_done_is_said(tmp_path):
    for args, said in ((["--faults", "flood"], "no fault 'flood'"),
                       (["--clients", "50", "--keys", "2"], "--keys"),
                       (["--faults", "kill", "--lying-disk"], "--lying-disk"),
                       (["--endpoints", "127.0.0.1:1", "--faults", "kill"], "--faults"),
                       (["--nodes", "1", "--faults", "cut"], "one node has no links"),
                       (["--raftkvd", "/nowhere"], "/nowhere")):
        done = torture(tmp_path / "run", *args)
        assert done.returncode == 2 and said in done.stderr
    done = torture("/proc/nowhere", "--seconds", 1)  # nothing can be made there
    assert done.returncode == 2 and "/proc/nowhere" in done.stderr and "--dir" in done.stderr


def test_a_named_fault_that_can_not_be_had_is_an_error(tmp_path):
    # Without the shim beside it, and without the right to mount.
    program = shutil.copy(BIN_DIR / "raftkv-torture", tmp_path)
    drop = ["setpriv", "--bounding-set=-sys_admin"] if os.geteuid() == 0 else []
    for fault, said in (("power", "no raftkv-torture-shim.so"), ("disk", "may not mount")):
        done = subprocess.run(
            [*drop, program, "--faults", f"kill,{fault}", "--seconds", "1", "--dir",
             tmp_path / fault, "--raftkvd", BIN_DIR / "raftkvd"],
            capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2 and said in done.stderr, done.stdout + done.stderr


@pytest.mark.deadline(120)
def test_a_run_that_is_interrupted_proves_nothing(tmp_path):
    with subprocess.Popen(
            [BIN_DIR / "raftkv-torture", "--dir", tmp_path / "run", "--seed", "1",
             "--seconds", "60", "--faults", "none"], stdout=subprocess.PIPE, text=True) as run:
        said = ""
        while "operations" not in said:
            said = run.stdout.readline()
        run.send_signal(signal.SIGINT)
        said = run.stdout.read()
    assert run.returncode == 3 and "NOT PROVEN: the run was interrupted" in said, said

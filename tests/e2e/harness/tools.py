"""The project's programs as people run them."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

from harness import history
from harness.cluster import BIN_DIR, REPO
from harness.wait import wait_until


def raftkvctl(nodes, *args, stdin=None, code=0, timeout_s=60):
    """Runs raftkvctl, which must end with `code`; its output (its errors unless it succeeded)."""
    done = run_raftkvctl(nodes, *args, stdin=stdin, timeout_s=timeout_s)
    assert done.returncode == code, (
        f"raftkvctl {args}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
    return (done.stdout if code == 0 else done.stderr).decode()


def run_raftkvctl(nodes, *args, stdin=None, timeout_s=60):
    endpoints = ",".join(node.address for node in nodes) or "127.0.0.1:1"
    return subprocess.run([BIN_DIR / "raftkvctl", f"--endpoints={endpoints}", *map(str, args)],
                          input=stdin, capture_output=True, timeout=timeout_s, check=False)


def members(nodes):
    """The member list as raftkvctl prints it in JSON."""
    return json.loads(raftkvctl(nodes, "member", "list", "-w", "json"))["members"]


def member_by_url(nodes, url):
    return next((m for m in members(nodes) if url in m["peerURLs"]), None)


def member_id(nodes, node):
    return member_by_url(nodes, node.peer_url)["ID"]


def id_text(number):
    return f"{number:x}"


def replace_member(cluster, old, name):
    """raftkvctl member replace, with the new node started once it is listed; `old`, which may be
    down, ends by itself."""
    serving = [node for node in cluster.nodes if node.running]
    identity = id_text(member_id(serving, old))
    new = cluster.prepare_node(name)
    done = []
    thread = threading.Thread(target=lambda: done.append(run_raftkvctl(
        serving, "member", "replace", identity, name, "--peer-urls", new.peer_url,
        "--timeout", "40s")))
    thread.start()
    try:
        wait_until(lambda: member_by_url(serving, new.peer_url), f"{new} is added", 20, poll_s=0.1)
        new.start()
    finally:
        thread.join()
    assert done and done[0].returncode == 0, done and done[0].stderr.decode()
    wait_until(lambda: not old.running, f"{old} stops by itself", 20)
    assert "removed" in old.log_tail()
    cluster.forget_node(old)
    return new


def run_raftkv_check(ops, directory):
    """Runs raftkv-check over what clients did, leaving history and picture in `directory`."""
    path = directory / "history.jsonl"
    path.write_text("".join(history.to_lines(ops)))
    return subprocess.run([BIN_DIR / "raftkv-check", path, "--html", directory / "history.html"],
                          capture_output=True, text=True, timeout=200, check=False)


def raftkv_check(ops):
    """raftkv-check must say OK; else history and picture are kept."""
    with tempfile.TemporaryDirectory() as scratch:
        done = run_raftkv_check(ops, pathlib.Path(scratch))
        if done.returncode == 0:
            return
        logs = pathlib.Path(os.environ.get("RAFTKV_E2E_LOGS", REPO / "build/e2e-logs"))
        logs.mkdir(parents=True, exist_ok=True)
        kept = tempfile.mkdtemp(prefix="history-", dir=logs)
        shutil.copytree(scratch, kept, dirs_exist_ok=True)
    raise history.NotLinearizable(f"raftkv-check: {done.stdout}{done.stderr}kept in {kept}")

"""The project's programs as people run them."""

import json
import subprocess

from harness.cluster import BIN_DIR


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


def id_text(member_id):
    return f"{member_id:x}"

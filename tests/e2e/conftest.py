"""Fixtures: clusters that are always cleaned up, deadlines, and logs of what failed."""

import faulthandler
import os
import pathlib
import re
import shutil
import signal
import sys

import pytest
from harness import cluster as cluster_module
from harness.cluster import ETCD, REPO, Cluster

_KEEP_DIR = pathlib.Path(os.environ.get("RAFTKV_E2E_LOGS", REPO / "build/e2e-logs"))
_DEADLINE_S = 60


def pytest_configure(config):
    del config
    # ctest and people end us with SIGTERM: clean up then as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        if ETCD and item.get_closest_marker("raftkv_only"):
            item.add_marker(pytest.mark.skip(reason="etcd does not have it"))


def _deadline_passed(signum, frame):
    del signum, frame
    faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
    pytest.fail("the test's deadline passed; what each thread was doing is on stderr")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs fails in time to clean up: ctest's own timeout would not let it."""
    marker = item.get_closest_marker("deadline")
    previous = signal.signal(signal.SIGALRM, _deadline_passed)
    signal.setitimer(signal.ITIMER_REAL, marker.args[0] if marker else _DEADLINE_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the nodes' last log lines to a failure, and keeps the whole logs."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed or call.excinfo is None:
        return
    item.stash_failed = True
    directory = _KEEP_DIR / re.sub(r"[^\w.-]+", "_", item.nodeid.split("/")[-1])
    for cluster in cluster_module.live_clusters:
        directory.mkdir(parents=True, exist_ok=True)
        for log in sorted(cluster.dir.glob("*.log")):
            shutil.copy(log, directory / log.name)
            tail = log.read_text(errors="replace")[-4000:]
            report.sections.append((f"{log.name} (whole: {directory / log.name})", tail))


def _close(request, cluster):
    keep = os.environ.get("RAFTKV_E2E_KEEP") and getattr(request.node, "stash_failed", False)
    if keep:
        print(f"data kept in {cluster.dir}")
    cluster.close(keep_data=keep)


@pytest.fixture
def make_cluster(request):
    """make_cluster(size, ...) makes a cluster that ends with the test; see Cluster."""
    made = []

    def make(*args, **kwargs):
        made.append(Cluster(*args, **kwargs))
        return made[-1]

    yield make
    for cluster in made:
        _close(request, cluster)


@pytest.fixture
def three(make_cluster):
    """Three ready nodes."""
    return make_cluster(3).start()


@pytest.fixture(scope="module")
def shared_cluster(request):
    """Three ready nodes for all tests of a module that do them no harm."""
    cluster = Cluster(3, heartbeat_ms=50, election_ms=500)
    try:
        yield cluster.start()
    finally:
        _close(request, cluster)

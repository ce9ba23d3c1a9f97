"""kill -9, again and again, under load: nothing acknowledged is lost, nothing stale is read.

Each seed is one cluster that goes through several rounds. In a round clients write and read through
all nodes while nodes are killed and restarted; then everything is compared. Rounds of one seed
share data directories, so damage that only a second crash brings out has its chance too.
"""

import os
import random
import time

import pytest
from harness.workload import Workload

_SEEDS = [int(os.environ["RAFTKV_SEED"])] if "RAFTKV_SEED" in os.environ else [1, 2, 3, 4, 5, 6]
_ROUNDS = int(os.environ.get("RAFTKV_ROUNDS", 6))

# Every seed goes through each of these, in an order of its own.
_FAULTS = ("one", "leader", "majority", "all", "twice", "overtaken")


def break_and_mend(fault, cluster, workload, rng):
    """Kills nodes and starts them again, in one of the ways in which that can go."""
    if fault == "overtaken":
        # The leader goes on alone, then dies; the others go on without what it alone has.
        leader = cluster.leader()
        rest = cluster.others(leader)
        for node in rest:
            node.kill()
        time.sleep(rng.uniform(0, 0.2))
        leader.kill()
        for node in rest:
            node.start()
        workload.wait_acked(rng.randint(20, 100))
        leader.start()
        return
    if fault == "leader":
        down = [cluster.agreed_leader() or rng.choice(cluster.nodes)]
    else:
        down = rng.sample(cluster.nodes, {"one": 1, "twice": 1, "majority": 2, "all": 3}[fault])
    for node in down:
        node.kill()
    if len(down) == 1:
        workload.wait_acked(rng.randint(20, 200))  # the majority goes on
    rng.shuffle(down)
    for node in down:
        node.start()
    if fault == "twice":
        # Once more while it starts or catches up, wherever it then is.
        time.sleep(rng.uniform(0, 0.25))
        down[0].kill()
        down[0].start()


def crash_round(cluster, fault, rng, number):
    """Load, SIGKILL, restart, load, compare."""
    workload = Workload(cluster, rng.randint(0, 1 << 32), prefix=b"round%d" % number).start()
    try:
        workload.wait_acked(rng.randint(50, 400))
        break_and_mend(fault, cluster, workload, rng)
        cluster.wait_ready()
        workload.wait_acked(rng.randint(50, 200))
        workload.stop()
    finally:
        workload.close()
    workload.check_cluster(cluster, rng)
    return workload


@pytest.mark.deadline(150)
@pytest.mark.parametrize("seed", _SEEDS)
def test_nothing_acknowledged_is_lost(seed, make_cluster):
    print(f"replay: RAFTKV_SEED={seed} RAFTKV_ROUNDS={_ROUNDS} "
          "/usr/bin/python3 -m pytest tests/e2e/test_crash.py")
    rng = random.Random(seed)
    # A small memtable makes flushes happen, so that restarts replay from all kinds of positions.
    cluster = make_cluster(3, memtable_bytes=rng.choice((64 << 10, 256 << 10, 64 << 20))).start()
    faults = list(_FAULTS)
    rng.shuffle(faults)
    for number in range(_ROUNDS):
        fault = faults[number % len(faults)]
        print(f"round {number}: {fault}")
        workload = crash_round(cluster, fault, rng, number)
        print(f"  {workload.acked} calls acknowledged")

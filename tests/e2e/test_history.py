"""The checker itself: it must say no when it should, and agree with an exhaustive search."""

import random

import pytest
from harness import history
from harness.cluster import ETCD
from harness.history import FAILED, UNKNOWN, NotLinearizable, Op, check_register, search_register
from harness.tools import run_raftkv_check


def put(value, start, end=history.INFINITY, outcome=history.OK, **fields):
    return Op("put", b"k", value, start, end, outcome, **fields)


def get(value, start, end, **fields):
    return Op("get", b"k", value, start, end, **fields)


GOOD = {
    "empty": [],
    "absent": [get(None, 0, 1)],
    "read after write": [put("a", 0, 1), get("a", 2, 3)],
    "write seen while in flight": [put("a", 0, 10), get(None, 1, 2), get("a", 3, 4)],
    "concurrent writes in either order": [
        put("a", 0, 10), put("b", 0, 10), get("b", 1, 2), get("a", 3, 4)],
    "unknown write never seen": [put("a", 0, 1), put("b", 2, outcome=UNKNOWN), get("a", 5, 6)],
    "unknown write seen late": [
        put("a", 0, 1), put("b", 2, outcome=UNKNOWN), get("a", 5, 6), get("b", 7, 8)],
    "unknown write before a later one": [
        put("a", 0, outcome=UNKNOWN), put("b", 5, 6), get("b", 7, 8)],
    "refused write": [put("a", 0, 1), put("b", 2, 3, FAILED), get("a", 4, 5)],
    "overlapping reads of old and new": [
        put("a", 0, 1), put("b", 2, 9), get("b", 3, 8), get("a", 3, 8)],
}

BAD = {
    "value from nowhere": [get("x", 0, 1)],
    "lost write": [put("a", 0, 1), get(None, 2, 3)],
    "stale read": [put("a", 0, 1), put("b", 2, 3), get("a", 4, 5)],
    "read from the future": [get("a", 0, 1), put("a", 2, 3)],
    "new then old": [put("a", 0, 1), put("b", 2, 9), get("b", 3, 4), get("a", 5, 6)],
    "unknown write seen, then gone": [
        put("a", 0, 1), put("b", 2, outcome=UNKNOWN), get("b", 3, 4), get("a", 5, 6)],
    "unknown write seen twice around another": [
        put("a", 0, outcome=UNKNOWN), get("a", 1, 2), put("b", 3, 4), get("a", 5, 6)],
    "refused write seen": [put("a", 0, 1, FAILED), get("a", 2, 3)],
    "absent after a concurrent read saw it": [put("a", 0, 10), get("a", 1, 2), get(None, 3, 4)],
    "two readers disagree on the order": [
        put("a", 0, 10), put("b", 0, 10),
        get("a", 11, 12), get("b", 13, 14)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name):
    check_register(GOOD[name])
    assert search_register(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_fail(name):
    with pytest.raises(NotLinearizable):
        check_register(BAD[name])
    assert not search_register(BAD[name])


def random_history(rng):
    """A short history; often nearly linearizable, so that both answers are common."""
    ops, values = [], [None]
    for i in range(rng.randint(1, 7)):
        start = rng.randint(0, 20)
        end = start + rng.randint(1, 8)
        if rng.random() < 0.5:
            values.append(i)
            outcome = rng.choices([history.OK, UNKNOWN, FAILED], [7, 2, 1])[0]
            ops.append(put(i, start, history.INFINITY if outcome == UNKNOWN else end, outcome))
        else:
            ops.append(get(rng.choice(values), start, end))
    # Distinct times: whether touching intervals overlap is a convention, not a property.
    for i, op in enumerate(ops):
        op.start += i / 100
        op.end += 0.5 + i / 100
    return ops


def test_agrees_with_an_exhaustive_search():
    rng = random.Random(1)
    answers = {True: 0, False: 0}
    for i in range(20_000):
        ops = random_history(rng)
        try:
            check_register(ops)
            fast = True
        except NotLinearizable:
            fast = False
        answers[fast] += 1
        slow = search_register(ops)
        assert fast == slow, f"history {i}: {fast} but the search says {slow}\n" + "\n".join(
            map(str, ops))
    assert min(answers.values()) > 3000, answers


def test_long_histories_are_decided_quickly():
    """Thirty thousand operations of eight clients on one key: far beyond any search."""
    rng = random.Random(2)
    ops, now, value = [], 0.0, None
    for i in range(30_000):
        now += 1.0
        # Each operation takes effect at `now`, somewhere within its interval.
        start, end = now - 8 * rng.random(), now + 8 * rng.random()
        if rng.random() < 0.5:
            value = i
            ops.append(put(i, start, end))
        else:
            ops.append(get(value, start, end))
    check_register(ops)
    # One stale read in all of that is found.
    ops.append(get(ops[0].value if ops[0].kind == "put" else None, now + 20, now + 21))
    with pytest.raises(NotLinearizable):
        check_register(ops)


@pytest.mark.skipif(bool(ETCD), reason="the program is raftkv's")
def test_raftkv_check_gives_the_same_verdicts(tmp_path):
    rng = random.Random(2)
    histories = [*GOOD.values(), *BAD.values(), *(random_history(rng) for _ in range(40))]
    for ops in filter(None, histories):
        done = run_raftkv_check(ops, tmp_path)
        expected = 0 if search_register(ops) else 1
        assert done.returncode == expected, f"{done.stdout}{done.stderr}{''.join(map(str, ops))}"


def test_a_value_written_twice_is_the_tests_own_error():
    with pytest.raises(ValueError):
        check_register([put("a", 0, 1), put("a", 2, 3)])


def revised(kind, key, value, start, end, revision, mod_revision=0):
    return Op(kind, key, value, start, end, revision=revision, mod_revision=mod_revision)


def test_revisions_may_not_run_backwards_across_keys():
    first = revised("put", b"x", 1, 0, 1, revision=5)
    history.check_revisions([first, revised("put", b"y", 2, 2, 3, revision=6)])
    history.check_revisions([first, revised("get", b"y", None, 2, 3, revision=5)])
    history.check_revisions([first, revised("get", b"y", None, 0.5, 3, revision=4)])
    for later in (revised("get", b"y", None, 2, 3, revision=4),
                  revised("put", b"y", 2, 2, 3, revision=5),
                  revised("put", b"y", 2, 2, 3, revision=4)):
        with pytest.raises(NotLinearizable):
            history.check_revisions([first, later])


def test_a_revision_belongs_to_one_put():
    first = revised("put", b"x", 1, 0, 9, revision=5)
    history.check_revisions([first, revised("get", b"x", 1, 0, 9, revision=7, mod_revision=5)])
    for other in (revised("put", b"y", 2, 0, 9, revision=5),
                  revised("get", b"x", 2, 0, 9, revision=7, mod_revision=5),
                  revised("get", b"x", 1, 0, 9, revision=4, mod_revision=5)):
        with pytest.raises(NotLinearizable):
            history.check_revisions([first, other])

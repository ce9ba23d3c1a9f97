"""Waiting for something to become true, instead of sleeping and hoping."""

import time


class WaitTimeout(AssertionError):
    """The condition did not become true in time."""


def wait_until(condition, what, timeout_s=15.0, poll_s=0.01):
    """Calls `condition` until it returns something true, and returns that.

    `what` completes the sentence "timed out waiting until ...". It may be a function, called only
    on failure, to say what was last seen.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            text = what() if callable(what) else what
            raise WaitTimeout(f"timed out after {timeout_s:g} s waiting until {text}")
        time.sleep(poll_s)

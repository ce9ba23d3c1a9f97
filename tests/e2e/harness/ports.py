"""Loopback ports that stay ours while a node is down.

The kernel gives outgoing connections ports from the ephemeral range. A node that was killed and is
to come back on its port must not find it taken by such a connection (or by a client that connected
to itself), so ports are drawn from below that range.
"""

import random
import socket

_EPHEMERAL_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
_LOWEST = 12000
_taken = set()
_random = random.Random()  # not seeded by tests: two runs at a time must not draw the same ports


def _highest():
    try:
        with open(_EPHEMERAL_RANGE, encoding="ascii") as file:
            return min(32767, int(file.read().split()[0]) - 1)
    except OSError:
        return 32767


def is_free(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As a server binds: connections of an earlier test in TIME_WAIT don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port():
    """A port nobody listens on, never handed out before by this process."""
    highest = _highest()
    for _ in range(10_000):
        port = _random.randint(_LOWEST, highest)
        if port not in _taken and is_free(port):
            _taken.add(port)
            return port
    raise RuntimeError("no free port between %d and %d" % (_LOWEST, highest))

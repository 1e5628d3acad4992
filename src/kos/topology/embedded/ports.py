"""Ports on loopback."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Collection
from pathlib import Path

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.02
LOWEST = 15_000
_USUAL_FIRST_EPHEMERAL = 32_768


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: old connections don't count
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def become_free(wanted: Collection[int], patience: float = 1.0) -> bool:
    """Whether these ports are free, or become free soon: a server that just crashed may still be letting go."""
    deadline = time.monotonic() + patience
    while not all(map(is_free, wanted)):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def choose(taken: Collection[int], dice: random.Random | None = None) -> int:
    """A free port, not in `taken`.

    Never one of the system's ephemeral ports: while a server is down, a client that keeps trying to reach it
    there is sooner or later given that very port as its own, and connects to itself.
    """
    dice = dice or random.SystemRandom()
    highest = max(_first_ephemeral(), LOWEST + 1000)
    while True:
        port = dice.randrange(LOWEST, highest)
        if port not in taken and is_free(port):
            return port


def _first_ephemeral() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_FIRST_EPHEMERAL

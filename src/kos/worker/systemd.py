"""What systemd wants to know of a service of type `notify`, through the socket that it names. Nothing elsewhere."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

from kos.worker.log_lines import tell

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STOPPING = "STOPPING=1"


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Tell systemd, where it listens. A socket that does not take it is told in the log, and hurts nobody else."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the way to write an abstract one
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(1.0)
            out.connect(address)
            out.sendall(state.encode())
    except OSError as error:
        tell(logging.WARNING, "systemd did not hear us", state=state, error=str(error))


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear that we are alive: half of what it waits for. None where it doesn't."""
    text, of = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) == 0 or (of and of != str(os.getpid())):
        return None
    return int(text) / 1_000_000 / 2

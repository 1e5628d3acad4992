"""The worker of a stack: `kos worker`, started by its command line and found in the process table like the servers.

It runs as whoever runs kos, not as the servers' account: it reads the stack's passwords.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from kos.errors import PortInUse, ServerDidNotStart
from kos.topology.embedded import census, layout, ports, state
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.server import POLL_SECONDS, Launch, detached, tail

NAME = census.WORKER
LADDER: census.Ladder = ((signal.SIGTERM, 15.0), *census.LAST_RESORT)
SERVES = "KOS_WORKER_SERVES"  # the ports of the PostgreSQL servers that it was started for
START_SECONDS = 30.0
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Begun:
    """A worker that was started, or that ran already."""

    process: psutil.Process
    port: int
    log: Path
    started: bool

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Wait until it answers; `ServerDidNotStart` if it ends, or takes longer."""
        began = time.monotonic()
        while not _answers(self.process, self.port):
            waited = time.monotonic() - began
            if waited > seconds or not census.is_alive(self.process):
                raise ServerDidNotStart(NAME, waited, self.log, tail(self.log))
            time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class WorkerHealth:
    """How the worker is: whether it answers and reaches every database, else why not."""

    name: str
    address: str
    healthy: bool
    detail: str


def begin(marker: state.Marker, crowd: census.Crowd, log: Path) -> Begun:
    """Have the stack's worker running; returns before it answers. Whoever calls holds the stack's lock.

    Raises:
        PortInUse: the user asked for ports, and the worker's is another program's.
        ServerDidNotStop: one that does not answer can't be stopped.
    """
    marked = with_port(marker)
    launch = _launch(marked)
    port = marked.ports[NAME]
    if crowd.main and _is_as_wanted(crowd.main, launch) and _answers(crowd.main, port, patience=ANSWER_SECONDS):
        return Begun(crowd.main, port, log, started=False)
    census.stop(NAME, crowd, LADDER)
    if not ports.become_free([port]):
        if marked.base is not None:
            raise PortInUse(NAME, port)
        marked = replace(marked, ports=layout.other_ports(marked.ports, NAME, [port]))
        launch, port = _launch(marked), marked.ports[NAME]
    if marked != marker:
        state.write_marker(marked)
    log.parent.mkdir(mode=0o700, exist_ok=True)
    process = detached(launch.arguments, launch.environment, log, marker.folder.parent)
    return Begun(process, port, log, started=True)


def look(marker: state.Marker, crowd: census.Crowd) -> WorkerHealth:
    """How the stack's worker is. Changes nothing, never raises."""
    address = f"{LOOPBACK}:{marker.ports[NAME]}" if NAME in marker.ports else ""
    if crowd.main is None or NAME not in marker.ports:
        return WorkerHealth(NAME, address, False, "it does not run: kos up")
    try:
        told = _ask(marker.ports[NAME])
    except (OSError, ValueError) as error:
        return WorkerHealth(NAME, address, False, f"it does not answer: {error}")
    troubles = [f"{each['database']}: {each['error'] or each['state']}" for each in told["databases"] if each["error"]]
    if told["directory_error"]:
        troubles.append(str(told["directory_error"]))
    return WorkerHealth(NAME, address, bool(told["healthy"]), "; ".join(troubles) or _summary(told))


def _summary(told: dict[str, Any]) -> str:
    states = [each["state"] for each in told["databases"]]
    return ", ".join(f"{name} in {states.count(name)}" for name in sorted(set(states)))


def with_port(marker: state.Marker) -> state.Marker:
    """The marker with the worker's port: the one that the user asked for, else the remembered, else a free one."""
    return replace(marker, ports=layout.assign_ports(marker.ports, [NAME], base=marker.base))


def _launch(marker: state.Marker) -> Launch:
    served = ",".join(str(marker.ports[name]) for name in sorted(marker.ports) if layout.kind_of(name) == "postgres")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(marker.folder.parent),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "KOS_CONFIG": "embedded",
        census.STACK: marker.stack,
        census.STORE: NAME,
        census.FOLDER: str(marker.folder),
        SERVES: served,
    }
    if "PYTHONPATH" in os.environ:  # where kos itself may come from
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    # -P: whatever lies in the folder of the stack is not a module of ours.
    listen = ("--listen", f"{LOOPBACK}:{marker.ports[NAME]}")
    return Launch((sys.executable, "-P", "-m", "kos", "worker", *listen), environment)


def _is_as_wanted(process: psutil.Process, launch: Launch) -> bool:
    """Whether it was started like that: for these servers, on this port, by whoever we are."""
    try:
        there, arguments = process.environ(), tuple(process.cmdline())
    except psutil.Error:
        return False
    same = arguments == launch.arguments and there.get(SERVES) == launch.environment[SERVES]
    return same and census.runs_as(process, os.geteuid())


def _answers(process: psutil.Process, port: int, *, patience: float = 0.0) -> bool:
    """Whether this very process answers on the port, healthy or not; one that is just starting is given `patience`."""
    deadline = time.monotonic() + patience
    while True:
        if port in census.listening(process):
            try:
                _ask(port)
            except (OSError, ValueError):
                return False
            return True
        if time.monotonic() > deadline or not census.is_alive(process):
            return False
        time.sleep(POLL_SECONDS)


def _ask(port: int) -> dict[str, Any]:
    """What the worker's /healthz says. No proxy of the user's: it is this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{LOOPBACK}:{port}/healthz", timeout=ANSWER_SECONDS) as answer:
            body = answer.read()
    except urllib.error.HTTPError as unhealthy:
        with unhealthy:
            body = unhealthy.read()
    told: dict[str, Any] = json.loads(body)
    return told

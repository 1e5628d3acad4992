"""`kos worker`."""

from __future__ import annotations

import logging
import signal
from dataclasses import asdict
from threading import Event
from typing import Annotated, Any

import typer

from kos import console, topology
from kos.console import DryRun, Json, emit, say, seconds, table
from kos.topology.model import Topology
from kos.worker import Worker, log_lines, seal_once
from kos.worker.log_lines import tell
from kos.worker.once import Waiting, broken, look
from kos.worker.systemd import ALIVE, READY, STOPPING, notify, watchdog_seconds
from kos.worker.web import Pages
from kos.worker.worker import SEALS

LISTEN = "127.0.0.1:9567"


def worker(
    listen: Annotated[str, typer.Option(help="Where /healthz and /metrics are; port 0 is a free one.")] = LISTEN,
    seals: Annotated[int, typer.Option(min=1, max=32, help="Tenants of one database sealed at once.")] = SEALS,
    once: Annotated[bool, typer.Option("--once", help="Seal what waits now, then end.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Seal the log of every database, in the foreground, until SIGTERM or Ctrl-C. Any number may run."""
    found = topology.find()
    if dry_run:
        waiting = look(found)
        emit({"databases": waiting}, as_json=json, human=lambda: _show_waiting(waiting))
        return
    if once:
        with console.progress(quiet=json) as progress:
            results = seal_once(found, progress)
        rows = [asdict(each) for each in results]
        emit(_value(rows), as_json=json, human=lambda: _show(rows))
        console.fail_for(broken(results), as_json=json)
        return
    log_lines.begin()
    rows = _run(found, listen, seals)
    emit(_value(rows), as_json=json, human=lambda: None)


def _run(found: Topology, listen: str, seals: int) -> list[dict[str, Any]]:
    """Until a signal comes; returns what was sealed, by database."""
    ends = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ends.set())
    at_work = Worker(found, seals=seals)
    pages = Pages(listen, at_work.health, at_work.metrics.text)
    try:
        with at_work:
            pages.answer()
            tell(logging.INFO, "listening", address=f"http://{pages.address}")
            notify(READY)
            interval = watchdog_seconds()
            while not ends.wait(interval):
                if at_work.is_alive():
                    notify(ALIVE)
            notify(STOPPING)
            tell(logging.INFO, "stopping")
    finally:
        pages.close()
    tell(logging.INFO, "stopped")
    return at_work.sealed()


def _value(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"sealed": sum(row["sealed"] for row in rows), "databases": rows}


def _show(rows: list[dict[str, Any]]) -> None:
    table(
        ("shard", "database", "events sealed"),
        [(row["shard"], row["database"], f"{row['sealed']:,}") for row in rows],
        numbers=("events sealed",),
    )
    if not any(row["sealed"] for row in rows):
        say("nothing waited")


def _show_waiting(waiting: list[Waiting]) -> None:
    rows = [
        (each.shard, each.database, each.tenants, f"{each.rows:,}", seconds(each.oldest_seconds), each.error)
        for each in waiting
    ]
    columns = ("shard", "database", "tenants", "rows that wait", "seconds", "")
    table(columns, rows, numbers=("tenants", "rows that wait", "seconds"))


COMMANDS = {"worker": worker}

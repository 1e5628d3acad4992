"""`kos log status | verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from kos import errors
from kos.console import Json, emit, plain, say, seconds, table
from kos.log.feed_commands import COMMANDS as FEED_COMMANDS
from kos.log.status import EXAMPLES, LogStatus, compare, status
from kos.log.whose import all_places
from kos.tenancy import open as open_store


def log_status(json: Json = False) -> None:
    """The log of each database: what waits for its position, how long, and tables whose capture is broken."""
    with open_store() as store:
        found = [status(store, place) for place in all_places(store)]

    def human() -> None:
        table(
            ("database", "tables", "sealed events", "waiting tenants", "lag s", "pending MB", "broken"),
            [
                (
                    each.database,
                    each.tables,
                    each.sealed_events,
                    each.waiting_tenants,
                    seconds(each.lag_seconds),
                    f"{each.pending_bytes / 1e6:.1f}",
                    len({broken.table for broken in each.broken}) or "",
                )
                for each in found
            ],
            numbers=("tables", "sealed events", "waiting tenants", "lag s", "pending MB", "broken"),
        )
        for each in found:
            _say_what_is_wrong(each)

    healthy = all(each.healthy for each in found)
    emit({"healthy": healthy, "databases": [_as_object(each) for each in found]}, as_json=json, human=human)
    if not healthy:
        raise typer.Exit(errors.FAILED)


def _as_object(each: LogStatus) -> dict[str, object]:
    return {**plain(each), "healthy": each.healthy}


def _say_what_is_wrong(each: LogStatus) -> None:
    for broken in each.broken:
        outcome = "changes are lost" if broken.loses else "changes are captured slowly until the worker mends it"
        say(f"{each.database}: {broken.table}: {broken.fault}; {outcome}")
    if not each.commit_times:
        meant = "so events carry the time of their seal, and their lag is unknown"
        say(f"{each.database}: track_commit_timestamp is off, {meant}")


def log_verify(
    limit: Annotated[int, typer.Option(min=1, help="Rows to name per table.")] = EXAMPLES, json: Json = False
) -> None:
    """Compare every logged table with its log: finds what was written past the triggers. Reads all rows."""
    with open_store() as store:
        found = [each for place in all_places(store) for each in compare(store, place, limit)]

    def human() -> None:
        if not found:
            say("every row is as the log has it")
            return
        table(
            ("table", "tenant", "key", "found"),
            [(each.table, each.tenant, ", ".join(each.key), each.fault) for each in found],
        )

    emit({"matches": not found, "mismatches": found}, as_json=json, human=human)
    if found:
        raise typer.Exit(errors.FAILED)


COMMANDS = {"log status": log_status, "log verify": log_verify, **FEED_COMMANDS}

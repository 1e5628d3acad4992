"""A consumer in a process of its own, which kills itself when it comes to a position: `MODE FILE POSITION WHEN`.

Mode `same`: its effect is a row in the tenant's own database, in the transaction that moves the cursor. Mode `file`: a
line in a file, before the cursor moves. It dies after the effect, or after it has said so and before the commit.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import kos
from kos.log import Batch, batches, done, next_batch
from kos.tenancy import Store

FEED = "copy"
LIMIT = 2
Die = Callable[[Batch, str], None]


def main() -> None:
    mode, file, position, when = sys.argv[1:]

    def die(batch: Batch, now: str) -> None:
        if batch.at < int(position) <= batch.end.position and now == when:
            os.kill(os.getpid(), signal.SIGKILL)

    with kos.open() as store:
        if mode == "file":
            to_a_file(store, Path(file), die=die)
            return
        while same_database(store, die=die):
            pass


def same_database(store: Store, *, die: Die) -> bool:
    with store.tenant("acme") as acme:
        batch = next_batch(acme.connection, FEED, acme.tenant.id, LIMIT)
        if batch is None:
            return False
        for event in batch.events:
            acme.execute("insert into copied values (%s, %s)", (event.position, event.data["name"]))
        die(batch, "effect")
        done(acme.connection, batch)
        die(batch, "done")
    return True


def to_a_file(store: Store, file: Path, *, die: Die) -> None:
    with store.operator() as operator:
        for batch in batches(operator, FEED, store.find("acme").id, limit=LIMIT):
            with file.open("a", encoding="utf-8") as lines:
                lines.writelines(f"{event.position} {event.data['name']}\n" for event in batch.events)
            die(batch, "effect")


if __name__ == "__main__":
    main()

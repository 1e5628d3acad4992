"""The log: every change of a logged table, per tenant, by a position that can be trusted.

Promise: a position is given after the commit, per tenant, without gaps; a transaction is never split; who reads by
position skips nothing and sees nothing twice, however late a transaction commits. A *cut* is a seal whose snapshot is
exported: what it shows and the positions that it gives are the same moment.

Invariants: what is captured is written in the transaction of the change. Pending rows are never updated or deleted; two
tables take turns and are truncated. One seal per tenant at a time. An event never changes.

Words: *event*, *position*, *seal*, *cut*, *feed*, *cursor*, *consumer*, *incarnation*: see `docs/glossary.md`.
"""

from kos.log.bookmarks import bookmark_position, wait_for
from kos.log.consumer import (
    Batch,
    Consumer,
    advance,
    batches,
    done,
    drop,
    feeds,
    next_batch,
    pages,
    position_of,
    seek,
    waiting,
)
from kos.log.cut import Cut, cut
from kos.log.feed import Cursor, Event, head_of, read, tail
from kos.log.seal import Room, seal, seal_all
from kos.log.status import LogStatus, Mismatch, compare, status

__all__ = [
    "Batch",
    "Consumer",
    "Cursor",
    "Cut",
    "Event",
    "LogStatus",
    "Mismatch",
    "Room",
    "advance",
    "batches",
    "bookmark_position",
    "compare",
    "cut",
    "done",
    "drop",
    "feeds",
    "head_of",
    "next_batch",
    "pages",
    "position_of",
    "read",
    "seal",
    "seal_all",
    "seek",
    "status",
    "tail",
    "wait_for",
    "waiting",
]

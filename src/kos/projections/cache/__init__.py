"""The cache: what sessions have read, kept until an event of the log says that it is no longer so.

Promise: what a session reads here is never older than its bookmark, is of its own tenant, and was read by a session of
the same persona and user. A cache that is gone, slow, full or wrong costs a short time, and PostgreSQL answers.

Invariants: a value stands under the position of the log's end *before* it was read, and is taken only where nothing
later was invalidated; so whatever is lost or evicted makes a reader read again, and nothing else. Readers never make a
tenant's state, the worker does. Kinds that readers and worker don't agree on are not cached.

Words: a *kind* says which table a value is of; a *generation* holds what was kept since the worker last began anew.
"""

from kos.projections.cache.async_reading import AsyncCacheReader
from kos.projections.cache.checking import check_entries
from kos.projections.cache.decisions import Counters
from kos.projections.cache.kinds import KINDS, CacheKind, kinds_of
from kos.projections.cache.projection import CacheProjection
from kos.projections.cache.reading import CacheReader

__all__ = [
    "KINDS",
    "AsyncCacheReader",
    "CacheKind",
    "CacheProjection",
    "CacheReader",
    "Counters",
    "check_entries",
    "kinds_of",
]

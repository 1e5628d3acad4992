"""What is decided before the graph is asked. Pure, for the synchronous and the asynchronous reader alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from kos import errors
from kos.projections.graph.scoping import check_parameters, scoped
from kos.projections.model import Reached
from kos.tenancy.bookmark import Bookmark
from kos.tenancy.entry import Entry
from kos.topology import graph as opening
from kos.topology.model import GraphServer

LOST = "KS028"
GONE = "Neo.ClientError.Statement.EntityNotFound"  # a node or an edge was removed between finding and reading it


def question(entry: Entry, after: Bookmark | None, query: str, parameters: Mapping[str, Any] | None) -> str:
    """The query as the server is asked it.

    Raises:
        GraphQueryRefused, GraphWithoutPersonas, BookmarkNeedsReadCommitted
    """
    if entry.persona is not None:
        raise errors.GraphWithoutPersonas(entry.persona)
    if after is not None and entry.isolation != "read committed":
        raise errors.BookmarkNeedsReadCommitted(entry.isolation)
    check_parameters(parameters or {})
    return _scoped(query)


def access_mode(server: GraphServer, need: Reached) -> str:
    """Where a cluster is asked. What the writer was told is of its leader only, and others come later to it: who needs
    a position asks the leader."""
    return "WRITE" if server.is_routed and need != Reached() else "READ"


@lru_cache(maxsize=1000)
def _scoped(query: str) -> str:
    return scoped(query)


@contextmanager
def typed(server: GraphServer) -> Iterator[None]:
    """Errors of the driver as ours."""
    from neo4j.exceptions import AuthError, ClientError, DriverError, Neo4jError

    try:
        yield
    except AuthError as error:
        raise errors.StoreUnavailable("the graph", server.uri, opening.reason(error)) from error
    except ClientError as error:
        raise errors.GraphQueryFailed(opening.reason(error)) from error
    except (DriverError, Neo4jError, OSError) as error:
        raise errors.StoreUnavailable("the graph", server.uri, opening.reason(error)) from error

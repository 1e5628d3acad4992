"""What is decided before the graph is asked. Pure, for the synchronous and the asynchronous reader alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from uuid import UUID

from kos import errors
from kos.projections.graph.scoping import check_parameters, scoped
from kos.projections.model import Reached
from kos.tenancy.bookmark import Bookmark
from kos.tenancy.entry import Entry
from kos.tenancy.tenant import Tenant
from kos.topology import graph as opening
from kos.topology.model import GraphServer

LOST = "KS028"
GONE = "Neo.ClientError.Statement.EntityNotFound"  # a node or an edge was removed between finding and reading it
KNOWN = 1000


def question(entry: Entry, query: str, parameters: Mapping[str, Any] | None) -> str:
    """The query as the server is asked it.

    Raises:
        GraphQueryRefused, GraphWithoutPersonas
    """
    if entry.persona is not None:
        raise errors.GraphWithoutPersonas(entry.persona)
    check_parameters(parameters or {})
    return _scoped(query)


@lru_cache(maxsize=1000)
def _scoped(query: str) -> str:
    return scoped(query)


class Bookmarks:
    """Those that are sealed, with where: so that each is asked for once."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UUID, Bookmark], Reached] = OrderedDict()

    def find(self, tenant: Tenant, mark: Bookmark) -> Reached | None:
        """Where it is, if that is known."""
        return self._known.get((tenant.id, mark))

    def note(self, tenant: Tenant, mark: Bookmark, reached: Reached) -> Reached:
        """It is there."""
        self._known[tenant.id, mark] = reached
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return reached


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

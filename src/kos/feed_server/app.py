"""The pages: which tenants wait, a tenant's events, and where the cursor stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from kos import errors
from kos.console import plain
from kos.feed_server.access import Access, may_follow
from kos.feed_server.stream import Stream, told_of
from kos.log import Cursor, advance, position_of, seek, waiting
from kos.log.whose import Owner, all_places, logs_of
from kos.tenancy import list_tenants
from kos.topology.model import Feed
from kos.translate import translated

KIND = "application/x-ndjson"
STATUS = {
    errors.FeedMoved: 409,
    errors.FeedDiverged: 410,
    errors.WithinTransaction: 422,
    errors.NoLog: 404,
}
LEAF = "([0-9a-f]{2})+"
Position = Annotated[int, Query(ge=0, le=2**63 - 1)]
Leaf = Annotated[str | None, Query(pattern=f"^{LEAF}$")]
After = Annotated[str | None, Query(pattern=f"^[0-9]{{1,18}}(:{LEAF})?$")]


@dataclass(frozen=True)
class Serving:
    """What the pages are answered with."""

    access: Access
    heartbeat: float
    ended: Callable[[], bool]


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


Here = Annotated[Serving, Depends(_serving)]


def _known(here: Here, feed: str, authorization: Annotated[str | None, Header()] = None) -> Feed:
    found = here.access.feed(feed, authorization)
    if found is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return found


Known = Annotated[Feed, Depends(_known)]
pages = APIRouter(prefix="/feeds/{feed}/tenants")


def build(serving: Serving) -> FastAPI:
    """The application. Requests have no bodies that anybody reads."""
    app = FastAPI(openapi_url=None)
    app.state.serving = serving
    app.include_router(pages)
    for kind in (errors.KosError, psycopg.Error):
        app.add_exception_handler(kind, _refused)
    return app


def _refused(request: Request, error: Exception) -> Response:
    known = translated(error)
    if known is None:
        raise error
    return JSONResponse(told_of(known), STATUS.get(type(known), 503 if known.retryable else 500))


@pages.get("")
def tenants(here: Here, feed: Known) -> dict[str, list[Any]]:
    """The tenants that have something for the feed, and the databases that can't tell now."""
    names = {each.id: each.name for each in list_tenants(here.access.store)}
    found: list[dict[str, Any]] = []
    unreachable: list[str] = []
    for place in all_places(here.access.store):
        try:
            with here.access.session(place) as connection:
                of_values = logs_of(connection, feed.tenants or ())
                waits = waiting(connection, feed.name, None)
        except errors.StoreError:
            unreachable.append(f"{place.shard}/{place.database}")
            continue
        for each in waits:
            name = names.get(each.tenant) or of_values.get(each.tenant)
            if may_follow(feed, name or "", str(each.tenant)):
                found.append({"name": name, "behind": each.behind, **plain(each)})
    return {"tenants": found, "unreachable": unreachable}


@pages.get("/{tenant}/events")
async def events(here: Here, feed: Known, tenant: str, after: After = None, follow: bool = False) -> Response:
    """Events after the feed's cursor, or after a position, one per line."""
    owner, cursor = await asyncio.to_thread(_begin, here.access, feed, tenant, after)
    stream = Stream(here.access, owner, cursor, here.heartbeat)
    first = await stream.page()  # before the answer begins: a log that was restored has a status of its own
    return StreamingResponse(stream.lines(first, follow=follow, ended=here.ended), media_type=KIND)


@pages.post("/{tenant}/done", status_code=204)
def done(here: Here, feed: Known, tenant: str, at: Position, position: Position, leaf: Leaf = None) -> None:
    """The consumer has stored what comes after `at`, up to `position`."""
    if position and leaf is None:
        raise HTTPException(422, "say which event stands at that position: leaf=…")
    owner = here.access.owner(feed, tenant)
    with here.access.session(owner.place) as connection:
        advance(connection, feed.name, owner.id, at, _cursor(position, leaf))


@pages.put("/{tenant}/cursor", status_code=204)
def cursor(here: Here, feed: Known, tenant: str, position: Position, leaf: Leaf = None) -> None:
    """The feed goes on after a position, wherever it was."""
    owner = here.access.owner(feed, tenant)
    with here.access.session(owner.place) as connection:
        seek(connection, feed.name, owner.id, _cursor(position, leaf))


def _begin(access: Access, feed: Feed, tenant: str, after: str | None) -> tuple[Owner, Cursor]:
    owner = access.owner(feed, tenant)
    if after is not None:
        position, _, leaf = after.partition(":")
        return owner, _cursor(int(position), leaf)
    with access.session(owner.place) as connection:
        return owner, position_of(connection, feed.name, owner.id)


def _cursor(position: int, leaf: str | None) -> Cursor:
    return Cursor(position, bytes.fromhex(leaf) if leaf else None)

"""`kos feed tail | list | seek | drop`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from json import dumps
from re import fullmatch
from typing import Annotated
from uuid import UUID

import typer

from kos import console, errors
from kos.console import DryRun, Json, Yes, emit, plain, say, table
from kos.log import consumer
from kos.log.consumer import Consumer
from kos.log.feed import Cursor, Event, tail
from kos.log.whose import all_places, owner_of
from kos.tenancy import Place, list_tenants
from kos.tenancy import open as open_store

Tenant = Annotated[str, typer.Option(help="A tenant's name or id; of an adopted table, its value.")]
Name = Annotated[str, typer.Argument(metavar="FEED", help="The feed's name.")]
POSITION = "POSITION[:LEAF]"


def feed_tail(
    tenant: Tenant,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar=POSITION,
            help="The position to begin after; with its leaf, a log that was restored to before it is noticed.",
        ),
    ] = None,
    feed: Annotated[
        str | None, typer.Option(help="Begin at this feed's cursor, and move it behind what was printed.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes later, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """A tenant's events. With `--json` one event per line."""
    if feed is not None and from_ is not None:
        raise typer.BadParameter("a feed begins at its cursor: kos feed seek moves it")
    consumer.check_not_of_projection(feed or "")
    cursor = _cursor("--from", from_ or "0")
    with open_store() as store:
        identity, _, place = owner_of(store, tenant)
        with store.operator(place) as operator:
            if feed is None:
                found: Iterable[Event] = tail(operator, identity, cursor, follow=follow)
            else:
                found = _one_by_one(consumer.pages(operator, feed, identity, follow=follow))
            for event in found:
                _print(event, as_json=json)


def _one_by_one(pages: Iterator[list[Event]]) -> Iterator[Event]:
    """A page is printed before the next is asked for."""
    for page in pages:
        yield from page


def feed_list(json: Json = False) -> None:
    """Every feed in every tenant's log: where its cursor stands, and what is before it."""
    found: list[tuple[Place, Consumer]] = []
    with open_store() as store:
        names = {each.id: each.name for each in list_tenants(store)}
        for place in all_places(store):
            with store.operator(place) as operator:
                found += [(place, each) for each in consumer.feeds(operator)]

    def human() -> None:
        numbers = ("position", "head", "behind")
        table(
            ("feed", "tenant", "database", *numbers, "waits since"),
            [
                (c.feed, names.get(c.tenant, c.tenant), place.database, c.position, c.head, c.behind, _moment(c))
                for place, c in found
            ],
            numbers=numbers,
        )

    value = [
        {**plain(each), "name": names.get(each.tenant), "behind": each.behind, **place._asdict()}
        for place, each in found
    ]
    emit(value, as_json=json, human=human)


def _moment(each: Consumer) -> str:
    return "" if each.since is None else f"{each.since:%Y-%m-%d %H:%M:%S}"


def feed_seek(
    feed: Name,
    tenant: Tenant,
    to: Annotated[
        str,
        typer.Option(
            metavar=POSITION,
            help="The position to go on after: 0, or one where a transaction ends; with its leaf, as --from.",
        ),
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Move a feed's cursor in one tenant's log: its consumer gets events again, or never."""
    consumer.check_not_of_projection(feed)
    cursor = _cursor("--to", to)
    with open_store() as store:
        identity, _, place = owner_of(store, tenant)
        with store.operator(place) as operator:
            with operator.transaction(force_rollback=True):  # refused before anybody is asked
                consumer.seek(operator, feed, identity, cursor)
            before = consumer.position_of(operator, feed, identity).position
            if not dry_run:
                if not yes:
                    console.confirm(f"move {feed} of {tenant} from {before} to {cursor.position}?")
                consumer.seek(operator, feed, identity, cursor)
    value = {"feed": feed, "tenant": identity, "before": before, "position": cursor.position}
    told = "would go" if dry_run else "goes"
    emit(value, as_json=json, human=lambda: say(f"{feed} {told} on after {cursor.position}, instead of {before}"))


def feed_drop(
    feed: Name,
    tenant: Annotated[str | None, typer.Option(help="In this tenant's log only.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget a feed: a consumer of that name begins anew."""
    consumer.check_not_of_projection(feed)
    with open_store() as store:
        identity, _, place = owner_of(store, tenant) if tenant else (None, None, None)
        found: dict[Place, list[UUID]] = {}
        for each in [place] if place else all_places(store):
            with store.operator(each) as operator:
                cursors = (one for one in consumer.feeds(operator) if one.feed == feed)
                found[each] = [one.tenant for one in cursors if identity in (None, one.tenant)]
        tenants = sorted(one for some in found.values() for one in some)
        if not tenants:
            raise errors.UnknownFeed(feed)
        if not dry_run:
            if not yes:
                console.confirm(f"forget how far {feed} is in the logs of {len(tenants)} tenants?")
            for each in found:
                with store.operator(each) as operator:
                    consumer.drop(operator, feed, identity)
    told = "would be forgotten" if dry_run else "forgotten"
    value = {"feed": feed, "tenants": tenants}
    emit(value, as_json=json, human=lambda: say(f"{feed}: {len(tenants)} cursors {told}"))


def _cursor(option: str, text: str) -> Cursor:
    position, _, leaf = text.partition(":")
    if not fullmatch(r"[0-9]+(:([0-9a-f]{2})+)?", text):
        raise typer.BadParameter(f"{option} is a position, or POSITION:LEAF with the leaf as --json prints it")
    return Cursor(int(position), bytes.fromhex(leaf) or None)


def _print(event: Event, *, as_json: bool) -> None:
    if as_json:
        value = plain(replace(event, leaf=b""))
        print(dumps({**value, "leaf": event.leaf.hex()}, ensure_ascii=False), flush=True)  # noqa: T201
        return
    values = " ".join(f"{name}={_short(value)}" for name, value in event.data.items())
    moment = f"{event.occurred_at:%Y-%m-%d %H:%M:%S.%f}"
    say(f"{event.position:>8}  {moment}  {event.type:<24} {', '.join(event.key)}  {values}")
    sys.stdout.flush()


def _short(value: str | None) -> str:
    return "null" if value is None else value if len(value) <= 40 else f"{value[:39]}…"


COMMANDS = {"feed tail": feed_tail, "feed list": feed_list, "feed seek": feed_seek, "feed drop": feed_drop}

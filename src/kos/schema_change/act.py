"""Do one action in one placement, and take it back.

A lock is asked for briefly, again and again: while it is waited for, everybody else waits behind it. An index is built
concurrently, which waits without a limit, since nobody waits behind that; whom it waits for is told.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

import psycopg
from psycopg import ClientCursor
from psycopg.sql import SQL, Composed, Identifier

from kos import errors, sql
from kos.schema_change.blocking import blockers
from kos.schema_change.composing import plainly
from kos.schema_change.draft import braced
from kos.schema_change.locks import in_one_message
from kos.schema_change.model import ANALYZE, CREATE_INDEX, DROP_INDEX, Action
from kos.schema_change.site import LOCK_TIMEOUT, QUERIES, SHORT_LOCK_TIMEOUT, Site
from kos.schema_change.watching import watched

PATIENCE = 600.0  # seconds of asking for one lock before it is given up; resuming asks again
SHORT = 30.0  # seconds of short attempts
# Seconds between two attempts, in which those who waited behind us go on: at most, while attempts are short, and later.
PAUSE, PAUSE_SHORT, PAUSE_LONG = 0.1, 1.0, 10.0
BUILDS = 5  # attempts at an index that a deadlock or a cancellation has ended

_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_ENDED = (psycopg.errors.DeadlockDetected, psycopg.errors.QueryCanceled)


def do(site: Site, action: Action) -> None:
    """Do an action, if it was not done here before.

    Raises:
        ChangeBlocked: somebody held a lock all the while.
        ChangeFailed: PostgreSQL refuses it, mostly because of the rows that there are.
    """
    if not is_to_do(site, action):
        return
    with told(site, action):
        if action.kind == CREATE_INDEX:
            _build_index(site, action)
            if not is_done(site, action.name):
                _note(site, action.name)
        elif action.kind in {DROP_INDEX, ANALYZE}:
            if not site.unused:  # a schema in the making has no rows, and nothing to drop
                with watched(site, action):
                    _outside(site, action, action.do[0])
            _note(site, action.name)
        else:
            with watched(site, action, tells=False) if action.waits and not site.unused else nullcontext():
                patiently(site, action, _in_one_transaction)
    site.doing(None)


def undo(site: Site, action: Action) -> None:
    """Take an action back: if it was done here; and an index if it was begun here."""
    if action.kind == CREATE_INDEX:
        if is_done(site, begun(action)):
            with told(site, action):
                _drop_index(site, action)
                with site.transaction() as connection:
                    for name in (action.name, begun(action)):
                        connection.execute(QUERIES.forget_action, site.facts | {"action": name})
    elif is_done(site, action.name):
        with told(site, action):
            patiently(site, action, _back_in_one_transaction)
    site.doing(None)


Work = Callable[[Site, Action, str, bool], None]


def patiently(site: Site, action: Action, work: Work, *, patience: float = PATIENCE) -> None:
    """Do `work` as soon as its locks can be had, letting go of everything in between.

    Raises:
        ChangeBlocked, ChangeStopped
    """
    began, pause, turned = time.monotonic(), PAUSE, False
    while True:
        short = time.monotonic() - began < SHORT
        try:
            work(site, action, SHORT_LOCK_TIMEOUT if short else LOCK_TIMEOUT, turned)
        except _BUSY as error:
            # Those who are at work may take their locks in the other order: each attempt would meet them half way.
            turned ^= isinstance(error, psycopg.errors.DeadlockDetected)
            who = _blockers(site, action)
            if time.monotonic() - began > patience:
                raise errors.ChangeBlocked(action.text, site.placement.name, int(patience), who) from error
            site.doing(f"{action.text}: waits for {who}")
            _rest(site, pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that two who wait don't meet again
            pause = min(pause * 1.5, PAUSE_SHORT) if short else PAUSE_LONG
        else:
            return


def _rest(site: Site, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, PAUSE_SHORT))
        site.heed()


def begun(action: Action) -> str:
    """What is noted before an index is built: what there is of it from then on is ours."""
    return f"begun: {action.name}"


def is_to_do(site: Site, action: Action) -> bool:
    """It was not done here before; nor is it of a partition that is none any more."""
    return not (is_done(site, action.name) or _is_gone(site, action))


def is_done(site: Site, name: str) -> bool:
    """Whether an action of that name has happened here, and was not taken back."""
    facts = site.facts | {"action": name}
    return site.connection.execute(QUERIES.is_done, facts).fetchone() == (True,)


def _is_gone(site: Site, action: Action) -> bool:
    """Whether it is of a partition that is none any more."""
    if action.part_of is None:
        return False
    asked = site.facts | {"table": action.table, "parent": action.part_of}
    return site.connection.execute(QUERIES.is_part, asked).fetchone() == (False,)


def _note(site: Site, name: str) -> None:
    with site.transaction() as connection:
        connection.execute(QUERIES.note_action, site.facts | {"action": name})


def _in_one_transaction(site: Site, action: Action, lock_timeout: str, turned: bool) -> None:
    _commit(site, action, action.do, QUERIES.note_action, lock_timeout, turned=turned)


def _back_in_one_transaction(site: Site, action: Action, lock_timeout: str, turned: bool) -> None:
    _commit(site, action, action.undo, QUERIES.forget_action, lock_timeout, turned=turned)


def _commit(site: Site, action: Action, do: tuple[str, ...], note: SQL, lock_timeout: str, *, turned: bool) -> None:
    """With the note of it, and with its COMMIT: nobody waits for locks of ours while we are frozen, or far away."""
    with site.transaction(action.owner, lock_timeout) as connection:
        noted = ClientCursor(connection).mogrify(note, site.facts | {"action": action.name})
        message = in_one_message(
            site.placement.schema, action, do, lock_timeout, turned=turned, note=sql.literal(noted)
        )
        connection.execute(message)


def _build_index(site: Site, action: Action) -> None:
    """Until it is there and valid. What a killed or failed build has left is dropped first.

    Where nobody is at work yet it isn't built concurrently: that would wait for all others of the database.
    """
    ours = is_done(site, begun(action))
    if site.unused:
        if not ours:
            _note(site, begun(action))
        plain = _named(site, plainly(action.do[0])).as_string(site.connection)
        patiently(site, replace(action, do=(plain,)), _in_one_transaction)
        return
    asked = site.facts | {"index": action.index, "table": action.table}
    for attempt in range(1, BUILDS + 1):
        valid, of_table = site.connection.execute(QUERIES.find_index, asked).fetchone() or (None, True)
        if not of_table or (valid and not ours):
            instead = "drop it, or roll back and give the new one another name"
            raise errors.ChangeFailed(action.text, site.placement.name, f"{action.index} is there already", instead)
        if valid:
            return
        if not ours:
            _note(site, begun(action))
            ours = True
        if valid is False:
            _drop_index(site, action)
        try:
            with watched(site, action):
                _outside(site, action, action.do[0])
        except _ENDED:
            if attempt == BUILDS:
                raise
            continue
        except psycopg.errors.UniqueViolation:
            _drop_index(site, action)
            raise
        site.run.reached(f"after {action.name} in {site.placement.schema}")


def _drop_index(site: Site, action: Action) -> None:
    assert action.index is not None
    name = Identifier(site.placement.schema, action.index)
    with watched(site, action):
        _outside(site, action, braced(QUERIES.drop_index.format(index=name).as_string(site.connection)))


def _outside(site: Site, action: Action, statement: str) -> None:
    """A statement that can't run in a transaction, as the owner. The lease can't fence it: it is harmless to repeat."""
    site.run.check_lease()
    named = _named(site, statement)
    site.connection.execute(QUERIES.become.format(role=Identifier(action.owner)))
    try:
        site.connection.execute(QUERIES.search, site.facts)
        site.connection.execute(named)
    finally:
        with suppress(psycopg.OperationalError):
            site.connection.execute(QUERIES.as_before)
            site.connection.execute(QUERIES.act_as_ourselves)


def _named(site: Site, statement: str) -> Composed:
    return sql.literal(statement).format(schema=Identifier(site.placement.schema))


@contextmanager
def told(site: Site, action: Action) -> Iterator[None]:
    """What PostgreSQL refuses, as an error that names the action."""
    try:
        yield
    except (psycopg.errors.IntegrityError, psycopg.errors.DataError, psycopg.ProgrammingError) as error:
        said = "; ".join(filter(None, (error.diag.message_primary, error.diag.message_detail))) or str(error)
        raise errors.ChangeFailed(action.text, site.placement.name, said, _mend(action, error)) from error


def _mend(action: Action, error: psycopg.Error) -> str:
    """What to do about it."""
    if isinstance(error, psycopg.errors.IntegrityError | psycopg.errors.DataError):
        return "mend the rows"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"grant {action.owner} what it lacks"
    return "mend what PostgreSQL refuses"


def _blockers(site: Site, action: Action) -> str:
    return blockers(site.connection, [site.placement.schema], list({action.table, *action.also}), action.owner)

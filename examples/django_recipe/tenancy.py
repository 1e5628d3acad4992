"""Django 5.2 with kos: one transaction in one tenant. Copy this file.

    with tenant("acme"):
        Atom.objects.create(atom_type="city", name="Bern")

    transact("acme", lambda: Atom.objects.create(...))   # with retries

Django is in autocommit mode outside of `atomic()`, where an entry would end with its own statement. So there is no way
to be in a tenant but for one `atomic()` block, and a query outside is refused by the database.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

Result = TypeVar("Result")

# Sets who is at work, and where the tenant's tables are, for this transaction only.
ENTER = "select kos.enter(%(tenant)s, epoch => %(epoch)s, persona => %(persona)s, user_id => %(user_id)s)"

# The tenant has moved; serialization failure; deadlock. In each of them nothing happened, so it may run again.
RETRYABLE = {"KS003", "40001", "40P01"}


@contextmanager
def tenant(name: str, *, using: str = DEFAULT_DB_ALIAS, **entry: Any) -> Iterator[None]:
    """A transaction in one tenant: committed at the end of the block, rolled back on an exception.

    `entry` is any of epoch, persona and user_id. The block is durable: inside another `atomic()` the identity would
    outlive it, until that one ends.
    """
    # With AUTOCOMMIT off, atomic() neither begins nor ends a transaction.
    if not connections[using].get_autocommit() and not connections[using].in_atomic_block:
        raise RuntimeError(f"the database {using!r} has AUTOCOMMIT off: tenant() begins and ends transactions itself")
    with transaction.atomic(using=using, durable=True):
        enter(name, using=using, **entry)
        yield


def enter(
    name: str,
    *,
    using: str = DEFAULT_DB_ALIAS,
    epoch: int | None = None,
    persona: str | None = None,
    user_id: str | None = None,
) -> None:
    """Enter a tenant for the rest of the transaction that is open. For views under ATOMIC_REQUESTS."""
    if not name:
        raise RuntimeError("no tenant is named")
    if not connections[using].in_atomic_block:
        raise RuntimeError("a tenant is entered for one transaction, and autocommit has none: use tenant(NAME)")
    with connections[using].cursor() as cursor:
        cursor.execute(ENTER, {"tenant": name, "epoch": epoch, "persona": persona, "user_id": user_id})


def transact(
    name: str,
    work: Callable[[], Result],
    *,
    using: str = DEFAULT_DB_ALIAS,
    attempts: int = 4,
    epoch: Callable[[], int | None] = lambda: None,
    **entry: Any,
) -> Result:
    """Run `work` in one transaction and commit; from its start again where the database says so.

    `epoch` says what you believe of the tenant's placement, and is asked for every attempt; None believes the database.
    `work` may run several times, so what it does outside of the database belongs into `transaction.on_commit`.
    """
    for attempt in range(1, attempts + 1):
        committed: list[bool] = []
        try:
            with tenant(name, using=using, epoch=epoch(), **entry):
                # First in the queue: what a later on_commit function raises must not make this run again.
                transaction.on_commit(lambda: committed.append(True), using=using)  # noqa: B023 it runs in this turn
                return work()
        except Error as error:
            if committed or sqlstate(error) not in RETRYABLE or attempt == attempts:
                raise
        time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise ValueError(f"attempts is at least 1, not {attempts}")


def sqlstate(error: Error) -> str | None:
    """PostgreSQL's code of an error; None where the connection was lost, which is never repeated."""
    return getattr(error.__cause__, "sqlstate", None)

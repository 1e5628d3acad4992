"""What a client of the load does: the transactions of an application that keeps knowledge, and their weights.

A client changes only atoms that it made itself and was told about, so it knows what it must find.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from kos import sql
from kos.tenancy import Session
from kos.workload.ledger import Attempt, Run

QUERIES = sql.load("kos.workload")

REMEMBERED = 200  # atoms that a client goes on working with, per tenant; it bounds their lists of revisions too
SUBJECTS = ("price", "margin", "delivery time", "credit limit", "discount", "stock level", "tax rate", "rebate")
KINDS = ("EntityAtom", "NumberAtom", "RuleAtom", "TermAtom")


class RowMissing(Exception):
    """A row that this client was told to be there is not. Verification finds out what is behind it."""


@dataclass
class Memory:
    """What one client knows of one tenant: its counter, and the atoms that it made."""

    counter: UUID
    atoms: deque[UUID] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def learn(self, change: Change) -> None:
        """The transaction happened."""
        self.forget(change)
        self.atoms.extend(change.made)

    def forget(self, change: Change) -> None:
        """The transaction may have happened: what it retired may be gone."""
        for atom in change.gone:
            if atom in self.atoms:
                self.atoms.remove(atom)


@dataclass(frozen=True)
class Change:
    """What a transaction made, and what nobody should work with any more once it happened."""

    made: tuple[UUID, ...] = ()
    gone: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class Work:
    """All that a transaction needs: where, as which attempt, what the client knows, and its random choices."""

    session: Session
    run: Run
    attempt: Attempt
    memory: Memory
    choose: random.Random

    def tag(self, item: int) -> str:
        return self.attempt.tag(self.run, item)

    def atom(self) -> UUID:
        """One of the client's atoms."""
        return self.choose.choice(self.memory.atoms)


@dataclass(frozen=True)
class Kind:
    """A kind of transaction that writes: how often, the traces it leaves, and the atoms it needs to begin with."""

    name: str
    weight: int
    items: int
    needs: int
    write: Callable[[Work], Change]


def create(work: Work) -> Change:
    """One new atom."""
    return Change(made=_create(work, 1))


def derive(work: Work) -> Change:
    """One new atom, and the earlier one that it comes from."""
    (atom,) = _create(work, 1)
    _relate(work, atom, work.atom(), item=1)
    return Change(made=(atom,))


def revise(work: Work) -> Change:
    """One atom gets a new value."""
    _revise(work, work.atom(), item=0)
    return Change()


def retire(work: Work) -> Change:
    """One atom is deleted, softly."""
    atom = work.atom()
    values = {"id": atom, "number": number_of(work.tag(0)), "tag": work.tag(0)}
    _one_row(work.session.execute(QUERIES.retire, values).rowcount)
    return Change(gone=(atom,))


def replace(work: Work) -> Change:
    """Three new atoms that come from an earlier one, which gets a new value: all of it or nothing."""
    source = work.atom()
    made = _create(work, 3)
    _relate(work, made[0], source, item=3)
    _relate(work, made[1], source, item=4)
    _revise(work, source, item=5)
    return Change(made=made)


WRITES = (
    Kind("create", 25, 1, 0, create),
    Kind("derive", 20, 2, 1, derive),
    Kind("revise", 40, 1, 1, revise),
    Kind("retire", 5, 1, 1, retire),
    Kind("replace", 10, 6, 1, replace),
)


def read_atom(session: Session, memory: Memory, choose: random.Random) -> None:
    """A point read of an atom that the client was told about.

    Raises:
        RowMissing
    """
    if memory.atoms and session.execute(QUERIES.read_atom, {"id": choose.choice(memory.atoms)}).fetchone() is None:
        raise RowMissing


def list_by_type(session: Session, memory: Memory, choose: random.Random) -> None:
    """A page of a list."""
    session.execute(QUERIES.list_by_type, {"type": choose.choice(KINDS)}).fetchall()


READS = (read_atom, read_atom, list_by_type)
READ_SHARE = 0.3  # of all transactions


def count_up(work: Work) -> None:
    """Raise the client's counter, in the same transaction."""
    _one_row(work.session.execute(QUERIES.count_up, {"counter": work.memory.counter}).rowcount)


def _create(work: Work, count: int) -> tuple[UUID, ...]:
    types = [work.choose.choice(KINDS) for _ in range(count)]
    names = [f"{work.choose.choice(SUBJECTS)} {work.choose.randrange(10_000)}" for _ in range(count)]
    tags = [work.tag(item) for item in range(count)]
    rows = {
        "types": types,
        "names": names,
        "values": list(map(seal, types, names, tags)),
        "numbers": list(map(number_of, tags)),
        "tags": tags,
    }
    return tuple(row[0] for row in work.session.execute(QUERIES.create_atoms, rows).fetchall())


def _relate(work: Work, source: UUID, target: UUID, *, item: int) -> None:
    work.session.execute(QUERIES.relate, {"from": source, "to": target, "tag": work.tag(item)})


def _revise(work: Work, atom: UUID, *, item: int) -> None:
    values = {"id": atom, "number": number_of(work.tag(item)), "tag": work.tag(item)}
    found = work.session.execute(QUERIES.revise, values)
    _one_row(found.rowcount)


def number_of(tag: str) -> Decimal:
    """The value that a trace gives its atom: it follows from the tag, so that another one in its place shows."""
    return Decimal(int(_md5(tag)[:7], 16)) / 100


def seal(atom_type: str, name: str, tag: str) -> str:
    """What an atom keeps of how it was created."""
    return _md5(f"{atom_type}:{name}:{tag}")


def _md5(text: str) -> str:
    # PostgreSQL computes it too, in `traces`; against mistakes, not against forgers.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _one_row(count: int) -> None:
    if count != 1:
        raise RowMissing

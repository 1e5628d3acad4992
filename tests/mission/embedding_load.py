"""Code of before and code of after a change that gives atoms an embedding, at work while it is made."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from uuid import UUID

from kos.tenancy import Store

SHORT = 0.002  # seconds between two transactions, at least
RESTS = 9  # times as long as the last one took: else on a busy machine rows come faster than the change can fill them
PATIENCE_SECONDS = 60.0

READ = "select name, value from atoms where id = %s"
CHANGE = "update atoms set number_value = number_value + 1 where id = %s"
OLD_INSERT = "insert into atoms (atom_type, name, value) values ('T', %s, %s)"
NEW_INSERT = "insert into atoms (atom_type, name, value, embedding) values ('T', %s, %s, %s)"
NEW_CHANGE = "update atoms set value = %s, embedding = %s where id = %s"


class Embedding:
    """Sessions in each tenant that read, change and insert atoms until the block ends. What failed is in `failed`.

    Until `deploy` they are code of before, which knows no embedding; from then on code of after, which gives one with
    every value that it writes.
    """

    def __init__(self, store: Store, atoms: dict[str, list[UUID]], embed: Callable[[str], str]) -> None:
        self.failed: list[str] = []
        self.longest = 0.0  # seconds that a transaction took
        self._store = store
        self._embed = embed
        self._new = False
        self._over = threading.Event()
        self._rounds = [0] * len(atoms)
        self._threads = [
            threading.Thread(target=self._work, args=(number, tenant, ids), daemon=True)
            for number, (tenant, ids) in enumerate(atoms.items())
        ]

    def __enter__(self) -> Embedding:
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    def deploy(self) -> None:
        """Code of after takes the place of that of before: nobody is code of before when this returns."""
        self._new = True
        self.go_on()

    def go_on(self, rounds: int = 10) -> None:
        """Return when each session has done so many more rounds."""
        wanted = [each + rounds for each in self._rounds]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(done < want for done, want in zip(self._rounds, wanted, strict=True)):
            assert time.monotonic() < deadline, "the load stands still"
            time.sleep(SHORT)

    def _work(self, number: int, tenant: str, ids: list[UUID]) -> None:
        dice = random.Random(number)
        took = 0.0
        while not self._over.wait(max(SHORT, RESTS * took)):
            began = time.monotonic()
            try:
                self._round(tenant, dice.choice(ids), f"{tenant} {self._rounds[number]}")
            except Exception as error:
                self.failed.append(f"{type(error).__name__}: {error}")
            took = time.monotonic() - began
            self.longest = max(self.longest, took)
            self._rounds[number] += 1

    def _round(self, tenant: str, atom: UUID, text: str) -> None:
        with self._store.tenant(tenant) as session:
            session.execute(READ, (atom,), prepare=True)
            session.execute(CHANGE, (atom,), prepare=True)
            if self._new:
                session.execute(NEW_INSERT, (text, text, self._embed(text)), prepare=True)
                session.execute(NEW_CHANGE, (text, self._embed(text), atom), prepare=True)
            else:
                session.execute(OLD_INSERT, (text, text), prepare=True)

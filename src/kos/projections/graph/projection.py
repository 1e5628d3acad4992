"""The graph as a projection."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from kos import errors
from kos.projections.graph import statements
from kos.projections.graph.batch import Batch, batch_of, batch_of_rows
from kos.projections.graph.comparing import differences
from kos.projections.graph.mapping import GraphMap
from kos.projections.graph.shipped import SHIPPED
from kos.projections.graph.writing import MOST, Writing
from kos.projections.model import Change, Difference, Reached, Row, Standing, Whose
from kos.tenancy.store import Connection
from kos.topology import graph as opening
from kos.topology.model import GraphServer

if TYPE_CHECKING:
    from neo4j import Session, Transaction

NAME = "graph"
ATTEMPTS = 5  # of a transaction that another one of the server's stood in the way of
GRACE_SECONDS = 120.0  # a generation that readers see no more is kept so long: their transactions end before
WRITE_SECONDS = 600.0
# A transaction gets so long at first, and for each row: who was frozen within one keeps its locks until WRITE_SECONDS
# are over, and who follows has other tenants. One that was slow by itself is done again.
FIRST_SECONDS, FIRST_SECONDS_PER_ROW = 5.0, 0.02
MOST_SOUGHT = 5_000  # edges of one batch that are found by their ids only, in a look at all of the tenant's
LONGEST_PAUSE = 1.0  # between two parts of what is removed
# Of no change, though the server calls it the client's mistake: it took too long; ArcadeDB says such where a commit has
# failed, and not why.
OF_TRANSACTION = "Neo.ClientError.Transaction."
TIMED_OUT, LOCKED = "TimedOut", "LockClientStopped"  # the second: it had waited for a lock until then
ANSWER_SECONDS = 120.0  # that the server may say nothing while it is asked
T = TypeVar("T")


def scope_of(tenant: UUID, generation: str) -> str:
    """What every node and edge of a generation carries."""
    return f"{tenant}/{generation}"


class GraphProjection:
    """Neo4j, or what speaks like it, over Bolt. See `kos.projections.model.Projection`."""

    def __init__(
        self,
        server: GraphServer,
        graph: GraphMap = SHIPPED,
        *,
        name: str = NAME,
        grace: float = GRACE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.wanted = graph.wanted
        self._server, self._graph, self._grace, self._sleep = server, graph, grace * 1000, sleep
        self._declared = hashlib.blake2b(repr(graph).encode(), digest_size=16).hexdigest()
        self._driver = opening.open(server, answer_seconds=ANSWER_SECONDS)

    def close(self) -> None:
        self._driver.close()

    def prepare(self) -> None:
        with self._session() as session:
            for statement in statements.schema(self._graph):
                session.run(statement).consume()

    def identity(self) -> str:
        def ask(tx: Transaction) -> str:
            made = secrets.token_hex(16)
            return str(tx.run(statements.IDENTITY, identity=made).single(strict=True)["identity"])

        try:
            return self._write(ask)
        except errors.ChangeRejected:  # another one has made it at the same moment
            return self._write(ask)

    def asking(self) -> Sequence[Whose]:
        return ()

    def live(self, whose: Whose) -> Standing | None:
        with self._session() as session:
            found = session.run(statements.LIVE, tenant=str(whose.tenant)).single()
        # What was made of other declarations is none of ours: it is made anew, and shown until then.
        return standing_of(found) if found and found["declared"] == self._declared else None

    def begin(self, whose: Whose, generation: str) -> Standing:
        scope = scope_of(whose.tenant, generation)
        self._write(
            lambda tx: tx.run(
                statements.BEGIN, scope=scope, tenant=str(whose.tenant), declared=self._declared
            ).consume()
        )
        return Standing(generation, Reached())

    def load(self, whose: Whose, standing: Standing, rows: Sequence[Row]) -> None:
        scope = scope_of(whose.tenant, standing.generation)
        batch = batch_of_rows(self.name, self._graph, scope, standing.reached.position, rows)
        chunk = secrets.token_hex(8)

        def write(tx: Transaction) -> None:
            loading = tx.run(statements.LOADING, scope=scope, chunk=chunk).single()
            if loading is None:
                raise errors.ProjectionMoved(self.name, str(whose.tenant))
            if loading["done"]:
                return
            Writing(self._graph, batch, tx, loading["pending"]).write()

        self._write(write, rows=len(rows))

    def apply(
        self, whose: Whose, standing: Standing, changes: Sequence[Change], reached: Reached, *, rehearse: bool = False
    ) -> Standing:
        scope = scope_of(whose.tenant, standing.generation)
        batch = batch_of(self.name, self._graph, scope, changes)
        if (sought := sum(map(len, batch.seek.values()))) > MOST_SOUGHT:
            raise errors.TransactionTooLong(str(whose.tenant), sought)  # to make all of it anew is less
        try:
            self._write(lambda tx: self._apply(tx, whose, standing, batch, reached), len(changes), rehearse=rehearse)
        except errors.ChangeRejected:
            if not batch.create:
                raise
            doubting = batch.doubting()  # one of them was there after all, or it is another fault
            self._write(lambda tx: self._apply(tx, whose, standing, doubting, reached), len(changes), rehearse=rehearse)
        return replace(standing, reached=reached)

    def _apply(self, tx: Transaction, whose: Whose, standing: Standing, batch: Batch, reached: Reached) -> None:
        before = standing.reached
        moved = tx.run(
            statements.MOVE,
            scope=batch.scope,
            position=before.position,
            incarnation=before.incarnation,
            to_position=reached.position,
            to_incarnation=reached.incarnation,
            to_leaf=(reached.leaf or b"").hex(),
        ).single()
        if moved is None:
            raise errors.ProjectionMoved(self.name, str(whose.tenant))
        Writing(self._graph, batch, tx, moved["pending"]).write()

    def switch(self, whose: Whose, standing: Standing) -> None:
        scope = scope_of(whose.tenant, standing.generation)

        def change(tx: Transaction) -> None:
            switched = tx.run(statements.SWITCH, scope=scope, tenant=str(whose.tenant)).single()
            if switched is None:
                raise errors.ProjectionMoved(self.name, str(whose.tenant))
            before = switched["before"]
            if before not in ("", scope):
                tx.run(statements.SUPERSEDE, scope=before).consume()

        self._write(change)

    def clear(self, whose: Whose) -> None:
        with self._session() as session:
            found = session.run(statements.GENERATIONS, tenant=str(whose.tenant)).data()
        for each in found:
            if not each["live"] and each["unseen"] > self._grace:
                with suppress(errors.StoreBusy):  # then the next one does it
                    self._remove(each["scope"])

    def tidy(self) -> None:
        with self._session() as session:
            found = session.run(statements.SUPERSEDED, grace=self._grace).data()
        for each in found:
            with suppress(errors.StoreBusy):
                self._remove(each["scope"])

    def forget(self, tenant: UUID) -> None:
        # First what leads there: from then on nobody can see it.
        self._write(lambda tx: tx.run(statements.REMOVE_TENANT, tenant=str(tenant)).consume())
        with self._session() as session:
            found = session.run(statements.GENERATIONS, tenant=str(tenant)).data()
        for each in found:
            self._remove(each["scope"])

    def compare(
        self, whose: Whose, standing: Standing, rows: Iterable[Row], log: Connection | None = None
    ) -> Iterator[Difference]:
        with self._session() as session:
            yield from differences(session, self._graph, scope_of(whose.tenant, standing.generation), rows)

    # how it is asked

    def _remove(self, scope: str) -> None:
        """A generation, in parts; what says that it is there goes last."""
        if self._write(lambda tx: tx.run(statements.CLOSE, scope=scope).single()) is None:
            return  # it is shown meanwhile, or somebody else has removed it
        with self._session() as session:
            labels = [each["label"] for each in session.run(statements.LABELS).data()]
        for label in labels:
            if not label.startswith("Kos"):
                self._until_none(statements.remove_some(label.replace("`", "``")), scope=scope)
        self._until_none(statements.REMOVE_PENDING_OF, scope=scope)
        self._write(lambda tx: tx.run(statements.REMOVE_GENERATION, scope=scope).consume())

    def _until_none(self, cypher: str, **parameters: Any) -> None:
        def some(tx: Transaction) -> int:
            return int(tx.run(cypher, most=MOST, **parameters).single(strict=True)["removed"])

        began = time.monotonic()
        while self._write(some):
            # As long as it took: nobody waits for it, and others want the server.
            self._sleep(min(time.monotonic() - began, LONGEST_PAUSE))
            began = time.monotonic()

    def _write(self, work: Callable[[Transaction], T], rows: int = 0, *, rehearse: bool = False) -> T:
        """One transaction.

        Raises:
            StoreBusy: somebody else's has its lock, and does not end.
        """
        from neo4j.exceptions import ClientError, TransientError

        seconds = FIRST_SECONDS + rows * FIRST_SECONDS_PER_ROW
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._session(retried=True) as session, session.begin_transaction(timeout=seconds) as tx:
                    done = work(tx)
                    if rehearse:
                        tx.rollback()
                    else:
                        tx.commit()
                    return done
            except TransientError as error:
                if attempt == ATTEMPTS:
                    raise errors.StoreUnavailable("the graph", self._server.uri, str(error)) from error
                self._sleep(0.01 * 2**attempt)
            except ClientError as error:  # it took too long
                if seconds == WRITE_SECONDS or attempt == ATTEMPTS:
                    raise errors.ChangeRejected(self.name, opening.reason(error)) from error
                seconds = WRITE_SECONDS
        raise AssertionError

    @contextmanager
    def _session(self, *, retried: bool = False) -> Iterator[Session]:
        """Errors of the driver as ours: what the server calls the client's mistake is a change that it won't have. What
        is passing, such as a server that starts, and what took too long, is left to who tries it again."""
        from neo4j.exceptions import AuthError, ClientError, DriverError, Neo4jError, TransientError

        try:
            with self._driver.session(database=self._server.database) as session:
                yield session
        except TransientError as error:
            if retried:
                raise
            raise errors.StoreUnavailable("the graph", self._server.uri, opening.reason(error)) from error
        except AuthError as error:
            raise errors.StoreUnavailable("the graph", self._server.uri, opening.reason(error)) from error
        except ClientError as error:
            code = error.code or ""
            if LOCKED in code:
                raise errors.StoreBusy("the graph", "somebody else's transaction has its lock") from error
            if retried and TIMED_OUT in code:
                raise
            if code.startswith(OF_TRANSACTION) and TIMED_OUT not in code:
                raise errors.StoreUnavailable("the graph", self._server.uri, opening.reason(error)) from error
            raise errors.ChangeRejected(self.name, opening.reason(error)) from error
        except (DriverError, Neo4jError, OSError) as error:
            raise errors.StoreUnavailable("the graph", self._server.uri, opening.reason(error)) from error


def standing_of(found: Any) -> Standing:
    """From a record of `LIVE`."""
    leaf = bytes.fromhex(found["leaf"]) or None
    generation = found["scope"].partition("/")[2]
    return Standing(generation, Reached(found["incarnation"], found["position"], leaf))

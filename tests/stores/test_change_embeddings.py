"""The example of embeddings, with a model: similar atoms are found, by the index, among real data."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fix_samples import Site
from kos.knowledge.samples import load_sample
from kos.schema_change import finish, plan_change, start
from kos.schema_change.fill_python import load
from kos.tenancy import Session, Store, create_tenant

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "examples"
CHANGE = (EXAMPLES / "add-embedding.sql").read_text()
TEXTS = {
    "money": (
        "the price of a bicycle in the shop",
        "how much does a new bike cost",
        "a discount lowers the price that a customer pays",
        "customers pay the invoice within thirty days",
    ),
    "weather": (
        "rain and wind are expected tomorrow",
        "the storm brings heavy rain and snow",
        "sunny weather with a light wind",
        "temperatures fall and snow is likely",
    ),
    "database": (
        "a database stores rows in tables",
        "an index makes queries of a table fast",
        "the server runs SQL queries on the database",
        "a transaction locks rows of a table",
    ),
}
NEAREST = "select atom_type, name from atoms where name <> %(text)s order by embedding <=> %(embedding)s limit 3"


@pytest.fixture
def embeddings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, from where `kos` finds it: the current folder."""
    pytest.importorskip("wordllama", reason="the model's package is not there for this platform")
    monkeypatch.chdir(EXAMPLES)
    load("embeddings:embed_atoms")
    return sys.modules["embeddings"]


@pytest.fixture
def filled(store: Store, site: Site, embeddings: ModuleType) -> Store:
    """Two tenants of the row tier, and one with a schema of its own, all with embeddings of places and sentences."""
    for name, tier in (("acme", "row"), ("globex", "row"), ("initech", "schema")):
        create_tenant(store, name, tier)
        load_sample(store, "cities", name, site=site.folder)
        with store.tenant(name) as session:
            for kind, texts in TEXTS.items():
                for text in texts:
                    session.execute("insert into atoms (atom_type, name) values (%s, %s)", (kind, text))
    start(store, plan_change(store, CHANGE, name="embedding"))
    finish(store)
    return store


def by_index(session: Session, *, on: bool = True) -> None:
    """No other way, however few rows there are. `on` and on, until there are rows enough of this tenant."""
    session.execute("set local enable_seqscan = off")
    session.execute("set local enable_bitmapscan = off")
    session.execute("set local enable_sort = off")
    if on:
        session.execute("set local hnsw.iterative_scan = strict_order")


@pytest.mark.parametrize("tenant", ["acme", "globex", "initech"])
def test_what_is_near_is_alike(filled: Store, embeddings: ModuleType, tenant: str) -> None:
    alike = 0
    with filled.tenant(tenant) as session:
        by_index(session)
        for kind, texts in TEXTS.items():
            for text in texts:
                values = {"text": text, "embedding": embeddings.embedding_of(text)}
                plan = "\n".join(line for (line,) in session.execute(f"explain {NEAREST}", values).fetchall())
                assert re.search(r"Index Scan using atoms_by_embedding", plan), plan
                found = session.execute(NEAREST, values).fetchall()
                assert len(found) == 3
                alike += found[0][0] == kind
    assert alike >= 10, f"of {sum(map(len, TEXTS.values()))} sentences, {alike} stand beside one that is like them"


@pytest.mark.parametrize(
    ("question", "kind", "answer"),
    [
        ("how expensive is it?", "money", "a discount lowers the price that a customer pays"),
        ("will it be cold?", "weather", "temperatures fall and snow is likely"),
        ("which query is slow?", "database", "an index makes queries of a table fast"),
    ],
)
def test_a_question_finds_its_answer(
    filled: Store, embeddings: ModuleType, question: str, kind: str, answer: str
) -> None:
    """With which it shares hardly a word."""
    with filled.tenant("initech") as session:
        by_index(session)
        values = {"text": "", "embedding": embeddings.embedding_of(question)}
        assert session.execute(NEAREST, values).fetchall()[0] == (kind, answer)


def test_the_index_of_the_row_tier_goes_on_until_the_tenant_has_enough(filled: Store, embeddings: ModuleType) -> None:
    """It knows no tenants: the nearest are everybody's, and others' are left out afterwards."""
    query = NEAREST.replace("limit 3", "limit 60")
    values = {"text": "", "embedding": embeddings.embedding_of("rain")}
    counts = []
    for on in (False, True):
        with filled.tenant("acme") as session:
            by_index(session, on=on)
            session.execute("set local hnsw.ef_search = 5")
            counts.append(len(session.execute(query, values).fetchall()))
    assert counts[0] < counts[1] == 60


def test_new_code_writes_what_the_fill_would_have(filled: Store, embeddings: ModuleType) -> None:
    write = "insert into atoms (atom_type, name, value, embedding) values ('T', %s, %s, %s)"
    differ = (
        "select count(*) from atoms a join atoms b using (name, value)"
        " where b.atom_type = 'T' and a.id <> b.id and a.embedding <=> b.embedding > 1e-6"
    )
    with filled.tenant("initech") as session:
        rows = session.execute("select name, value from atoms where value is not null").fetchall()
        for name, value in rows:
            session.execute(write, (name, value, embeddings.embedding_of(name, value)))
        assert session.execute(differ).fetchone() == (0,)

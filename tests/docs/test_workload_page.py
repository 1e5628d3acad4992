"""docs/reference/workload.md has every record of the ledger with its keys, every kind of transaction, every count."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from kos.workload import Result, Speed, Verdict
from kos.workload.ledger import FORMAT, Attempt, Ledger, Run
from kos.workload.transactions import WRITES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "workload.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its header."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in table[0].splitlines()[2:]]


def test_every_kind_of_transaction() -> None:
    total = sum(kind.weight for kind in WRITES)
    told = [(name.strip("` |"), share, int(items)) for name, share, _, items in rows("What a client does")]
    assert told == [(kind.name, f"{100 * kind.weight // total} %", kind.items) for kind in WRITES]


def test_every_record_and_its_keys(tmp_path: Path) -> None:
    attempt = Attempt("a1", "workload-1", 0, "create", 1)
    with Ledger(tmp_path / "run.ledger", Run("r1", ("workload-1",), 1, 7)) as ledger:
        ledger.intend(attempt)
        ledger.acknowledge(attempt)
        ledger.fail(attempt, known=True, reason="StoreUnavailable")
    written = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    told = {kind.strip("` |"): re.findall(r"`(\w+)`", keys) for kind, _, keys in rows("The file")}
    assert told == {record.pop("record"): list(record) for record in written}
    assert f"`format` ({FORMAT})" in PAGE


def test_every_count() -> None:
    kinds = (Verdict, Speed, Result)
    counts = {field.name for kind in kinds for field in dataclasses.fields(kind) if field.type in {"int", "float"}}
    assert [
        name for name in counts - {"clients", "seconds"} if f"| `{name}`" not in PAGE and f", `{name}`" not in PAGE
    ] == []

"""The ledger: what was appended is read again, and damage is told from a cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import pytest

from kos.errors import LedgerBusy, LedgerDamaged, LedgerExists, LedgerMissing, LedgerUnwritable
from kos.workload import newest
from kos.workload.ledger import Attempt, Ledger, Outcome, Run, new_id, read, settled

RUN = Run("01a20ae7-b235-759b-b575-95b0a9a5f8fb", ("workload-1", "workload-2"), clients=2, seed=7)
FIRST = Attempt("a1", "workload-1", 0, "create", 1)
SECOND = Attempt("a2", "workload-2", 1, "replace", 6)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with two attempts: one acknowledged, one of which nobody knows."""
    path = tmp_path / "run.ledger"
    with Ledger(path, RUN) as ledger:
        ledger.intend(FIRST)
        ledger.acknowledge(FIRST)
        ledger.intend(SECOND)
        ledger.fail(SECOND, known=False, reason="OutcomeUnknown")
    return path


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_what_was_appended_is_read(path: Path) -> None:
    assert list(read(path)) == [
        RUN,
        FIRST,
        Outcome("a1", acknowledged=True, known=True),
        SECOND,
        Outcome("a2", acknowledged=False, known=False, reason="OutcomeUnknown"),
    ]


def test_every_record_is_one_line_of_json(path: Path) -> None:
    kinds = [json.loads(line)["record"] for line in lines_of(path)]
    assert kinds == ["run", "intent", "acknowledged", "intent", "failed"]


def test_only_its_owner_can_read_it(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("missing", [1, 10, 40])
def test_a_cut_last_line_is_left_out(path: Path, missing: int) -> None:
    path.write_bytes(path.read_bytes()[:-missing])
    assert list(read(path)) == [RUN, FIRST, Outcome("a1", acknowledged=True, known=True), SECOND]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, b'{"record":"run","format":1,"id":"x"}\n'),
        (1, b'{"record":"run","format":2,"id":"x","tenants":[],"clients":1,"seed":1}\n'),
        (1, b'{"record":"intent","id":"a","tenant":"t","client":0,"does":"create","items":1}\n'),
        (2, b'{"record":"intent","id":"a1","tena'),
        (2, b'{"record":"intent","id":"a1"}\n'),
        (2, b'{"record":"intent","id":1,"tenant":"t","client":0,"does":"create","items":1}\n'),
        (2, b'{"record":"intent","id":"a1","tenant":"t","client":0,"does":"create","items":-1}\n'),
        (2, b'{"record":"intent","id":"a1","tenant":"t","client":0,"does":"create","items":1000000000000}\n'),
        (3, b'{"record":"acknowledged"}\n'),
        (3, b'{"record":"forgotten","attempt":"a1"}\n'),
        (3, b'{"record":"failed","attempt":"a1","known":"maybe","reason":"?"}\n'),
        (3, b"[]\n"),
        (3, b"null\n"),
        (3, b"\n"),
        (4, b"\xff\xfe\n"),
        (4, b'{"record":"run","format":1,"id":"x","tenants":[],"clients":1,"seed":1}\n'),
        (5, b"not json, but whole\n"),
    ],
)
def test_damage_is_told_with_its_line(path: Path, number: int, line: bytes) -> None:
    lines = lines_of(path)
    lines[number - 1] = line
    path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerDamaged) as caught:
        list(read(path))
    assert caught.value.line == number


def test_a_cut_first_line_is_damage(path: Path) -> None:
    path.write_bytes(lines_of(path)[0][:-5])
    with pytest.raises(LedgerDamaged):
        list(read(path))


def test_there_must_be_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerMissing):
        list(read(tmp_path / "none.ledger"))
    with pytest.raises(LedgerMissing), settled(tmp_path / "none.ledger"):
        pass
    with pytest.raises(LedgerMissing):
        newest(tmp_path)


def test_a_ledger_is_never_written_twice(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(LedgerExists):
        Ledger(path, RUN)
    assert path.read_bytes() == before


def test_a_ledger_that_is_being_written_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "run.ledger"
    with Ledger(path, RUN), pytest.raises(LedgerBusy), settled(path):
        pass
    with settled(path):
        pass


def test_the_newest_is_the_last_run(tmp_path: Path) -> None:
    for moment in (3_000, 1_000, 2_000):
        run = Run(new_id(lambda moment=moment: moment), (), 1, 1)
        Ledger(tmp_path / f"{run.id}.ledger", run).close()
    ids = [new_id(lambda moment=moment: moment)[:13] for moment in (3_000, 1_000, 2_000)]
    assert newest(tmp_path).name[:13] == max(ids)


def test_ids_are_uuids_of_version_7() -> None:
    made = UUID(new_id(lambda: 1_700_000_000_123))
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == 1_700_000_000_123
    assert len({new_id(lambda: 1) for _ in range(1_000)}) == 1_000


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.ledger"
    with Ledger(path, RUN) as ledger:

        def write(client: int) -> None:
            for number in range(500):
                ledger.intend(Attempt(f"{client}-{number}", "workload-1", client, "create", 1))

        threads = [threading.Thread(target=write, args=(client,)) for client in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [record.id for record in read(path) if isinstance(record, Attempt)]
    assert sorted(found) == sorted(f"{client}-{number}" for client in range(8) for number in range(500))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from kos.errors import LedgerUnwritable
from kos.workload.ledger import Attempt, Ledger, Run

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the write that goes beyond is cut, as by a full disk
ledger = Ledger(Path(sys.argv[1]), Run("r", ("workload-1",), 1, 1))
refused = 0
for number in range(20):
    try:
        ledger.intend(Attempt(f"a{number}", "workload-1", 0, "create", 1))
        assert not refused, "written behind a cut record"
    except LedgerUnwritable:
        refused += 1
print(number + 1 - refused)
"""


def test_a_full_disk_cuts_the_last_line_only(tmp_path: Path) -> None:
    path = tmp_path / "run.ledger"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert path.stat().st_size == 1_000
    attempts = [record for record in read(path) if isinstance(record, Attempt)]
    assert len(attempts) == int(done.stdout) > 0


def test_a_closed_ledger_takes_nothing(path: Path) -> None:
    ledger = Ledger(path.with_name("other.ledger"), RUN)
    ledger.close()
    with pytest.raises(LedgerUnwritable):
        ledger.intend(FIRST)


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnwritable):
        Ledger(tmp_path / "file" / "run.ledger", RUN)

"""The linter: what is dangerous is found, what is harmless is not, and what a file did before counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kos import errors
from kos.schema_change.lint import LINT_RULES, NAMES, Finding, lint
from kos.schema_change.lint_display import show_findings, show_rules
from kos.schema_change.lint_transactions import LOCK_TIMEOUT
from lint_corpus import DANGEROUS, SAFE, Case

SQUAWK = Path(sys.executable).with_name("squawk")
TIMED = "set lock_timeout = '200ms';\n"
UNTIMED = "set lock_timeout = 0;\n"


def rules(text: str, **options: bool) -> list[str]:
    return [each.rule for each in lint(text, **options)]


def alone(sql: str) -> str:
    """A file of one statement, under a lock_timeout where that does no harm."""
    return (UNTIMED if "concurrently" in sql else TIMED) + sql


@pytest.mark.parametrize("case", DANGEROUS, ids=lambda case: f"{case.rule}: {case.sql[:60]}")
def test_what_is_dangerous(case: Case) -> None:
    found = lint(alone(case.sql))
    assert case.rule in [each.rule for each in found]
    assert {each.line for each in found} == {2}


def test_every_rule_finds_something() -> None:
    in_context = {
        "index-under-lock-timeout",
        "write-under-lock",
        "not-in-transaction",
        "enum-value-in-transaction",
        "transaction",
        "lock-timeout",
    }
    assert {each.rule for each in DANGEROUS} | in_context == set(NAMES)


@pytest.mark.parametrize("sql", SAFE)
def test_what_is_harmless(sql: str) -> None:
    assert lint(alone(sql)) == []


# The danger that squawk sees is style, or none that a running product meets.
STYLE = {
    "ban-char-field",
    "identifier-too-long",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-table-schema",
}
EXCEPTIONS = {
    "ban-drop-not-null": "a moment's lock, and what old code writes still goes in",
    "ban-create-domain-with-constraint": "no table has it yet; found where a column gets it, or the domain is changed",
    "require-enum-value-ordering": "no statement fails; where a value sorts is for its author to say",
    "require-statement-timeout": "it would end VALIDATE and CREATE INDEX CONCURRENTLY, which are meant to last; the "
    "wait for a lock is what stops others, and has its own rule",
}
# The rule of squawk's, a statement, and why only there.
HERE = {
    ("adding-foreign-key-constraint", "alter table x add column z integer references y"): "the column is all null: "
    "nothing is read, as test_what_postgresql_does shows",
    ("require-concurrent-index-creation", "create index i on only parent (k)"): "builds nothing: the index of a "
    "partitioned table, to which those of its partitions are attached",
    (
        "ban-alter-domain-with-add-constraint",
        "alter domain positive add constraint d check (value > 0) not valid",
    ): "no row is read",
    ("renaming-object", "alter index x_b rename to x_bb"): "no statement says an index's name",
}
MORE = (
    "alter table x alter column a drop not null",
    "alter table x alter column a drop default",
    "create domain d as integer check (value > 0)",
    "alter table x add column z integer references y",
    "alter table x add column z integer not null",
    "alter table x add column z integer not null default null",
    "create unique index i on x (a)",
    "drop table if exists x",
    "alter table x rename to z",
    "begin; alter table x add constraint d check (a > 0) not valid; alter table x validate constraint d; commit",
    "begin; create index concurrently i on x (a); commit",
    "begin; create index concurrently i on x (a); drop index concurrently x_b; commit",
    "begin; alter table x add z integer",
    "begin; begin; commit",
    "commit",
    "alter table x alter column a type text using a::text",
    "truncate y cascade",
    "alter materialized view kept rename to z",
    "alter sequence numbers rename to z",
    "alter domain positive rename to z",
    "alter table x alter column a set not null, drop column b",
)


def squawk(folder: Path, statements: list[str]) -> dict[str, set[str]]:
    """What squawk says of each, in a file of its own."""
    for number, sql in enumerate(statements):
        (folder / f"{number}.sql").write_text(alone(sql) + ";\n")
    command = [SQUAWK, "--reporter", "json", "--pg-version", "15", *sorted(map(str, folder.glob("*.sql")))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    found: dict[str, set[str]] = {sql: set() for sql in statements}
    for each in json.loads(done.stdout):
        found[statements[int(Path(each["file"]).stem)]].add(each["rule_name"])
    return found


def test_squawk_as_a_second_opinion(tmp_path: Path) -> None:
    statements = sorted({*(case.sql for case in DANGEROUS), *SAFE, *MORE})
    said = squawk(tmp_path, statements)
    dangers = {(rule, sql) for sql, named in said.items() for rule in named - STYLE - EXCEPTIONS.keys()}
    assert {(rule, sql) for rule, sql in dangers - HERE.keys() if not lint(alone(sql))} == set()
    assert len({rule for rule, _ in dangers}) >= 30  # it has been asked


def test_no_exception_is_out_of_date(tmp_path: Path) -> None:
    statements = sorted({*(case.sql for case in DANGEROUS), *SAFE, *MORE})
    said = squawk(tmp_path, statements)
    assert EXCEPTIONS.keys() <= set().union(*said.values())
    assert [(rule, sql) for rule, sql in HERE if rule not in said[sql]] == []


# what a file did before


@pytest.mark.parametrize(
    "text",
    [
        "create table z (id integer, a integer); create index on z (a); alter table z add unique (a); "
        "alter table z alter a set not null; alter table z alter a type text; alter table z drop column a; "
        "alter table z rename to zz; create index on zz (id); drop table zz",
        "create table s.z (a integer); create index i on z (a); drop index i",
        "create view v as select 1; drop view v",
        "create type e as enum ('a'); alter type e rename value 'a' to 'b'; drop type e",
        TIMED + "alter table x add z integer; alter table x rename z to zz",
        TIMED + "alter table x add z integer; alter table x drop z",
        TIMED + "alter table x add z integer default 3; alter table x alter z drop default",
        TIMED + "alter table x add constraint d check (a is not null) not valid; alter table x validate constraint d; "
        "alter table x alter a set not null; alter table x drop constraint d",
        TIMED
        + "alter table x add check (b > 0 and a is not null) not valid; alter table x validate constraint x_check; "
        "alter table x alter a set not null",
        TIMED + "alter table x add constraint d not null a not valid; alter table x validate constraint d; "
        "alter table x alter a set not null",
        TIMED + "create policy p on x using (true); alter table x enable row level security",
        TIMED + "alter table apart add constraint d check (k = 2) not valid; alter table apart validate constraint d; "
        "alter table parent attach partition apart for values in (2); alter table apart drop constraint d",
        "create table part (k integer); alter table parent attach partition part for values in (3)",
        "begin; set local lock_timeout = '1s'; alter table x add z integer; commit",
        "select set_config('lock_timeout', '1s', false); alter table x add z integer",
        "begin; alter type mood add value 'glad'; commit; update x set m = 'glad' where id = 1",
        TIMED + "begin; alter table x add z integer; insert into y values (1); "
        "update alembic_version set version_num = '2' where alembic_version.version_num = '1'; commit",
        TIMED + "begin; alter table x add constraint d check (a > 0) not valid; commit; "
        "begin; alter table x validate constraint d; commit",
    ],
)
def test_what_the_file_itself_has_made_is_in_nobodys_way(text: str) -> None:
    assert lint(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A proof must be a valid one, of that column, and still there.
        (
            "alter table x add constraint d check (a is not null) not valid; alter table x alter a set not null",
            ["not-null"],
        ),
        (
            "alter table x add constraint d check (b is not null) not valid; alter table x validate constraint d; "
            "alter table x alter a set not null",
            ["not-null"],
        ),
        (
            "alter table x add constraint d check (a is not null or b > 0) not valid; "
            "alter table x validate constraint d; alter table x alter a set not null",
            ["not-null"],
        ),
        (
            "alter table x add constraint d check (a is not null) not valid; alter table x validate constraint d; "
            "alter table x drop constraint d, alter a set not null",
            ["not-null"],
        ),
        # PostgreSQL drops first, whatever stands first.
        (
            "alter table x add constraint d check (a is not null) not valid; alter table x validate constraint d; "
            "alter table x alter a set not null, drop constraint d",
            ["not-null"],
        ),
        # A new column that must be given is one that old code does not give.
        ("alter table x add z integer not null default 3; alter table x alter z drop default", ["drop-default"]),
        ("drop table x; create table x (id integer); create index on x (id)", ["drop-table"]),
        ("create domain d as integer check (value > 0); alter table x add z d", ["domain"]),
        (
            "begin; alter table x add constraint d check (a > 0) not valid; "
            "alter table x validate constraint d; commit",
            ["validate-under-lock"],
        ),
        (
            "alter table x add constraint d check (a > 0) not valid, validate constraint d",
            ["validate-under-lock"],
        ),
        ("begin; alter table x add z integer; update x set z = 1 where id < 9; commit", ["write-under-lock"]),
        ("begin; alter table x add z integer; insert into y select id from x; commit", ["write-under-lock"]),
        (
            "begin; alter type mood add value 'glad'; update x set m = 'glad' where id = 1; commit",
            ["enum-value-in-transaction"],
        ),
        ("begin; alter table x add z integer", ["transaction"]),
        ("begin; begin; commit", ["transaction"]),
        ("commit", ["transaction"]),
        ("create index concurrently i on x (a)", ["index-under-lock-timeout"]),
        ("reindex (concurrently) index x_b", ["index-under-lock-timeout"]),
        ("begin; alter system set work_mem = '1MB'; commit", ["not-in-transaction"]),
        ("begin; drop index concurrently x_b; commit", ["not-in-transaction"]),
        ("begin; alter table parent detach partition child concurrently; commit", ["not-in-transaction"]),
    ],
)
def test_what_came_before_makes_it_dangerous(text: str, expected: list[str]) -> None:
    assert rules(TIMED + text) == expected


def test_an_index_that_is_built_concurrently_inside_of_a_transaction() -> None:
    assert rules("begin; create index concurrently i on x (a); commit") == ["not-in-transaction"]
    assert rules("create index concurrently i on x (a)", in_transaction=True) == ["not-in-transaction"]
    assert rules("create index concurrently i on x (a)") == []


def test_a_missing_lock_timeout_is_one_finding_for_the_file() -> None:
    text = "create table z (id integer);\nalter table z add a integer;\nalter table x add z integer;\ndrop table y;\n"
    assert [(each.rule, each.line) for each in lint(text)] == [("lock-timeout", 3), ("drop-table", 4)]


@pytest.mark.parametrize(
    "text",
    [
        "set local lock_timeout = '1s'; alter table x add z integer",  # in no transaction: counts for nothing
        "begin; set local lock_timeout = '1s'; commit; alter table x add z integer",
        "set lock_timeout = 0; alter table x add z integer",
        "set lock_timeout = '1s'; reset lock_timeout; alter table x add z integer",
        "set lock_timeout = '1s'; set lock_timeout to default; alter table x add z integer",
        "set lock_timeout = '1s'; reset all; alter table x add z integer",
        "set statement_timeout = '1s'; alter table x add z integer",
        "create table z (x integer references x)",
        "create table z partition of parent for values in (3)",
        "drop trigger t on x",
        "create policy p on x using (true)",
    ],
)
def test_a_lock_timeout_that_is_none(text: str) -> None:
    assert rules(text) == ["lock-timeout"]


# lines, comments, mistakes


def test_lines_in_a_file_of_many() -> None:
    text = """-- Größe: 3 µm
        set lock_timeout = '200ms';

        alter table "Größe"
          add column "ä" integer,
          add column "ö" uuid default gen_random_uuid(),
          add constraint "ü" check ("ä" > 0);

        /* several
           lines */
        create index i
          on "Größe" ("ä");"""
    found = [(each.line, each.rule, each.statement) for each in lint(text)]
    assert found == [
        (6, "volatile-default", 'ALTER TABLE "Größe" ADD COLUMN "ö" uuid DEFAULT gen_random_uuid()'),
        (7, "check", 'ALTER TABLE "Größe" ADD CONSTRAINT "ü" CHECK ("ä" > 0)'),
        (11, "index", 'create index i on "Größe" ("ä")'),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "-- kos: allow drop-column\nalter table x drop column a;",
        "alter table x drop column a; -- kos: allow drop-column",
        "alter table x\n  -- kos: allow drop-column\n  drop column a;",
        "select 1;\n\n-- nobody reads it\n-- kos: allow drop-column, drop-table\n\nalter table x drop column a;",
        "/* kos: allow drop-column */ alter table x drop column a;",
    ],
)
def test_what_is_allowed(text: str) -> None:
    assert rules(TIMED + text) == []


def test_a_statement_of_the_same_line_ends_what_is_allowed() -> None:
    text = "alter table x drop column a; -- kos: allow drop-column\nalter table x drop column b;\n"
    assert [each.line for each in lint(TIMED + text)] == [3]


def test_other_rules_are_not_allowed_with_it() -> None:
    assert rules(TIMED + "-- kos: allow index\nalter table x drop column a") == ["drop-column"]


def test_what_is_of_the_file_is_allowed_anywhere_in_it() -> None:
    assert rules("alter table x add z integer;\n\n-- kos: allow lock-timeout\n") == []


@pytest.mark.parametrize("said", ["allow drop-colum", "allow", "allow drop-column because"])
def test_a_rule_that_there_is_not(said: str) -> None:
    with pytest.raises(errors.ChangeUnreadable) as refused:
        lint(f"select 1;\n-- kos: {said}\nselect 2")
    assert refused.value.line == 2


def test_other_comments_for_kos_are_none_of_its_business() -> None:
    assert lint("-- kos: fill x.z = a + 1\nselect 1 -- kos:allowed") == []


@pytest.mark.parametrize(("text", "line"), [("select 1;\nalter tabel x", 2), ("select 'a\n\n", 1), ("select (", 1)])
def test_what_is_no_sql(text: str, line: int) -> None:
    with pytest.raises(errors.ChangeUnreadable) as refused:
        lint(text)
    assert refused.value.line == line


@pytest.mark.parametrize("text", ["", "  \n-- nothing\n", ";;"])
def test_an_empty_file(text: str) -> None:
    assert lint(text) == []


# what it says


def advised(finding: Finding) -> str:
    """The statements of its advice, as they would be run."""
    return "\n".join(line for line in finding.instead.splitlines() if line.split(" ")[0].isupper())


ONLINE = {
    "index",
    "drop-index",
    "reindex",
    "unique",
    "primary-key",
    "check",
    "foreign-key",
    "not-null",
    "detach-partition",
}


@pytest.mark.parametrize("case", [each for each in DANGEROUS if each.rule in ONLINE], ids=lambda case: case.sql)
def test_its_own_advice_passes(case: Case) -> None:
    [finding] = [each for each in lint(alone(case.sql)) if each.rule == case.rule]
    assert advised(finding).endswith(";") or "--" in advised(finding)
    serial = {"numbered-column"} if "serial" in case.sql else set()
    assert set(rules(advised(finding))) - serial <= {LOCK_TIMEOUT.name}


def test_the_advice_for_18_needs_no_check() -> None:
    [finding] = lint(TIMED + "alter table x alter a set not null", version=18)
    assert "NOT NULL a NOT VALID" in finding.instead
    assert rules(TIMED + advised(finding)) == []


@pytest.mark.parametrize("case", DANGEROUS, ids=lambda case: f"{case.rule}: {case.sql[:60]}")
def test_a_lock_that_it_names_is_the_one(case: Case) -> None:
    """Together with what `test_what_postgresql_does` sees there."""
    [finding, *_] = [each for each in lint(alone(case.sql)) if each.rule == case.rule]
    names = {
        "AccessExclusiveLock": "ACCESS EXCLUSIVE",
        "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
        "ShareLock": "SHARE",
    }
    if case.lock and any(f"({name})" in finding.danger for name in names.values()):
        assert f"({names[case.lock]})" in finding.danger


def test_what_people_see(capsys: pytest.CaptureFixture[str]) -> None:
    show_findings({"0002.sql": lint(TIMED + "create index i on x (a)"), "0003.sql": []})
    shown = capsys.readouterr().out
    assert shown.startswith("0002.sql:2: index\n")
    assert "kos change start FILE" in shown
    assert shown.endswith("1 finding in 2 files\n")


def test_the_rules_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_rules()
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:]] == NAMES
    assert len(NAMES) <= len(LINT_RULES)


def test_another_expression_rewrites_what_is_stored() -> None:
    add = "alter table x add z integer generated always as (a) virtual;\n"
    change = "alter table x alter {} set expression as (a * 2);"
    assert rules(TIMED + add + change.format("z")) == []
    (found,) = lint(TIMED + add + change.format("computed"))
    assert (found.rule, found.line) == ("rewrite", 3)
    assert "unless computed is VIRTUAL (PostgreSQL 18)" in found.danger
    assert "-- kos: allow rewrite" in found.instead

"""From facts to a plan. Reads only: nothing here could change anything, the transaction refuses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from psycopg.sql import Identifier

from kos import errors, sql
from kos.adoption import blockers, effects, facts, mends, sensitive
from kos.adoption.classes import CANDIDATES, choose_column, classify
from kos.adoption.facts import Connection, Facts, Relation, Statistic
from kos.adoption.mends import Owned
from kos.adoption.model import Blocker, Effects, Lock, Plan, Table, Wanted
from kos.progress import Advance, silent

GRANTS = sql.load("kos.adoption", "grants.sql")
EVENT_BYTES = 150  # of an event beside its image: ids, position, leaf, and what the page and the index add

LOCKS = (
    Lock("log", "create trigger", "SHARE ROW EXCLUSIVE", "writers", "one change of the catalog"),
    Lock("enforce", "alter table … enable row level security", "ACCESS EXCLUSIVE", "readers and writers",
         "one change of the catalog"),
    Lock("enforce", "create policy", "ACCESS EXCLUSIVE", "readers and writers", "one change of the catalog"),
)  # fmt: skip


def plan(connection: Connection, wanted: Wanted, *, shard: str = "", progress: Advance = silent) -> Plan:
    """What taking these tables in would mean. `connection` is the operator's; what it can't read is left open.

    Raises:
        NothingMatches, UnknownTenantColumn, NoTenantColumn, SensitiveUnclear, NoSensitiveColumn, SensitiveKey
    """
    with facts.reading(connection):
        found = facts.read(connection, [wanted.tenant_column] if wanted.tenant_column else CANDIDATES)
        chosen = select(found, wanted)
        column = choose_column(found, wanted.tenant_column)
        owned = Owned(found, classify(found, column), column)
        asked = [place.column for place in owned.places.values() if place.column]
        known = facts.statistics(connection, found, asked)
        hides = _hides(connection, owned, chosen, wanted)
        tables = []
        for number, relation in enumerate(chosen, start=1):
            whole = relation.root is None or any(each.oid == relation.root for each in chosen)
            reasons = tuple(_blockers(connection, owned, relation, known)) if whole else (_part(owned, relation),)
            hidden = hides.get((relation.schema, relation.name), {})
            tables.append(replace(_table(connection, owned, relation, known, wanted, reasons), sensitive=hidden))
            progress("tables", number, len(chosen))
        affected = None
        if wanted.level == "enforce":
            oids = [each.oid for each in chosen if owned.places[each.oid].of_class in ("tenant", "root", "partition")]
            affected = effects.read(connection, owned, oids)
    return _summed(owned, wanted, tuple(tables), affected, shard)


def select(found: Facts, wanted: Wanted) -> list[Relation]:
    """The tables that are meant, partitions after their parents.

    Raises:
        NothingMatches: a pattern, or the schema, is of no table.
    """
    there = [each for each in found.relations.values() if wanted.schema in (None, each.schema)]
    for pattern in wanted.patterns:
        if not any(matches(each.schema, each.name, pattern) for each in there):
            raise errors.NothingMatches(pattern, found.here.database)
    if not there:
        raise errors.NothingMatches(f"{wanted.schema or ''}.*".removeprefix("."), found.here.database)
    if not wanted.patterns:
        return there
    named = {each.oid for each in there if any(matches(each.schema, each.name, pattern) for pattern in wanted.patterns)}
    return [each for each in there if each.oid in named or each.root in named]


def matches(schema: str, table: str, pattern: str) -> bool:
    """Is that table meant? Patterns are of `table` or `schema.table`."""
    return fnmatchcase(table, pattern) or fnmatchcase(f"{schema}.{table}", pattern)


def _table(
    connection: Connection,
    owned: Owned,
    relation: Relation,
    known: dict[tuple[int, str], Statistic],
    wanted: Wanted,
    reasons: tuple[Blocker, ...],
) -> Table:
    place, parts = owned.places[relation.oid], owned.facts.parts(relation.oid)
    leaves = [part for part in parts if part.kind == "r"] or [relation]
    rows = _sum([each.rows for each in leaves])
    unusable = any(each.kind in ("key", "type", "nulls", "unsuitable") and each.capabilities for each in reasons)
    statistic = known.get((relation.oid, place.column.name)) if place.column else None
    tenants = _estimate(statistic, rows)
    if wanted.count and place.of_class in ("tenant", "root") and place.column:
        tenants = facts.count_tenants(connection, relation, place.column)
    writes, image = sum(each.writes for each in leaves), _image(leaves, rows)
    key = blockers.key_of(owned, relation.oid)
    hopeless = any(each.kind in ("nulls", "unsuitable") for each in reasons)
    phases = mends.keys_sql(owned, relation.oid) if place.of_class == "tenant" and not hopeless else ()
    return Table(
        name=relation.full_name,
        oid=relation.oid,
        schema=relation.schema,
        table=relation.name,
        of_class="unusable" if unusable and place.of_class != "partition" else place.of_class,
        column=place.column.name if place.column else None,
        type=place.column.type if place.column else None,
        tenants=tenants,
        rows=rows,
        bytes=relation.bytes + sum(part.bytes for part in parts),
        owner=relation.owner,
        key=key.columns if key else (),
        partition_of=owned.facts.relations[relation.root].full_name if relation.root in owned.facts.relations else None,
        partitions=len(parts),
        path=blockers.way(owned, relation.oid),
        row_triggers=relation.row_triggers,
        writes=writes,
        log_bytes=None if image is None else writes * image,
        baseline_bytes=_baseline(wanted.baseline, rows, image),
        sensitive={},
        blockers=reasons,
        columns_sql=mends.column_sql(owned, relation.oid) if place.path else (),
        keys_sql=phases,
    )


def _hides(
    connection: Connection, owned: Owned, chosen: list[Relation], wanted: Wanted
) -> dict[sensitive.Names, dict[str, str]]:
    if not wanted.sensitive:
        return {}
    whole = [each for each in chosen if each.root is None]
    columns = facts.column_names(connection, whole)
    keys = {(each.schema, each.name): blockers.key_of(owned, each.oid) for each in whole}
    return sensitive.hidden(
        wanted.sensitive, columns, {names: key.columns for names, key in keys.items() if key is not None}
    )


def _blockers(
    connection: Connection, owned: Owned, relation: Relation, known: dict[tuple[int, str], Statistic]
) -> Iterator[Blocker]:
    place = owned.places[relation.oid]
    if place.of_class == "partition":
        return  # all of it is said of the table that it is a part of
    yield from blockers.of_table(relation)
    nulls: bool | None = False
    if place.column and not place.column.not_null and relation.kind in "rp":
        nulls = facts.has_nulls(connection, relation, place.column)
        statistic = known.get((relation.oid, place.column.name))
        if nulls is None and statistic and statistic.nulls > 0:
            nulls = True
    yield from blockers.of_columns(owned, relation, nulls)
    yield from blockers.of_keys(owned, relation)
    yield from blockers.of_rights(owned, relation)


def _part(owned: Owned, relation: Relation) -> Blocker:
    whole = owned.facts.relations[relation.root or relation.oid].full_name
    return Blocker("unsuitable", blockers.ALL, f"a partition of {whole}: name that table")


def _estimate(statistic: Statistic | None, rows: int | None) -> int | None:
    """PostgreSQL's n_distinct: a number of values or, where it is negative, a part of the rows."""
    if statistic is None or (statistic.distinct < 0 and rows is None):
        return None
    return round(statistic.distinct if statistic.distinct >= 0 else -statistic.distinct * (rows or 0))


def _sum(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _image(leaves: list[Relation], rows: int | None) -> int | None:
    """Bytes of an event with a whole row in it, by the size of the rows that are there."""
    if not rows:
        return EVENT_BYTES if rows == 0 else None
    return EVENT_BYTES + sum(each.row_bytes for each in leaves) // rows


def _baseline(baseline: str, rows: int | None, image: int | None) -> int | None:
    """What the rows that are there add to the log: at once, at most by the changes that come, or nothing."""
    if baseline == "none":
        return 0
    return None if rows is None or image is None else rows * image


def _summed(owned: Owned, wanted: Wanted, tables: tuple[Table, ...], affected: Effects | None, shard: str) -> Plan:
    here, whole = owned.facts.here, [each for each in tables if each.of_class != "partition"]
    counted: dict[str | None, int] = {}  # a tenant's value of one type is none of another type
    for each in whole:
        if each.tenants is not None:
            counted[each.type] = max(counted.get(each.type, 0), each.tenants)
    log = sum(each.log_bytes or 0 for each in whole)
    return Plan(
        shard=shard,
        database=here.database,
        level=wanted.level,
        baseline=wanted.baseline,
        installed=here.installed,
        tenant_column=owned.column,
        tenant_types=dict(Counter(each.type for each in whole if each.column == owned.column and each.type)),
        tenants=sum(counted.values()) if counted else None,
        tenants_exact=wanted.count,
        counted_since=here.counted_since,
        log_bytes=log,
        log_bytes_per_day=round(log * 86400 / here.counted_seconds) if here.counted_seconds else None,
        baseline_bytes=sum(each.baseline_bytes or 0 for each in whole),
        tables=tables,
        locks=tuple(each for each in LOCKS if wanted.level in ("enforce", each.level)),
        grants=tuple(_grants(owned, whole)),
        effects=affected,
    )


def _grants(owned: Owned, tables: list[Table]) -> Iterator[str]:
    """What an administrator has to grant before these tables can be changed."""
    here = owned.facts.here
    if not here.may_create:
        yield mends.text(GRANTS.grant_create.format(database=Identifier(here.database)))
    lacking = [each for each in tables if any(one.kind == "grant" for one in each.blocked("row_security"))]
    owners = sorted({each.owner for each in lacking})
    if owners and not here.adopter_exists:
        yield mends.text(GRANTS.make_adopter)
    if owners and not here.adopter_granted:
        yield mends.text(GRANTS.grant_adopter.format(operator=Identifier(here.role)))
    for owner in owners:
        yield mends.text(GRANTS.grant_owner.format(owner=Identifier(owner)))
    named = {each.name for each in tables}
    closed = {each.schema for each in owned.facts.relations.values() if each.full_name in named and not each.may_open}
    for schema in sorted(closed):
        yield mends.text(GRANTS.grant_schema.format(schema=Identifier(schema)))


def check(found: Plan, wanted: Wanted) -> None:
    """Refuse the first table that was named and can't be taken in at this level. `--all` leaves such tables out.

    Raises:
        TableWithoutKey, TenantColumnHasNulls, TypeNotCarried, TableUnsuitable, ChildWithoutColumn, GrantMissing
    """
    capability = {"log": "log", "enforce": "row_security"}.get(wanted.level)
    if capability is None or not wanted.patterns:
        return
    for table in found.tables:
        for blocker in (*table.blocked("log"), *table.blocked(capability)):
            raise _refusal(found, table, blocker)


def _refusal(found: Plan, table: Table, blocker: Blocker) -> errors.AdoptionError:
    if blocker.kind == "key":
        return errors.TableWithoutKey(table.name)
    if blocker.kind == "nulls":
        return errors.TenantColumnHasNulls(table.name, table.column or found.tenant_column)
    if blocker.kind == "type":
        return errors.TypeNotCarried(table.name, blocker.reason)
    if blocker.kind == "column":
        return errors.ChildWithoutColumn(table.name, found.tenant_column, ", ".join(table.path))
    if blocker.kind == "grant":
        return errors.GrantMissing(table.name, table.owner, blocker.reason, " ".join(found.grants))
    return errors.TableUnsuitable(table.name, blocker.reason)

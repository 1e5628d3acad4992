"""Foreign keys: new rows are bound first, then orphans are dealt with as a directive says, then all rows are proved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Identifier, Literal

from kos import errors
from kos.schema_change import constraints
from kos.schema_change.composing import SHARE_ROW_EXCLUSIVE, action, add_constraint_sql, provisional_name, use_physical
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.facts import Table, read_table
from kos.schema_change.model import Action, Fill
from kos.schema_change.naming import choose, joined
from kos.schema_change.parse import names
from kos.schema_change.partitions import SMALL, of_partitions, partitions_of

DROP: LiteralString = "alter table {table} drop constraint {name}"
DROP_IF_THERE: LiteralString = "alter table if exists {table} drop constraint if exists {name}"


def add(draft: Draft, table: str, constraint: Any) -> None:
    """ALTER TABLE … ADD FOREIGN KEY …

    Raises:
        ChangeRefused: there is no table, or no key in it, that it refers to.
    """
    logical = names(constraint.fk_attrs)
    name = constraint.conname or choose(draft, table, joined(logical), "fkey")
    draft.taken[name] = tuple(logical)
    name = constraint.conname = provisional_name(draft, table, name)
    use_physical(draft, table, constraint)
    referred = constraint.pktable.relname
    theirs = [draft.column(referred, each) for each in names(constraint.pk_attrs)]
    if theirs:
        del constraint.pk_attrs[:]
        for each in theirs:
            constraint.pk_attrs.add().string.sval = each
    orphans = _orphans(draft, table, constraint, logical)
    if draft.table(table).kind == "p":
        add_by_partition(draft, table, constraint, orphans)
        return
    asked = constraint.is_enforced and not constraint.skip_validation
    constraint.skip_validation, constraint.initially_valid = constraint.is_enforced, False
    against = _violated(draft, constraint) if asked else ""
    _bind(draft, table, constraint, against="" if orphans else against)
    if orphans:
        draft.tighten.append(orphans)
    if asked:
        draft.tighten.append(_validation(draft, table, constraint, orphans, against))


def _also(constraint: Any) -> tuple[str, ...]:
    return () if constraint.pktable.schemaname else (constraint.pktable.relname,)


def _validation(draft: Draft, table: str, constraint: Any, orphans: Fill | None, against: str) -> Action:
    """New orphans are refused by then, but an update moves old ones, whom their clean-up then misses: again, if so."""
    validation = constraints.validation(draft, table, constraint.conname, also=_also(constraint), against=against)
    return replace(validation, repeat=orphans.name if orphans else None)


def _bind(
    draft: Draft,
    table: str,
    constraint: Any,
    *,
    text: str = "",
    drop: LiteralString = DROP,
    against: str = "",
    first: tuple[str, ...] = (),
) -> None:
    name = constraint.conname
    made = action(
        draft,
        table,
        text or f"add foreign key {name} to {table}, for new rows",
        (*first, add_constraint_sql(table, constraint)),
        (ddl(drop, table=table, name=name),),
        lock=SHARE_ROW_EXCLUSIVE,
        also=_also(constraint),
    )
    draft.bound[table, name] = made
    draft.tighten.append(replace(made, against=against))


def add_by_partition(draft: Draft, table: str, constraint: Any, orphans: Fill | None = None) -> None:
    """NOT VALID is not for partitioned tables before PostgreSQL 18. Each partition gets the key for itself; that of the
    whole table takes theirs over, as they are, without looking at the rows."""
    name, leaves = constraint.conname, [each for each in partitions_of(draft, table) if each.is_leaf]
    begin = len(draft.tighten)
    if constraint.skip_validation:
        raise errors.ChangeRefused(
            f"{table}: {name} NOT VALID",
            "a partitioned table can't have a foreign key that isn't valid",
            "leave out NOT VALID: rows are validated while everybody may write",
        )
    parent = type(constraint)()
    parent.CopyFrom(constraint)
    constraint.skip_validation, constraint.initially_valid = True, False
    against = _violated(draft, constraint)
    for leaf in leaves:
        # With the whole table's, if that was taken back before, the partition's is gone.
        _bind(draft, leaf.name, constraint, drop=DROP_IF_THERE, against="" if orphans else against)
    if orphans:
        draft.tighten.append(orphans)
    for leaf in leaves:
        draft.tighten.append(_validation(draft, leaf.name, constraint, orphans, against))
    draft.tighten[begin:] = of_partitions(draft.tighten[begin:], leaves)
    text = f"add foreign key {name} to {table}, of those of its partitions"
    _bind(draft, table, parent, text=text, first=(_all_have(table, name),))


def _all_have(table: str, name: str) -> str:
    """See that no partition is read with the table locked: one that came after the plan was made, with rows."""
    body = ddl(_LATE, table=Literal(ddl("{table}", table=table)), name=Literal(name), small=Literal(SMALL))
    return ddl("do {body}", body=Literal(body))


_LATE = """
declare
  late text := (
    select t.relid::regclass::text from pg_partition_tree({table}::regclass) t
     where t.isleaf and pg_relation_size(t.relid) > {small} * current_setting('block_size')::bigint
       and not exists (select from pg_constraint k where k.conrelid = t.relid and k.conname = {name} and k.convalidated)
     limit 1);
begin
  if late is not null then
    raise invalid_object_definition
      using message = format('%s is a partition that came after the plan was made, with rows, and has not %I:'
                             ' take the change back, and start it again', late, {name});
  end if;
end"""


def _orphans(draft: Draft, table: str, constraint: Any, logical: list[str]) -> Fill | None:
    """The clean-up that a directive for one of the columns asks for."""
    asked = {
        each: draft.directives.orphans[table, each] for each in logical if (table, each) in draft.directives.orphans
    }
    if not asked:
        return None
    name, facts, own = constraint.conname, draft.table(table), names(constraint.fk_attrs)
    if len(set(asked.values())) > 1:
        raise errors.ChangeRefused(
            f"{table}: {name}", "orphans are deleted or lose their reference, not both", "write one orphans directive"
        )
    whole = constraint.fk_matchtype == "f"
    assign: dict[str, str] = {}
    if "delete" not in asked.values():
        emptied = own if whole else [draft.column(table, each) for each in asked]
        _refuse_not_null(facts, emptied)
        assign = dict.fromkeys(emptied, "null")
    fate = "lose their reference" if assign else "are deleted"
    return Fill(
        name=f"{draft.number()} orphans of {name} in {table}",
        text=f"rows of {table} without a row that {name} refers to {fate}",
        table=table,
        owner=facts.owner,
        needs=_missing(own, _referred(draft, constraint), constraint, whole=whole),
        assign=assign,
        rows=facts.rows,
        delete=not assign,
    )


def _violated(draft: Draft, constraint: Any) -> str:
    """The condition for rows that refer to nothing; "" where only PostgreSQL knows."""
    own = names(constraint.fk_attrs)
    try:
        theirs = _referred(draft, constraint)
    except errors.ChangeRefused:  # a table that the change makes; or PostgreSQL refuses it, and says why
        return ""
    if constraint.fk_with_period or len(own) != len(theirs):
        return ""
    return _missing(own, theirs, constraint, whole=constraint.fk_matchtype == "f")


def _refuse_not_null(facts: Table, columns: list[str]) -> None:
    for each in columns:
        if each in facts.columns and facts.columns[each].not_null:
            raise errors.ChangeRefused(
                f"orphans {facts.name}.{each} null",
                "the column is NOT NULL",
                f"write: orphans {facts.name}.{each} delete",
            )


def _referred(draft: Draft, constraint: Any) -> list[str]:
    """The columns that are referred to: those that are named, else the primary key's."""
    if named := names(constraint.pk_attrs):
        return named
    target = constraint.pktable
    facts = (
        read_table(draft.connection, target.schemaname, target.relname)
        if target.schemaname
        else draft.table(target.relname)
    )
    if facts is None or not facts.key:
        raise errors.ChangeRefused(
            f"foreign key to {target.relname}", "that has no primary key", "name the columns that are referred to"
        )
    return list(facts.key)


def _missing(own: list[str], theirs: list[str], constraint: Any, *, whole: bool) -> str:
    """A condition over a row that refers to nothing. A subquery gives the other table's columns names that no column of
    this one has, so that none of this one is mistaken for one of the other."""
    target = Identifier(*filter(None, (constraint.pktable.schemaname, constraint.pktable.relname)))
    aliases = [Identifier(f"kos_{number}") for number in range(len(theirs))]
    listed = SQL(", ").join(
        SQL("{} as {}").format(Identifier(each), alias) for each, alias in zip(theirs, aliases, strict=True)
    )
    pairs: list[Composable] = [
        SQL("kos_referred.{} = {}").format(alias, Identifier(each)) for each, alias in zip(own, aliases, strict=True)
    ]
    columns = SQL(", ").join(map(Identifier, own))
    missing = SQL(
        "num_nulls({columns}) = 0 and not exists"
        " (select from (select {listed} from {target}) as kos_referred where {pairs})"
    ).format(columns=columns, listed=listed, target=target, pairs=SQL(" and ").join(pairs))
    if whole and len(own) > 1:
        half = SQL("num_nulls({}) not in (0, {})").format(columns, len(own))
        missing = SQL("({}) or ({})").format(half, missing)
    return missing.as_string()

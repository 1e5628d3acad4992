"""A second column of another type, with all that hangs on the first, which takes its place in one transaction.

The second is kept equal both ways from the start. What binds rows over the first (unique indexes, checks, foreign keys,
those of other tables too) is made over the second when the change is finished; then the first is dropped with its own,
and the second and what is over it get the names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kos import errors
from kos.schema_change import columns, constraints, foreign_keys, indexes, trees, unique_keys
from kos.schema_change.belongings import Belongings
from kos.schema_change.composing import SHARE_ROW_EXCLUSIVE, action, add_constraint_sql
from kos.schema_change.draft import Draft, bare, ddl, granting
from kos.schema_change.facts import Column, Constraint, Index, Table, read_grants, read_table
from kos.schema_change.hanging import hanging, keep_watch
from kos.schema_change.model import BUILD, CONTRACT, Fill
from kos.schema_change.parse import (
    definition,
    inner,
    names,
    parse_statement,
    rename_columns,
    renamed_in_index,
    render,
)
from kos.schema_change.sync import Pair, catch_up, pair_triggers
from kos.sql import literal


@dataclass(frozen=True)
class Wanted:
    """What the column is to be: a name, which may be its own, a type, a collation or "", and what makes the one value
    of the other."""

    called: str
    type: str
    collation: str
    forward: str
    backward: str


def replace_column(draft: Draft, facts: Table, known: Column, wanted: Wanted) -> None:
    """All steps, from the second column to its having the name of the first.

    Raises:
        ChangeRefused: a partition has something of its own on the column, or that is in an EXCLUDE.
    """
    _refuse(draft, facts, known)
    # As it is now: what is known of it may tell of another column that this change replaces.
    now = read_table(draft.connection, draft.schema, facts.name)
    keep_watch(draft, hanging(draft.connection, now or facts, known.name))
    new = _successor(draft, facts, known, wanted)
    unmade = _expand(draft, facts, known, new, wanted)
    draft.physical[facts.name, wanted.called] = draft.successors[facts.name, known.name] = new
    if new != wanted.called:
        draft.fresh.setdefault(facts.name, set()).add(new)
    not_null = _is_not_null(draft, facts, known, wanted.called)
    facts.columns[new] = replace(known, name=new, type=wanted.type, not_null=not_null, sequence=None, comment=None)
    swap = _Swap(draft, facts, known, new, wanted.called)
    swap.copy_indexes()
    swap.copy_constraints()
    swap.copy_references()
    if not_null:
        named = [each.name for each in facts.constraints.values() if each.kind == "n" and known.name in each.columns]
        held = draft.name("not_null") if named else None
        columns.require_not_null(draft, facts.name, new, constraint=held)
        if held:
            swap.rename("constraint", held, named[0])
    swap.at_the_end(unmade)
    swap.hand_on()
    draft.analyze(facts.name, BUILD, CONTRACT)
    draft.warnings.append(
        f"{facts.name}.{known.name}: until the change is finished it has its old type, and {new} beside it the new one"
    )


def _refuse(draft: Draft, facts: Table, known: Column) -> None:
    what = f"{facts.name}.{known.name}"
    if facts.kind not in ("r", "p"):
        raise errors.ChangeRefused(what, "it is not of a table that rows are stored in", "do it yourself")
    default = ddl("alter table {t} alter column {c} set default ", t=facts.name, c=known.name)
    if any(each.do[0].startswith(default) for each in draft.expand):
        instead = "write the other type first, and then the default"
        raise errors.ChangeRefused(what, "this change has given it a default above", instead)
    trees.refuse_own(draft.connection, facts, known.name)
    for each in facts.constraints.values():
        if each.kind == "x" and known.name in each.columns:
            raise errors.ChangeRefused(
                what, f"{each.name} EXCLUDE reads it, whose index can't be built concurrently", "drop that before"
            )


def _successor(draft: Draft, facts: Table, known: Column, wanted: Wanted) -> str:
    """The name of the second column: the one that it is to have, unless the first has that."""
    if wanted.called != known.name:
        return wanted.called
    new = f"{known.name}_new"
    if new in facts.columns or draft.is_fresh(facts.name, new) or len(new.encode()) > 63:
        return draft.name(known.name)
    return new


def _is_not_null(draft: Draft, facts: Table, known: Column, called: str) -> bool:
    loosened = ddl("alter table {t} alter column {c} drop not null", t=facts.name, c=called)
    asked = known.not_null or bool({(facts.name, known.name), (facts.name, called)} & draft.not_null)
    return asked and loosened not in draft.queued(facts.name)


def _expand(draft: Draft, facts: Table, known: Column, new: str, wanted: Wanted) -> tuple[str, ...]:
    """The column, its triggers and its fill. Returns what takes the triggers away."""
    table = facts.name
    pair = Pair(table, known.name, new, known.type, wanted.type, wanted.forward, wanted.backward)
    kept = pair_triggers(draft, pair)
    kind = wanted.type + (f" collate {wanted.collation}" if wanted.collation else "")
    add = [ddl("alter table {table} add column {new} {kind}", table=table, new=new, kind=literal(kind))]
    if (default := _default(draft, facts, known, wanted.called, new)) is not None:
        # Only to see that it suits the type: better now than at the end.
        add += [default, ddl("alter table {table} alter column {new} drop default", table=table, new=new)]
    add += [granting(table, new, each) for each in read_grants(draft.connection, facts) if each.column == known.name]
    drop = ddl("alter table {table} drop column {new}", table=table, new=new)
    text = f"{table}.{known.name} as {wanted.type} beside it: {new}"
    draft.expand.append(action(draft, table, text, (*add, *kept.do), (*kept.undo, drop)))
    value = ddl("cast({value} as {type})", value=literal(wanted.forward), type=literal(wanted.type))
    # What is there, a trigger has made: in its writer's session, where it may be another value than in the fill's.
    needs = ddl("{new} is null and record_image_ne(row({new}), row({value}))", new=new, value=literal(value))
    name = f"{draft.number()} fill {table}.{new}"
    draft.fill.append(
        Fill(name, f"{table}.{new} = {wanted.forward}", table, facts.owner, needs, {new: value}, rows=facts.rows)
    )
    # Before anything binds the rows, and names none.
    draft.tighten.append(action(draft, table, f"{text}, all the while", (kept.check,), lock=""))
    draft.tighten.append(catch_up(draft, pair, facts.owner))
    return kept.end


def _default(draft: Draft, facts: Table, known: Column, called: str, column: str) -> str | None:
    """The default of the first column, for another; what the change has said of it above counts."""
    clause = ddl("alter table {t} alter column {c} ", t=facts.name, c=called)
    said = [each.removeprefix(clause) for each in draft.queued(facts.name) if each.startswith(clause)]
    said = [each for each in said if each.endswith("default") or each.startswith("set default")]
    if said:
        wanted = said[-1] if said[-1].startswith("set default") else None
    else:
        wanted = f"set default {known.default}" if known.default is not None else None
    if wanted is None:
        return None
    return ddl("alter table {t} alter column {c} {said}", t=facts.name, c=column, said=literal(wanted))


class _Swap(Belongings):
    """What is over the second column, and how it gets the names of what is over the first."""

    def __init__(self, draft: Draft, facts: Table, known: Column, new: str, called: str) -> None:
        super().__init__(draft, facts, known, new, called)
        self.before: list[str] = []
        self.after: list[str] = []
        self.also: list[str] = []

    def rename(self, what: str, temporary: str, name: str, table: str | None = None) -> None:
        """When the first column is gone, the name is free."""
        if what == "index":
            self.after.append(ddl("alter index {old} rename to {new}", old=temporary, new=name))
        else:
            self.after.append(
                ddl(
                    "alter table {table} rename constraint {old} to {new}",
                    table=table or self.facts.name,
                    old=temporary,
                    new=name,
                )
            )

    def copy_indexes(self) -> None:
        """Plain ones at once. Unique ones bind old code too, where the conversion makes equal what was not."""
        draft = self.draft
        for each in filter(self.over, self.facts.indexes.values()):
            assert isinstance(each, Index)
            if not each.valid:
                continue
            node = renamed_in_index(each.definition, self.known.name, self.new)
            node.idxname = draft.name("index")
            steps: list[Any] = draft.tighten if each.unique else draft.build
            if each.unique:
                draft.warnings.append(
                    f"{self.facts.name}: while finish has {each.name} twice, two INSERT … ON CONFLICT of one key that"
                    " meet may fail (unique_violation), and are to be run again"
                )
            if self.facts.kind == "p":
                self._of_partitions(each, node, steps)
                continue
            steps.append(indexes.concurrent_action(draft, self.facts.name, node))
            if each.constraint is None:
                self.rename("index", node.idxname, each.name)
            else:
                self._attach(self.facts.constraints[each.constraint], node.idxname)
            if each.replica_identity:
                self.after.append(
                    ddl("alter table {t} replica identity using index {i}", t=self.facts.name, i=each.name)
                )

    def _of_partitions(self, known: Index, node: Any, steps: list[Any]) -> None:
        """Of the table and all partitions: they change names before the first column goes with its own."""
        draft, table = self.draft, self.facts.name
        if known.constraint is None:
            steps += indexes.by_partition(draft, table, node, node.idxname)
        else:
            made = _parsed(self.facts.constraints[known.constraint])
            _rename_in(made, self.known.name, self.new)
            if known.primary:
                made.conname = known.name
                self.before += trees.primary_key(draft, table, made, self.new)
                return
            made.conname = node.idxname
            taken = dict(draft.taken)
            draft.tighten += unique_keys.by_partition(draft, table, made, node.idxname, primary=False)
            draft.taken.update(dict.fromkeys(draft.taken.keys() - taken, ()))  # nobody asked for them
        self.before.append(trees.swap_index_names(known.name, node.idxname))

    def _attach(self, known: Constraint, index: str) -> None:
        """One that waits for the end of a transaction does so at once; as a bare index it would not."""
        made, table = _parsed(known), self.facts.name
        key = type(made)()
        key.contype, key.conname, key.indexname = made.contype, known.name, index
        key.deferrable, key.initdeferred = made.deferrable, made.initdeferred
        if not (made.deferrable and known.kind == "u"):
            self.after.append(add_constraint_sql(table, key))
            return
        key.conname = index
        self.draft.tighten.append(unique_keys.waiting(self.draft, table, key))
        self.rename("constraint", index, known.name)

    def copy_constraints(self) -> None:
        """Checks and foreign keys."""
        for each in filter(self.over, self.facts.constraints.values()):
            assert isinstance(each, Constraint)
            refers_here = each.kind == "f" and each.refers_to == ddl("{t}", t=self.facts.name)
            if each.kind not in "cf" or (refers_here and self._is_referred(_parsed(each))):
                continue
            made = _parsed(each)
            _rename_in(made, self.known.name, self.new)
            if each.kind == "f" and not made.pktable.schemaname:
                theirs = [self.draft.successor(made.pktable.relname, name) for name in names(made.pk_attrs)]
                _set_names(made.pk_attrs, theirs)
                if made.pktable.relname != self.facts.name:
                    self.also.append(made.pktable.relname)  # it goes with the first column, and locks both tables
            if each.kind == "f" and self.facts.kind == "p":
                made.conname = self.draft.name("constraint")
                foreign_keys.add_by_partition(self.draft, self.facts.name, made)
                self.before.append(trees.swap_constraint_names(self.facts.name, each.name, made.conname))
                continue
            self._bind(self.facts.name, self.facts.owner, each.name, made, validated=each.validated)

    def copy_references(self) -> None:
        """Foreign keys of other tables that refer to the column: they are to refer to the second."""
        for of, name, text in self.facts.referred_by:
            made = inner(definition(_add_constraint(of, name, text).cmds[0].alter_table_cmd))
            if not self._is_referred(made) or self.draft.frees(bare(of), name):
                continue
            table = _add_constraint(of, name, text).relation
            other = None if table.schemaname else self.draft.table(table.relname)
            if other is None or other.owner != self.facts.owner or {other.kind, self.facts.kind} != {"r"}:
                raise errors.ChangeRefused(
                    f"{self.facts.name}.{self.known.name}",
                    f"{name} of {of} refers to it: one of the two is partitioned, or in another schema, or another's",
                    "drop that foreign key before the change, and add it when that is finished",
                )
            _set_names(made.fk_attrs, [self.draft.successor(other.name, each) for each in names(made.fk_attrs)])
            theirs = [self.draft.successor(self.facts.name, each) for each in names(made.pk_attrs)]
            _set_names(made.pk_attrs, theirs)
            drop = ddl("alter table {table} drop constraint {name}", table=other.name, name=name)
            self.before.append(drop)
            self.also.append(other.name)
            self._bind(other.name, other.owner, name, made, validated=not made.skip_validation)

    def _is_referred(self, constraint: Any) -> bool:
        return self.known.name in names(constraint.pk_attrs)

    def _bind(self, table: str, owner: str, name: str, made: Any, *, validated: bool) -> None:
        """New rows, then all; at the end it gets its name."""
        draft, temporary = self.draft, self.draft.name("constraint")
        made.conname, made.skip_validation, made.initially_valid = temporary, made.is_enforced, False
        foreign = bool(made.fk_attrs)
        step = action(
            draft,
            table,
            f"add {name} of {table} for {self.new}, for new rows",
            (add_constraint_sql(table, made),),
            (ddl("alter table {table} drop constraint {name}", table=table, name=temporary),),
            lock=SHARE_ROW_EXCLUSIVE if foreign else "ACCESS EXCLUSIVE",
            owner=owner,
            also=(made.pktable.relname,) if foreign and not made.pktable.schemaname else (),
        )
        draft.bound[table, temporary] = step
        against = constraints.violated(made) if validated and not foreign else ""
        draft.tighten.append(replace(step, against=against))
        if validated:
            draft.tighten.append(constraints.validation(draft, table, temporary, against=against))
        self.rename("constraint", temporary, name, table)

    def at_the_end(self, unmade: tuple[str, ...]) -> None:
        """The one transaction in which the columns change places."""
        draft, table, name, new = self.draft, self.facts.name, self.known.name, self.new
        rename = ddl("alter table {table} rename column {new} to {name}", table=table, new=new, name=name)
        do = [
            *self.before,
            *unmade,
            *self.numbers(),
            ddl("alter table {table} drop column {name}", table=table, name=name),
            *([rename] if new != self.called else []),
            *self.renamed_sequence(),
            *filter(None, [_default(draft, self.facts, self.known, self.called, self.called)]),
            *self.after,
            *self.settings(),
            *self.statistics(),
            *self.comments(),
        ]
        text = f"{table}.{new} takes the place of {name}" if new != self.called else f"{table}.{new} instead of {name}"
        draft.at_contract(action(draft, table, text, tuple(do), also=tuple(dict.fromkeys(self.also))))

    def hand_on(self) -> None:
        """Another column that this change replaces finds over itself what is over this one's successor."""
        facts, old, new = self.facts, self.known.name, self.new
        for index in filter(self.over, list(facts.indexes.values())):
            assert isinstance(index, Index)
            text = render(renamed_in_index(index.definition, old, new))
            columns_ = tuple(new if each == old else each for each in index.columns)
            facts.indexes[index.name] = replace(index, definition=text, columns=columns_)
        for each in filter(self.over, list(facts.constraints.values())):
            assert isinstance(each, Constraint)
            if each.kind not in "cfpu":
                continue
            made = _parsed(each)
            _rename_in(made, old, new)
            made.conname = "c"
            text = add_constraint_sql("t", made).partition(" CONSTRAINT c ")[2]
            columns_ = tuple(new if known == old else known for known in each.columns)
            facts.constraints[each.name] = replace(each, definition=text, columns=columns_)


def _add_constraint(table: str, name: str, text: str) -> Any:
    """A constraint as its definition in the catalog says; the table's name is as SQL."""
    return parse_statement(
        ddl("alter table {t} add constraint {c} {text}", t=literal(table), c=name, text=literal(text))
    )


def _parsed(known: Constraint) -> Any:
    return inner(definition(_add_constraint("t", known.name, known.definition).cmds[0].alter_table_cmd))


def _rename_in(constraint: Any, old: str, new: str) -> None:
    rename_columns(constraint, old, new)
    for part in (constraint.keys, constraint.including, constraint.fk_attrs, constraint.fk_del_set_cols):
        _set_names(part, [new if each == old else each for each in names(part)])


def _set_names(parts: Any, wanted: list[str]) -> None:
    for each, name in zip(parts, wanted, strict=True):
        each.string.sval = name

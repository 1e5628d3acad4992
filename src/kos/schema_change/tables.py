"""Tables, types, sequences and views: those that are new, and those that go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psycopg.sql import SQL, Identifier

from kos import errors
from kos.schema_change import domains, new_tables, parse
from kos.schema_change.composing import ACCESS_EXCLUSIVE, SHARE_ROW_EXCLUSIVE, action, owner_of, referred
from kos.schema_change.draft import Draft, Planner, bare, ddl
from kos.schema_change.facts import read_grants, relation_kind
from kos.schema_change.model import Action
from kos.schema_change.parse import Statement


def create_table(draft: Draft, statement: Statement) -> None:
    """Nobody knows it yet. Tables that its foreign keys refer to are locked against writes for a moment."""
    node = statement.node
    name = node.relation.relname
    if relation_kind(draft.connection, draft.schema, name) is not None:
        if node.if_not_exists:
            draft.warnings.append(f"{name} is there already: nothing is done for it")
            return
        raise errors.ChangeRefused(name, "there is such a table already", "give it another name")
    if node.relation.relpersistence == "t":
        raise errors.ChangeRefused(name, "a temporary table ends with its session", "leave it out")
    parents = [parse.inner(each).relname for each in node.inh_relations]
    _refuse_parents(draft, name, node, parents)
    draft.created.add(name)
    referred = {each.pktable.relname for each in parse.inside(node) if type(each).__name__ == "Constraint"}
    also = sorted(referred - {"", name} - draft.created)
    lock = ACCESS_EXCLUSIVE if set(parents) - draft.created else SHARE_ROW_EXCLUSIVE if also else ""
    owner = owner_of(draft, parents[0]) if parents else draft.owner
    undo = new_tables.drop_again(name)
    made = (parse.render(node),)
    text, others = f"create table {name}", (*also, *parents)
    step = action(draft, name, text, made, (undo,), lock=lock, owner=owner, also=others)
    draft.expand.append(replace(step, only=bool(parents)))


def _refuse_parents(draft: Draft, name: str, node: Any, parents: list[str]) -> None:
    """A partition locks its parent for a moment; with a default partition, for as long as reading that takes."""
    if not node.HasField("partbound"):
        if parents:
            raise errors.ChangeRefused(name, "it inherits from a table, whose queries would see it", "do it yourself")
        return
    if any(draft.table(each).partition_default for each in parents if each not in draft.created):
        raise errors.ChangeRefused(
            name,
            f"{parents[0]} has a default partition, which is read with {parents[0]} locked",
            "create it apart, with a CHECK that is valid on the default partition, then attach it yourself",
        )


def drop_tables(draft: Draft, statement: Statement) -> None:
    """Contract: old code uses it until then."""
    names = _dropped(draft, statement, ("r", "p"))
    for name in names:
        facts = draft.table(name)
        readers = {reader for _, kind, reader in facts.readers if kind in ("view", "materialized view", "rule")}
        if left := sorted(readers - draft.dropped):
            raise errors.ChangeRefused(name, f"{', '.join(left)} reads it", "drop that before, in the same file")
        for of, key, definition in facts.referred_by:
            if bare(of) not in draft.dropped and not draft.frees(bare(of), key):
                raise errors.ChangeRefused(
                    name, f"{of} refers to it: {definition}", f"drop {key} of {of} before, in the same file"
                )
    if names:
        _drop_at_contract(draft, "table", names, draft.table(names[0]).owner)


def drop_views(draft: Draft, statement: Statement) -> None:
    """Contract, before what it reads goes."""
    if names := _dropped(draft, statement, ("v",)):
        left = {reader for name in names for _, kind, reader in draft.table(name).readers} - draft.dropped
        if left:
            reads = ", ".join(sorted(left))
            raise errors.ChangeRefused(", ".join(names), f"{reads} reads it", "drop that before, in the same file")
        draft.views.update(dict.fromkeys(names, names[0]))
        _drop_at_contract(draft, "view", names, draft.table(names[0]).owner)


def _dropped(draft: Draft, statement: Statement, kinds: tuple[str, ...]) -> list[str]:
    """The names, known to be dropped from now on."""
    node = statement.node
    if parse.choice(node, "behavior") == "DROP_CASCADE":
        raise errors.ChangeRefused(
            "DROP … CASCADE", "it drops what nobody named", "drop each thing by its name, before"
        )
    names = []
    for each in node.objects:
        name = parse.names(parse.inner(each).items)[-1]
        kind = relation_kind(draft.connection, draft.schema, name)
        if name in draft.created or (kind is not None and kind not in kinds):
            raise errors.ChangeRefused(name, "this change makes it, or it is of another kind", "correct the statement")
        if kind is None and not node.missing_ok:
            raise errors.ChangeRefused(name, "there is no such thing", "correct the name")
        if kind is None:
            draft.warnings.append(f"{name} is not there: nothing is done for it")
        else:
            names.append(name)
    draft.dropped.update(names)
    return names


def _drop_at_contract(draft: Draft, what: str, names: list[str], owner: str) -> None:
    """Those of one statement go together: they may refer to each other."""
    listed = SQL(", ").join(map(Identifier, names))
    do = ddl("drop table {names}", names=listed) if what == "table" else ddl("drop view {names}", names=listed)
    text = f"drop {what} {', '.join(names)}"
    others = {each for name in names for each in referred(draft.table(name))} - set(names)
    draft.at_contract(action(draft, names[0], text, (do,), owner=owner, also=(*names[1:], *sorted(others))))


def create_view(draft: Draft, statement: Statement) -> None:
    """A new one from the start. One that takes the place of another: at the end, in one moment with what it reads."""
    name = statement.node.view.relname
    replaces = statement.node.replace and relation_kind(draft.connection, draft.schema, name) == "v"
    if name in draft.views or replaces:
        _replace_view(draft, statement, name)
        return
    _refuse_taken(draft, name, "there is such a thing already")
    for each in parse.inside(statement.node.query):
        if type(each).__name__ != "RangeVar":
            continue
        anew = draft.remade.keys() | {table for table, _ in draft.physical.keys() | draft.again}
        if each.relname in anew:
            raise errors.ChangeRefused(
                name,
                f"it reads {each.relname}, which this change makes anew, or renames a column of",
                "create it in the next change",
            )
    _create(draft, statement, "view", name, ddl("drop view {name}", name=name))


def _replace_view(draft: Draft, statement: Statement, name: str) -> None:
    read = {each.relname for each in parse.inside(statement.node.query) if type(each).__name__ == "RangeVar"}
    draft.replaced.add(name)
    draft.together.append({name, draft.views.get(name, name), *read})
    text, owner = f"view {name} is made anew", draft.table(name).owner
    draft.at_contract(action(draft, name, text, (parse.render(statement.node),), owner=owner))
    how = "" if name in draft.views else ", if it has other columns"
    draft.warnings.append(
        f"{name} stays as it is until the change is finished; with that, a statement that was prepared on it has to be "
        f"prepared again{how}"
    )
    granted = {each.grantee for each in read_grants(draft.connection, draft.table(name))} - {owner}
    if name in draft.views and granted:
        draft.warnings.append(
            f"{name} is a new view then: what {', '.join(sorted(granted))} may do with it has to be granted below"
        )


def create_sequence(draft: Draft, statement: Statement) -> None:
    """A new one."""
    name = statement.node.sequence.relname
    _refuse_taken(draft, name, "there is such a sequence already")
    _create(draft, statement, "sequence", name, ddl("drop sequence {name}", name=name))


def create_type(draft: Draft, statement: Statement) -> None:
    """A new enum, composite or range type, or a domain."""
    node = statement.node
    if parse.kind(node) == "CompositeTypeStmt":
        name = node.typevar.relname
    else:
        name = parse.names(node.domainname if parse.kind(node) == "CreateDomainStmt" else node.type_name)[-1]
    if parse.kind(node) == "CreateDomainStmt":
        domains.note_made(draft, node)
    draft.types.add(name)
    _create(draft, statement, "type", name, ddl("drop type {name}", name=name))


def change_enum(draft: Draft, statement: Statement) -> None:
    """Contract, before all else: PostgreSQL can't take a value away again, and takes it only when it is committed."""
    node = statement.node
    name = parse.names(node.type_name)[-1]
    if node.old_val:
        raise errors.ChangeRefused(
            f"type {name}", f"old code knows the value {node.old_val!r} by that name only", "add another value"
        )
    text = f"type {name} gets {node.new_val!r}"
    step = action(draft, name, text, (parse.render(node),), lock="", owner=draft.owner)
    if name in draft.types:
        draft.expand.append(step)  # nobody knows the type yet, and it is dropped with its values
        return
    draft.enums.add(name)
    draft.warnings.append(f"type {name}: {node.new_val!r} can be written when the change is finished, not before")
    draft.at_contract(step)


def _refuse_taken(draft: Draft, name: str, reason: str) -> None:
    if relation_kind(draft.connection, draft.schema, name) is not None:
        raise errors.ChangeRefused(name, reason, "give it another name, and drop the other one in a later change")


def _create(draft: Draft, statement: Statement, what: str, name: str, undo: str) -> None:
    do = (parse.render(statement.node),)
    text = f"create {what} {name}"
    draft.expand.append(Action(f"{draft.number()} {text}", text, name, draft.owner, "", do, (undo,)))


def drop_type(draft: Draft, statement: Statement) -> None:
    """Contract, after the columns that have it."""
    if parse.choice(statement.node, "behavior") == "DROP_CASCADE":
        raise errors.ChangeRefused("DROP TYPE … CASCADE", "it drops what nobody named", "drop each column before")
    what = parse.choice(statement.node, "remove_type").removeprefix("OBJECT_").lower()
    text = parse.render(statement.node)
    draft.at_contract(action(draft, f"{what} {draft.number()}", text.lower(), (text,), lock="", owner=draft.owner))


PLANNERS: dict[str, Planner] = {
    "CreateStmt": create_table,
    "drop OBJECT_TABLE": drop_tables,
    "ViewStmt": create_view,
    "drop OBJECT_VIEW": drop_views,
    "CreateSeqStmt": create_sequence,
    "CreateEnumStmt": create_type,
    "CreateDomainStmt": create_type,
    "CompositeTypeStmt": create_type,
    "CreateRangeStmt": create_type,
    "AlterEnumStmt": change_enum,
    "drop OBJECT_TYPE": drop_type,
    "drop OBJECT_DOMAIN": drop_type,
    "drop OBJECT_SEQUENCE": drop_type,
}

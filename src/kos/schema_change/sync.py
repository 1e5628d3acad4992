"""Triggers that keep two columns equal while a change runs, and that fill one which old code does not know.

User triggers fire in the order of their names, so each pair has two: `!…` comes first and settles what the statement
has set, `~…` last and takes over what the table's own triggers have changed since; those know the old column only. Both
call one function, in the schema of the placement, made by the table's owner.

Values are compared as images: every type has that, and it tells 1.0 from 1.00.

They fire always: also for a session that skips triggers (session_replication_role = replica), and for what a
subscription brings. What those write would else be lost with the column that is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.sql import Literal

from kos import errors
from kos.schema_change import parse
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.model import Fill
from kos.schema_change.naming import QUERIES as OBJECTS
from kos.schema_change.traits import (
    asks_role,
    goes_by_owner,
    is_same_for_all,
    is_settled,
    looks_up_names,
    never_fails,
    open_schema,
)
from kos.sql import literal


@dataclass(frozen=True)
class Pair:
    """A column and its successor. `forward` makes the new value of a row, `backward` the old one of the new: in both,
    the column goes by its old name. `default` is the successor's, as SQL."""

    table: str
    old: str
    new: str
    old_type: str
    new_type: str
    forward: str
    backward: str
    default: str | None = None


Statements = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Kept:
    """What keeps a pair equal: what makes it and what takes it away, and `check`, which fails where it was off."""

    table: str
    do: tuple[str, ...]
    undo: tuple[str, ...]
    check: str

    @property
    def end(self) -> tuple[str, ...]:
        """Take it away if it was never off: nobody can switch it off any more when that is asked."""
        return (ddl("lock table {table} in access exclusive mode", table=self.table), self.check, *self.undo)


# The successor wins where both are set: who knows it is the newer code. An update that sets neither leaves both as they
# are, for in this session the one may make another value of the other; it only fills what no fill has reached.
_PAIR = """
begin
  if tg_op = 'UPDATE' and not record_image_ne(row(new.{new}), row(old.{new})) then
    if record_image_ne(row(new.{old}), row(old.{old})) then
      new.{new} := {forward};
    elsif {unfilled} then
      if record_image_ne(row(new.{old}), row({backward})) then new.{new} := {forward}; end if;
    end if;
  elsif tg_argv[0] = 'last' then
    if record_image_ne(row(new.{old}), row({backward})) then new.{new} := {forward}; end if;
  elsif tg_op = 'INSERT' and not record_image_ne(row(new.{new}), row({default})) then
    new.{new} := {forward};
  else
    new.{old} := {backward};
  end if;
  return new;
end"""

# The same where the forward expression may fail: then the successor is null, and who wrote the row hears nothing. The
# first lines are the condition that the other's triggers have.
_GUARDED_PAIR = """
declare
  made {type};
  refused boolean := false;
  takes boolean;
begin
  begin
    made := {forward};
  exception when {refusals} then
    refused := true;
  end;
  if not refused and not record_image_ne(row(new.{new}), row(made)) then return new; end if;
  if tg_op = 'UPDATE' and not record_image_ne(row(new.{new}), row(old.{new})) then
    if record_image_ne(row(new.{old}), row(old.{old})) then
      takes := true;
    elsif not ({unfilled}) then
      return new;
    end if;
  elsif tg_argv[0] = 'first' then
    takes := tg_op = 'INSERT' and not record_image_ne(row(new.{new}), row({default}));
  end if;
  if takes is null then
    begin
      takes := record_image_ne(row(new.{old}), row({backward}));
    exception when {refusals} then
      takes := true;
    end;
    if not takes then return new; end if;
  end if;
  if takes then new.{new} := made; else new.{old} := {backward}; end if;
  return new;
end"""

_FILL = """
begin
  new.{column} := {value};
  return new;
end"""

_GUARDED_FILL = """
begin
  begin
    new.{column} := {value};
  exception when {refusals} then
    new.{column} := null;
  end;
  return new;
end"""

# What a value can bring about; not that something is missing, or forbidden.
_REFUSALS = "data_exception or integrity_constraint_violation or cardinality_violation or raise_exception"

# Also those of the partitions. Who switches a trigger off and on again leaves it as one that fires ordinarily.
_CHECK = """
do $kos$
declare
  broken text;
begin
  select g.tgrelid::regclass::text into broken
    from pg_trigger g
   where g.tgname in ({first}, {last}) and g.tgenabled <> 'A'
     and g.tgrelid in (select {table}::regclass union select t.relid from pg_partition_tree({table}::regclass) t)
   limit 1;
  if found then
    raise exception using
      message = format('triggers of %s were off: what was written meanwhile is in %s or in %s only',
                       broken, {old}, {new}),
      detail = format('make the two equal, then: alter table %s enable always trigger %I, enable always trigger %I',
                      broken, {first}, {last});
  end if;
end $kos$"""


# A new function is everybody's to call, and of those to whom its owner gives what he makes (ALTER DEFAULT PRIVILEGES).
# Who could put one that runs as another on a table of his own would have it compute what he likes. A trigger that is
# there asks for no such right.
_CLOSE = """
do $kos$
declare
  grantee text;
begin
  for grantee in
    select case when x.grantee = 0 then 'public' else x.grantee::regrole::text end
      from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
     where p.oid = {function}::regprocedure and x.grantee <> p.proowner
  loop
    execute format('revoke all on function %s from %s', {function}, grantee);
  end loop;
end $kos$"""


def pair_triggers(draft: Draft, pair: Pair) -> Kept:
    """Two-way synchronisation. The column must be there before.

    It costs rows whose columns are equal nothing but a comparison, the backfill's own among them; where the forward
    expression may fail, a subtransaction.
    """
    forward, backward = _forward(draft, pair), _backward(draft, pair)
    both = [parse.parse_expression(each) for each in (pair.forward, pair.backward)]
    safe = never_fails(draft.connection, draft.schema, both[0], pair.old_type, pair.new_type)
    body = ddl(
        _PAIR if safe else _GUARDED_PAIR,
        old=pair.old,
        new=pair.new,
        forward=literal(forward),
        backward=literal(backward),
        default=literal(_cast(pair.default or "null", pair.new_type)),
        unfilled=literal("true" if pair.default else ddl("new.{new} is null", new=pair.new)),
        type=literal(pair.new_type),
        refusals=literal(_REFUSALS),
    )
    name = draft.name("sync")
    _refuse_out_of_order(draft, pair.table, "!" + name, "~" + name)
    when = ""
    if safe:
        when = ddl(" when (record_image_ne(row(new.{new}), row({forward})))", new=pair.new, forward=literal(forward))
    computed = [*both, *([parse.parse_expression(pair.default)] if pair.default else [])]
    types, by_role = (pair.old_type, pair.new_type), any(map(asks_role, computed))
    owned = any(_is_owned(draft, pair.table, each, *types, by_role=by_role) for each in both)
    do = [*_function(name, body, owned=owned)]
    for sign, place in (("!", "first"), ("~", "last")):
        do.append(_trigger(sign + name, pair.table, name, when, place))
    do.append(_always(pair.table, name, ("!", "~")))
    return Kept(pair.table, tuple(do), _undo(pair.table, name, ("!", "~")), _check(pair, name))


def _check(pair: Pair, name: str) -> str:
    return ddl(
        _CHECK,
        first=Literal("!" + name),
        last=Literal("~" + name),
        table=Literal(ddl("{table}", table=pair.table)),
        old=Literal(pair.old),
        new=Literal(pair.new),
    )


def catch_up(draft: Draft, pair: Pair, owner: str) -> Fill:
    """What neither code has written through the triggers: there the column gets what the original has.

    Where another session, or another moment, makes another value of it, only what is missing is filled: the rest may
    be right as it stands.
    """
    forward, backward = parse.parse_expression(pair.forward), parse.parse_expression(pair.backward)
    columns = draft.table(pair.table).columns
    of = tuple(columns[each].type for each in sorted(parse.columns_of(forward) & columns.keys()))
    settled = all(
        is_settled(draft.connection, draft.schema, each, (*of, pair.old_type, pair.new_type))
        for each in (forward, backward)
    )
    value, before = _cast(pair.forward, pair.new_type), _cast(_of_successor(pair), pair.old_type)
    # In this order: of what new code has written, the other may not even be computable.
    needs = ddl(
        "case when {only}record_image_ne(row({old}), row({before}))"
        " then record_image_ne(row({new}), row({value})) else false end",
        old=pair.old,
        new=pair.new,
        before=literal(before),
        value=literal(value),
        only=literal("" if settled else ddl("{new} is null and ", new=pair.new)),
    )
    name, text = f"{draft.number()} catch up {pair.table}.{pair.new}", f"{pair.table}.{pair.new} = {pair.forward}"
    rows = draft.table(pair.table).rows
    return Fill(name, f"{text}, where it is not", pair.table, owner, needs, {pair.new: value}, rows=rows)


def _of_successor(pair: Pair) -> str:
    """What makes the old value, over a row of the table. In a query, a name may be that of another table's column:
    there the row comes as a table of its own."""
    node = parse.parse_expression(pair.backward)
    if parse.asks_tables(node):
        given = ddl("select {t}.{new} as {old}", t=pair.table, new=pair.new, old=pair.old)
        return ddl("(select {e} from ({given}) as {t})", e=literal(pair.backward), given=literal(given), t=pair.table)
    parse.rename_columns(node, pair.old, pair.new)
    return parse.render_expression(node)


def fill_trigger(draft: Draft, table: str, column: str, expression: str) -> Statements:
    """Rows of code that doesn't know a new column get its value as they are written; none where the expression fails,
    which must not fail them."""
    value = _over(draft, table, expression, {})
    name = draft.name("fill")
    _refuse_out_of_order(draft, table, "", "~" + name)
    node = parse.parse_expression(expression)
    template = _FILL if is_same_for_all(node) else _GUARDED_FILL
    body = ddl(template, column=column, value=literal(value), refusals=literal(_REFUSALS))
    when = ddl(" when (new.{column} is null)", column=column)
    function = _function(name, body, owned=_is_owned(draft, table, node, by_role=asks_role(node)))
    made = (*function, _trigger("~" + name, table, name, when, "last"), _always(table, name, ("~",)))
    return made, _undo(table, name, ("~",))


def _refuse_out_of_order(draft: Draft, table: str, first: str, last: str) -> None:
    """What such a trigger changes, ours would not see, or would not have seen to yet.

    Raises:
        ChangeRefused
    """
    asked = {"oid": draft.table(table).oid, "first": first, "last": last}
    row = draft.connection.execute(OBJECTS.out_of_order, asked).fetchone()
    if row is not None:
        raise errors.ChangeRefused(
            table,
            f"the trigger {row[0]} of {row[1]} fires before or after those that keep columns equal: by its name, which "
            "has to sort between `!kos_` and `~kos_`",
            ddl("alter trigger {name} on {table} rename to …", name=row[0], table=literal(row[1])),
        )


def _forward(draft: Draft, pair: Pair) -> str:
    """A plain column of the same type needs no cast: such functions are the fastest."""
    text = _over(draft, pair.table, pair.forward, {})
    return text if pair.old_type == pair.new_type else _cast(text, pair.new_type)


def _backward(draft: Draft, pair: Pair) -> str:
    text = _over(draft, pair.table, pair.backward, {pair.old: pair.new})
    return text if pair.old_type == pair.new_type else _cast(text, pair.old_type)


def _cast(text: str, type_name: str) -> str:
    return f"cast({text} as {type_name})"


def _over(draft: Draft, table: str, expression: str, instead: dict[str, str]) -> str:
    """Over NEW, in which a generated column has no value yet."""
    columns = draft.table(table).columns
    for name in parse.columns_of(parse.parse_expression(expression)) & columns.keys():
        if columns[name].generated:
            raise errors.ChangeRefused(
                f"{table}.{name}",
                "it is a generated column, which has no value yet when a row is written",
                "write what generates it instead of its name",
            )
    known = {name: name for name in (*columns, *draft.fresh.get(table, ()))}
    present = {new: old for (of, new), old in draft.physical.items() if of == table}
    return parse.over_row(expression, table, known | present | instead)


def _is_owned(draft: Draft, table: str, node: Any, *types: str, by_role: bool) -> bool:
    """Whether a trigger computes it with the rights of the table's owner. `types` are those that it is made of and for.
    Where something is made of who computes it (`by_role`), that is who writes, if nothing but names is looked up.

    Raises:
        ChangeRefused: everybody may put a function where it would be found, and so have those rights.
    """
    owned = goes_by_owner(draft.connection, table, node)
    schema = open_schema(draft.connection, draft.schema)
    if owned and schema:
        raise errors.ChangeRefused(
            f"{table}: {parse.render_expression(node)}",
            f"triggers compute it with the rights of the table's owner, and everybody may create in schema {schema} a"
            " function or operator that it would call",
            ddl("revoke create on schema {schema} from public", schema=schema),
        )
    if owned or schema or by_role:
        return owned
    columns = draft.table(table).columns
    read = (columns[each].type for each in sorted(parse.columns_of(node) & columns.keys()))
    return looks_up_names(draft.connection, draft.schema, table, node, (*types, *read))


def _function(name: str, body: str, *, owned: bool) -> tuple[str, ...]:
    """It finds what it calls where the change's own statements do, whoever writes the row; `owned` with the rights of
    the table's owner, whose it is, and who alone may make triggers of it then."""
    create = ddl(
        "create function {name}() returns trigger language plpgsql{rights} set search_path from current as {body}",
        name=name,
        rights=literal(" security definer" if owned else ""),
        body=Literal(body),
    )
    close = ddl(_CLOSE, function=Literal(ddl("{name}()", name=name)))
    path = "select set_config('search_path', current_setting('search_path') || ', pg_temp', true)"
    return (path, create, close) if owned else (path, create)


def _trigger(name: str, table: str, function: str, when: str, place: str) -> str:
    return ddl(
        "create trigger {name} before insert or update on {table} for each row{when} "
        "execute function {function}({place})",
        name=name,
        table=table,
        when=literal(when),
        function=function,
        place=Literal(place),
    )


def _always(table: str, function: str, signs: tuple[str, ...]) -> str:
    each = [ddl("enable always trigger {name}", name=sign + function) for sign in signs]
    return ddl("alter table {table} {each}", table=table, each=literal(", ".join(each)))


def _undo(table: str, function: str, signs: tuple[str, ...]) -> tuple[str, ...]:
    triggers = [ddl("drop trigger {name} on {table}", name=sign + function, table=table) for sign in signs]
    return (*triggers, ddl("drop function {name}()", name=function))

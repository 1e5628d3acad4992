"""What hangs on a column that goes in the end. On one that another takes the place of, it is made anew as it was when
that was planned; on the second column of a rename there is nothing but what the change has put there.

So that is asked when `finish` begins, and before it can't be taken back; and by the transaction that drops the column.
"""

from __future__ import annotations

from psycopg.sql import Literal

from kos import errors
from kos.schema_change import act
from kos.schema_change.composing import action
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.facts import QUERIES as LOOKING
from kos.schema_change.facts import Connection, Table, read_table
from kos.schema_change.model import Hanging, Recipe
from kos.schema_change.naming import QUERIES
from kos.schema_change.site import Site
from kos.sql import literal

_INSTEAD = "take away what has come, to make it again when the change is finished; put back what has gone"

# The end of other tables may have come before: what is planned was dropped there, or something that it names renamed.
_REFUSE = """
do $kos$
declare
  more text;
begin
  select string_agg(h.what, '; ' order by h.what) into more
    from ({now}) h where split_part(h.what, ': ', 1) <> all ({planned}::text[]);
  if more is not null then
    raise exception using
      message = format('%s.%s would take along what has come to hang on it: %s', {table}, {column}, more),
      detail = 'take that away, and make it again when the change is finished';
  end if;
end $kos$"""


def keep_watch(draft: Draft, of: Hanging) -> None:
    """Refuse to drop the column while something hangs on it that was not planned, or that this change has put there by
    then. Not where the change drops views: who refreshes one again and again leaves hardly a moment for both locks."""
    draft.hanging.append(of)
    if draft.views:
        return
    ours = ["not null"] if (of.table, of.column) in draft.not_null else []
    refuse = ddl(
        _REFUSE,
        now=literal(_query(of)),
        planned=Literal([each.partition(": ")[0] for each in of.on] + ours),
        table=Literal(of.table),
        column=Literal(of.column),
    )
    draft.at_contract(action(draft, of.table, "", (refuse,)))


def hanging(connection: Connection, facts: Table, column: str) -> Hanging:
    """What hangs on a column now."""
    with connection.transaction():
        connection.execute(LOOKING.look_from_inside, {"schema": facts.schema})
        return Hanging(facts.name, column, facts.owner, _now(connection, Hanging(facts.name, column, facts.owner)))


def refuse_changed(site: Site, recipe: Recipe) -> None:
    """What somebody has added since would be gone at the end, and what he has dropped would be there again.

    Raises:
        ChangeFailed
    """
    if recipe.hanging and act.is_done(site, recipe.contract[0].name):
        return  # a run that was ended has come further
    for planned in recipe.hanging:
        with site.transaction(planned.owner) as connection:
            facts = read_table(connection, site.placement.schema, planned.table)
            if facts is None or planned.column not in facts.columns:
                continue
            now = _now(connection, planned)
        differing = sorted(set(now) ^ set(planned.on))
        if differing:
            raise errors.ChangeFailed(
                f"{planned.table}.{planned.column}",
                site.placement.name,
                f"not as it was when the change was planned: {'; '.join(differing)}",
                _INSTEAD,
            )


def _now(connection: Connection, of: Hanging) -> tuple[str, ...]:
    return tuple(sorted(what for (what,) in connection.execute(literal(_query(of))).fetchall()))


def _query(of: Hanging) -> str:
    table, column = Literal(ddl("{t}", t=of.table)), Literal(of.column)
    view = Literal(ddl("{v}", v=of.view) if of.view else None)
    own = QUERIES.hanging.format(table=table, column=column, twin=Literal(of.twin), view=view)
    partitions = QUERIES.own_of_partitions.format(table=table, column=column)
    return ddl(_BOTH, own=own, partitions=partitions)


_BOTH = """
select o.what from ({own}) o where o.what is not null
union
select format('%s of partition %s', p.what, p.relname) from ({partitions}) p"""

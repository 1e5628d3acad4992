"""A query over the columns as the catalog has them before the end, whose result has the names that were written.

Which table a name belongs to is found out for queries in which it can be seen; in others PostgreSQL alone would know.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from kos import errors
from kos.schema_change.draft import Draft
from kos.schema_change.facts import relation_kind
from kos.schema_change.naming import called
from kos.schema_change.parse import inner, inside, names

_NAMING = ("RangeSubselect", "RangeFunction", "CommonTableExpr", "RangeTableFunc", "JsonTable")


def use_present(draft: Draft, view: str, query: Any) -> None:
    """Name columns, within the query of a view, as the catalog has them until the end.

    Raises:
        ChangeRefused: it can't be seen whose they are.
    """
    nodes = list(inside(query))
    relations = [each for each in nodes if type(each).__name__ == "RangeVar"]
    read = {each.relname for each in relations if not each.schemaname}
    present = {key: now for key, now in draft.physical.items() if key[0] in read and now != key[1]}
    if not present:
        return
    reader = _Reader(draft, view, nodes, present)
    targets = [each for each in nodes if type(each).__name__ == "ResTarget" and not each.name and each.HasField("val")]
    sorted_by = [(each, each.fields[0].string.sval) for select in nodes for each in _of_result(select)]
    before = [called(inner(each.val)) for each in targets]
    for each in nodes:
        if type(each).__name__ == "ColumnRef":
            reader.rename(each)
    for reference, name in sorted_by:
        reference.fields[0].string.sval = name
    for target, name in zip(targets, before, strict=True):
        if name is not None and called(inner(target.val)) != name:
            target.name = name


def _of_result(select: Any) -> list[Any]:
    """What a SELECT sorts by that is the name of a column of its result: it means that, before one of a table."""
    if type(select).__name__ != "SelectStmt":
        return []
    targets = [each.res_target for each in select.target_list]
    shown = {each.name or called(inner(each.val)) for each in targets}
    by = [each.sort_by.node for each in select.sort_clause] + list(select.distinct_clause)
    references = [inner(each) for each in by if each.WhichOneof("node") == "column_ref"]
    return [each for each in references if len(each.fields) == 1 and each.fields[0].string.sval in shown]


class _Reader:
    """What a query reads: each name that a table has in it, and what else has names there."""

    def __init__(self, draft: Draft, view: str, nodes: list[Any], present: dict[tuple[str, str], str]) -> None:
        self.draft, self.view, self.present = draft, view, present
        self.columns = {column for _, column in present}
        self.tables: dict[str, set[str]] = defaultdict(set)
        queries = {each.ctename for each in nodes if type(each).__name__ == "CommonTableExpr"}
        if queries & {table for table, _ in present}:
            self._refuse("a WITH in it has the name of a table")
        for each in nodes:
            sort = type(each).__name__
            if sort == "RangeVar":
                name = "" if each.schemaname or each.relname in queries else each.relname
                self.tables[each.alias.aliasname or each.relname].add(name)
                if each.alias.colnames:
                    self._refuse(f"it gives the columns of {each.relname} other names")
            elif sort == "JoinExpr" and (each.is_natural or each.HasField("alias") or self._joins(each)):
                self._refuse("it joins USING such a column, NATURAL, or under a name")
            elif sort == "SelectStmt" and each.HasField("larg") and each.sort_clause:
                self._refuse("it sorts a UNION")
            elif sort in _NAMING:
                name = each.ctename if sort == "CommonTableExpr" else each.alias.aliasname
                self.tables[name].add("")
        self.hides = any(type(each).__name__ in _NAMING for each in nodes)

    def _joins(self, join: Any) -> bool:
        return bool(self.columns & set(names(join.using_clause)))

    def rename(self, reference: Any) -> None:
        """One reference to a column, or to several."""
        *of, name = [each.string.sval for each in reference.fields]  # "" of a *, which is no string
        if len(of) > 1:
            return
        if not name:
            if not of or self._are_present(of[0]):
                self._refuse("it reads all columns (*): write them out")
        elif not of and self._are_present(name):
            self._refuse(f"it reads whole rows of {name}: write the columns out")
        elif name in self.columns:
            table = self._of_alias(of[0]) if of else self._of_column(name)
            if (table, name) in self.present:
                reference.fields[-1].string.sval = self.present[table, name]

    def _are_present(self, alias: str) -> bool:
        return any(table == each for table, _ in self.present for each in self.tables.get(alias, ()))

    def _of_alias(self, alias: str) -> str:
        found = self.tables.get(alias, {""})
        if len(found) > 1:
            self._refuse(f"{alias} stands for several things in it: give each another name")
        return next(iter(found))

    def _of_column(self, column: str) -> str:
        """Of the one table that has such a column."""
        read = set().union(*self.tables.values())
        having = {each for each in read if not each or (each, column) in self.present or self._has(each, column)}
        if self.hides or len(having) > 1:
            self._refuse(f"it does not say whose {column} is: write TABLE.{column}")
        return next(iter(having), "")

    def _has(self, table: str, column: str) -> bool:
        if table in self.draft.created or relation_kind(self.draft.connection, self.draft.schema, table) is None:
            return True  # what it has isn't known
        return column in self.draft.table(table).columns or self.draft.is_fresh(table, column)

    def _refuse(self, reason: str) -> None:
        column = ", ".join(sorted(f"{table}.{column}" for table, column in self.present))
        raise errors.ChangeRefused(
            self.view,
            f"it reads {column}, which this change replaces, and {reason}",
            "write it so, or make the view under another name in the next change, and drop this one",
        )

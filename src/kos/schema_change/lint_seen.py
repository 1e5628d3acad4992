"""What a file has done before the statement that is looked at: its own tables are in nobody's way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kos.schema_change.parse import choice, inner, inside, kind, names

Name = tuple[str, str]  # a schema, or "", and what is in it


def name_of(relation: Any) -> Name:
    """Of a RangeVar."""
    return relation.schemaname, relation.relname


def last_two(parts: Iterable[Any]) -> Name:
    """Of a list of names."""
    found = names(parts)
    return (found[-2] if len(found) > 1 else ""), found[-1]


def among(name: Name, others: Iterable[Name]) -> bool:
    """Where one of two names says no schema, they are taken for the same: a file alone can't tell."""
    return any(name[1] == other[1] and (not name[0] or not other[0] or name[0] == other[0]) for other in others)


@dataclass
class NotNull:
    """A constraint of which follows that columns hold no null."""

    columns: frozenset[str]
    valid: bool


class Seen:
    """Grows with `learn`, statement by statement.

    `made` are relations and indexes of the file's own, `columns` those that it adds to other people's tables (and
    whether they are NOT NULL), `virtual` those of them that store nothing, `locked` the tables that the open
    transaction holds locks on that somebody waits for.
    """

    def __init__(self, *, in_transaction: bool) -> None:
        self.in_transaction = in_transaction
        self.made: set[Name] = set()
        self.types: set[Name] = set()
        self.checked_domains: set[Name] = set()
        self.columns: dict[tuple[str, str], bool] = {}
        self.virtual: set[tuple[str, str]] = set()
        self.constraints: set[tuple[str, str]] = set()
        self.proofs: dict[tuple[str, str], NotNull] = {}
        self.policies: set[str] = set()
        self.locked: list[str] = []
        self.new_values: set[str] = set()
        self._limits = {"session": False, "local": False}

    @property
    def lock_timeout(self) -> bool:
        """Whether a wait for a lock ends by itself."""
        return self._limits["session"] or self._limits["local"]

    def is_made(self, name: Name) -> bool:
        """Whether the file itself makes it."""
        return among(name, self.made)

    def holds_no_null(self, table: str, column: str) -> bool:
        """Whether a valid constraint says so, which PostgreSQL then believes without a look at the rows."""
        return any(of == table and proof.valid and column in proof.columns for (of, _), proof in self.proofs.items())

    def forget_dropped(self, statement: Any) -> None:
        """Within one ALTER TABLE, PostgreSQL drops first, whatever stands first."""
        for command in commands_of(statement):
            if choice(command, "subtype") == "AT_DropConstraint":
                self.proofs.pop((statement.relation.relname, command.name), None)

    def learn(self, statement: Any) -> None:
        """What later statements may build on."""
        learn = getattr(self, f"_learn_{type(statement).__name__}", None)
        if learn is not None:
            learn(statement)

    def _learn_TransactionStmt(self, statement: Any) -> None:
        what = choice(statement, "kind")
        if what in BEGINS or what in ENDS:
            self.in_transaction = what in BEGINS
            self.locked.clear()
            self.new_values.clear()
            self._limits["local"] = False

    def _learn_VariableSetStmt(self, statement: Any) -> None:
        if choice(statement, "kind") == "VAR_RESET_ALL":
            self._limits["session"] = False
        elif statement.name == "lock_timeout":
            values = [_constant(each) for each in statement.args]
            self._limit(values[0] if values else "0", local=statement.is_local)

    def _learn_SelectStmt(self, statement: Any) -> None:
        for call in inside(statement):
            if type(call).__name__ == "FuncCall" and names(call.funcname)[-1] == "set_config" and len(call.args) == 3:
                name, value, local = map(_constant, call.args)
                if name == "lock_timeout":
                    self._limit(value, local=local == "True")
        if statement.HasField("into_clause"):
            self.made.add(name_of(statement.into_clause.rel))

    def _limit(self, value: str, *, local: bool) -> None:
        on = any(digit in value for digit in "123456789")
        if not local:
            self._limits = {"session": on, "local": False}
        elif self.in_transaction:  # outside of a transaction it counts for nothing
            self._limits["local"] = on

    def _learn_CreateStmt(self, statement: Any) -> None:
        self.made.add(name_of(statement.relation))

    def _learn_CreateTableAsStmt(self, statement: Any) -> None:
        self.made.add(name_of(statement.into.rel))

    def _learn_ViewStmt(self, statement: Any) -> None:
        self.made.add(name_of(statement.view))

    def _learn_CreateSeqStmt(self, statement: Any) -> None:
        self.made.add(name_of(statement.sequence))

    def _learn_IndexStmt(self, statement: Any) -> None:
        if self.is_made(name_of(statement.relation)) and statement.idxname:
            self.made.add((statement.relation.schemaname, statement.idxname))

    def _learn_CreateEnumStmt(self, statement: Any) -> None:
        self.types.add(last_two(statement.type_name))

    def _learn_CompositeTypeStmt(self, statement: Any) -> None:
        self.types.add(name_of(statement.typevar))
        self.made.add(name_of(statement.typevar))

    def _learn_CreateDomainStmt(self, statement: Any) -> None:
        self.types.add(last_two(statement.domainname))
        binds = any(
            choice(inner(each), "contype") in {"CONSTR_CHECK", "CONSTR_NOTNULL"} for each in statement.constraints
        )
        if binds or among(last_two(statement.type_name.names), self.checked_domains):
            self.checked_domains.add(last_two(statement.domainname))

    def _learn_AlterEnumStmt(self, statement: Any) -> None:
        if self.in_transaction and not statement.old_val and not among(last_two(statement.type_name), self.types):
            self.new_values.add(statement.new_val)

    def _learn_CreatePolicyStmt(self, statement: Any) -> None:
        self.policies.add(statement.table.relname)

    def _learn_RenameStmt(self, statement: Any) -> None:
        if choice(statement, "rename_type") == "OBJECT_TABLE" and self.is_made(name_of(statement.relation)):
            self.made.add((statement.relation.schemaname, statement.newname))

    def _learn_DropStmt(self, statement: Any) -> None:
        gone = [last_two(inner(each).items) for each in statement.objects if kind(each) == "List"]
        self.made = {each for each in self.made if not among(each, gone)}

    def _learn_AlterTableStmt(self, statement: Any) -> None:
        table = statement.relation.relname
        for command in commands_of(statement):
            what, given = choice(command, "subtype"), inner(getattr(command, "def"))
            if what == "AT_AddColumn" and not self.is_made(name_of(statement.relation)):
                self.columns[table, given.colname] = has(given, "CONSTR_NOTNULL") is not None
                generated = has(given, "CONSTR_GENERATED")
                if generated is not None and generated.generated_kind == "v":
                    self.virtual.add((table, given.colname))
            elif what == "AT_SetNotNull" and (table, command.name) in self.columns:
                self.columns[table, command.name] = True
            elif what == "AT_AddConstraint":
                self._learn_constraint(table, given)
            elif what == "AT_ValidateConstraint":
                self.constraints.add((table, command.name))
                if (table, command.name) in self.proofs:
                    self.proofs[table, command.name].valid = True

    def _learn_constraint(self, table: str, given: Any) -> None:
        name = given.conname or default_name(table, given)
        self.constraints.add((table, name))
        what = choice(given, "contype")
        columns: set[str] = set(names(given.keys)) if what == "CONSTR_NOTNULL" else set()
        if what == "CONSTR_CHECK":
            columns |= set(_without_null(given.raw_expr))
        if columns:
            self.proofs[table, name] = NotNull(frozenset(columns), not given.skip_validation)


BEGINS = {"TRANS_STMT_BEGIN", "TRANS_STMT_START"}
ENDS = {"TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK", "TRANS_STMT_PREPARE"}
SUFFIX = {
    "CONSTR_CHECK": "check",
    "CONSTR_FOREIGN": "fkey",
    "CONSTR_UNIQUE": "key",
    "CONSTR_EXCLUSION": "excl",
    "CONSTR_NOTNULL": "not_null",
}


def commands_of(statement: Any) -> list[Any]:
    """What an ALTER TABLE does."""
    return [inner(each) for each in statement.cmds]


def has(column: Any, contype: str) -> Any:
    """The constraint of this sort that stands beside a column's definition, or None."""
    return next((inner(each) for each in column.constraints if choice(inner(each), "contype") == contype), None)


def default_name(table: str, constraint: Any) -> str:
    """What PostgreSQL would call it."""
    what = choice(constraint, "contype")
    if what == "CONSTR_PRIMARY":
        return f"{table[:58]}_pkey"
    columns = names(constraint.fk_attrs) or names(constraint.keys)
    if what == "CONSTR_CHECK":
        named = dict.fromkeys(
            names(each.fields)[-1] for each in inside(constraint.raw_expr) if type(each).__name__ == "ColumnRef"
        )
        columns = list(named) if len(named) == 1 else []
    return "_".join([table, *columns, SUFFIX.get(what, "constraint")])[:63]


def _without_null(expression: Any) -> Iterator[str]:
    """The columns of `a IS NOT NULL`, also where more is asked beside it."""
    node = inner(expression)
    if type(node).__name__ == "NullTest" and choice(node, "nulltesttype") == "IS_NOT_NULL":
        if kind(node.arg) == "ColumnRef":
            yield names(inner(node.arg).fields)[-1]
    elif type(node).__name__ == "BoolExpr" and choice(node, "boolop") == "AND_EXPR":
        for each in node.args:
            yield from _without_null(each)


def _constant(node: Any) -> str:
    found = inner(node)
    if type(found).__name__ == "TypeCast":  # true and false, in older grammars
        found = inner(found.arg)
    if type(found).__name__ != "A_Const":
        return ""
    which = found.WhichOneof("val")
    value = getattr(found, which) if which else None
    return str(getattr(value, which)) if value is not None else ""

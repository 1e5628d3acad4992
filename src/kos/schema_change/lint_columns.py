"""Rules of the linter: columns, and tables as a whole."""

from __future__ import annotations

from typing import Any

from kos.schema_change.lint_look import Fields, Look, Rule, plain_column, quoted, type_of
from kos.schema_change.lint_seen import among, has, last_two, name_of
from kos.schema_change.parse import choice, functions_of, inner, inside, names, render_expression

SERIALS = {"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"}
# Functions of PostgreSQL's own that people write into defaults, and that have one value for a statement.
_STEADY = """
    now transaction_timestamp statement_timestamp current_setting current_database current_schema txid_current
    pg_current_xact_id inet_client_addr
    abs ceil ceiling floor round trunc power sqrt sign mod greatest least length lower upper initcap
    concat concat_ws format left right lpad rpad ltrim rtrim btrim repeat replace reverse split_part substr substring
    translate md5 sha224 sha256 sha384 sha512 encode decode convert_from convert_to to_char to_date to_number
    to_timestamp date_part date_trunc date_bin make_date make_time make_timestamp make_timestamptz make_interval age
    timezone extract overlay position
    json_build_object json_build_array json_object jsonb_build_object jsonb_build_array jsonb_object to_json to_jsonb
    array_fill array_cat array_append array_to_string string_to_array int4range int8range numrange tsrange tstzrange
    daterange to_tsvector to_tsquery host hashtext inet_merge point box
"""
STEADY = frozenset(_STEADY.split())


def _new(look: Look) -> Any:
    return look.given if look.others_table and choice(look.statement, "objtype") == "OBJECT_TABLE" else None


def _volatile(look: Look) -> Fields | None:
    column = _new(look)
    default = has(column, "CONSTR_DEFAULT") if column is not None else None
    if default is None or not (called := functions_of(default.raw_expr) - STEADY):
        return None
    name, expression = quoted(column.colname), render_expression(default.raw_expr)
    steps = [
        plain_column(look, "CONSTR_DEFAULT", "CONSTR_NOTNULL"),
        f"ALTER TABLE {look.table} ALTER COLUMN {name} SET DEFAULT {expression}",
        f"UPDATE {look.table} SET {name} = {expression} WHERE …",  # noqa: S608 - for people
    ]
    if has(column, "CONSTR_NOTNULL") is not None:
        steps.append(f"ALTER TABLE {look.table} ALTER COLUMN {name} SET NOT NULL")
    return {
        "table": look.table,
        "called": ", ".join(f"{each}()" for each in sorted(called)),
        "steps": "\n".join(f"{each};" for each in steps),
    }


def _numbered(look: Look) -> Fields | None:
    column = _new(look)
    if column is None:
        return None
    serial = names(column.type_name.names)[-1] in SERIALS
    if not serial and has(column, "CONSTR_IDENTITY") is None:
        return None
    return {"table": look.table, "column": quoted(column.colname)}


def _stored(look: Look) -> Fields | None:
    column = _new(look)
    found = has(column, "CONSTR_GENERATED") if column is not None else None
    if found is None or found.generated_kind == "v":
        return None
    return {"table": look.table, "column": quoted(column.colname), "type": type_of(column)}


def _domain_column(look: Look) -> Fields | None:
    column = _new(look)
    if column is None or not among(last_two(column.type_name.names), look.seen.checked_domains):
        return None
    return {"table": look.table, "type": type_of(column)}


def _required(look: Look) -> Fields | None:
    column = _new(look)
    if column is None or has(column, "CONSTR_NOTNULL") is None or has(column, "CONSTR_IDENTITY") is not None:
        return None
    default = has(column, "CONSTR_DEFAULT")
    given = default is not None and not _is_null(default.raw_expr)
    if given or has(column, "CONSTR_GENERATED") is not None or names(column.type_name.names)[-1] in SERIALS:
        return None
    return {
        "table": look.table,
        "column": quoted(column.colname),
        "add": plain_column(look, "CONSTR_NOTNULL", "CONSTR_DEFAULT"),
    }


def _is_null(expression: Any) -> bool:
    return any(type(each).__name__ == "A_Const" and each.isnull for each in inside(inner(expression)))


def _json(look: Look) -> Fields | None:
    column = _new(look)
    if column is None or names(column.type_name.names)[-1] != "json":
        return None
    return {"table": look.table, "column": quoted(column.colname)}


def _type(look: Look) -> Fields | None:
    if not look.others_table:
        return None
    name, given = quoted(look.command.name), type_of(look.given)
    new = quoted(f"{look.command.name}_new"[:63])
    value = render_expression(look.given.raw_default) if look.given.HasField("raw_default") else name
    return {
        "table": look.table,
        "column": name,
        "type": given,
        "steps": f"ALTER TABLE {look.table} ADD COLUMN {new} {given};\n"
        "a trigger that keeps both columns equal, both ways\n"
        f"UPDATE {look.table} SET {new} = {value} WHERE …;   -- in batches\n"
        "the indexes, constraints and defaults of the one for the other; then swap the names in one transaction",
    }


def _drop_column(look: Look) -> Fields | None:
    return None if choice(look.command, "behavior") == "DROP_CASCADE" else _gone(look)


def _drop_cascade(look: Look) -> Fields | None:
    return _gone(look) if choice(look.command, "behavior") == "DROP_CASCADE" else None


def _gone(look: Look) -> Fields | None:
    name = look.command.name
    if not look.others_table or (look.relname, name) in look.seen.columns:
        return None
    return {"table": look.table, "column": quoted(name)}


def _default(look: Look) -> Fields | None:
    if not look.others_table or look.command.HasField("def"):  # SET DEFAULT
        return None
    required = look.seen.columns.get((look.relname, look.command.name))
    if required is False:  # new, and old code may leave it out
        return None
    return {"table": look.table, "column": quoted(look.command.name)}


def _of_column(look: Look) -> Fields | None:
    return {"table": look.table, "column": quoted(look.command.name)} if look.others_table else None


def _set_expression(look: Look) -> Fields | None:
    """Of one that stores nothing, nothing is rewritten; one that the file has added is known."""
    return None if (look.relname, look.command.name) in look.seen.virtual else _of_column(look)


def _set_identity(look: Look) -> Fields | None:
    always = any(
        each.def_elem.defname == "generated" and each.def_elem.arg.integer.ival == ord("a")
        for each in getattr(look.command, "def").list.items
    )
    return _of_column(look) if always else None


def _of_table(look: Look) -> Fields | None:
    return {"table": look.table} if look.others_table else None


def _row_security(look: Look) -> Fields | None:
    return None if look.relname in look.seen.policies else _of_table(look)


def _no_identity(look: Look) -> Fields | None:
    return _of_table(look) if look.given.identity_type == "n" else None


def _attach(look: Look) -> Fields | None:
    if choice(look.statement, "objtype") != "OBJECT_TABLE" or look.seen.is_made(name_of(look.given.name)):
        return None
    part = name_of(look.given.name)
    if any(table == part[1] for table, _ in look.seen.constraints):  # the CHECK that spares it the scan
        return None
    return {"table": look.table, "part": quoted(*part)}


def _detach(look: Look) -> Fields | None:
    if choice(look.statement, "objtype") != "OBJECT_TABLE" or look.given.concurrent or not look.others_table:
        return None
    return {"table": look.table, "part": quoted(*name_of(look.given.name))}


_REWRITES = (
    "rewrites {table} with all its indexes while it is locked (ACCESS EXCLUSIVE): nobody reads or writes it meanwhile"
)
_SLOWLY = "the UPDATE in batches; NOT NULL as the rule not-null says"
_BY_COPY = "a new table, the rows copied in batches, and the names swapped; or do it while nobody works"
COLUMNS = (
    Rule(
        "volatile-default",
        "AT_AddColumn",
        _volatile,
        f"unless {{called}} is stable, {_REWRITES}",
        f"{{steps}}\n{_SLOWLY}",
    ),
    Rule(
        "numbered-column",
        "AT_AddColumn",
        _numbered,
        _REWRITES,
        "add it as bigint; give it a sequence as its default in a second statement; fill it in batches; then NOT NULL "
        "(see the rule not-null)",
    ),
    Rule(
        "stored-column",
        "AT_AddColumn",
        _stored,
        _REWRITES,
        "ALTER TABLE {table} ADD COLUMN {column} {type};   -- with a trigger that computes it; fill it in batches",
        by_kos=False,
    ),
    Rule(
        "domain",
        "AT_AddColumn",
        _domain_column,
        f"{{type}} has a constraint, so it {_REWRITES}",
        "add the column with the domain's own type, and the constraint as a CHECK (see the rule check)",
        by_kos=False,
    ),
    Rule(
        "required-column",
        "AT_AddColumn",
        _required,
        "fails if {table} has rows; and old code, which leaves {column} out, can insert none from then on",
        "{add};\nfill it in batches; when only new code runs, SET NOT NULL (see not-null); or give it a DEFAULT\n"
        "or: -- kos: fill {table}.{column} = …, beside it; then: kos change start FILE",
        by_kos=False,
    ),
    Rule(
        "json-column",
        "AT_AddColumn",
        _json,
        "json has no equality: SELECT DISTINCT and UNION over {table} fail from then on",
        "jsonb",
        by_kos=False,
    ),
    Rule(
        "column-type",
        "AT_AlterColumnType",
        _type,
        "locks {table} (ACCESS EXCLUSIVE) while it is rewritten with its indexes, unless the new type holds the old "
        "one as it is (varchar made longer or text, numeric of the same scale): then -- kos: allow column-type",
        "{steps}",
    ),
    Rule(
        "drop-column",
        "AT_DropColumn",
        _drop_column,
        "old code that names {column} of {table} fails at once, and its values are gone",
        "when no code names it any more: the same, with a lock_timeout; -- kos: allow drop-column",
    ),
    Rule(
        "drop-column",
        "AT_DropColumn",
        _drop_cascade,
        "old code that names {column} of {table} fails at once; with it goes what hangs on it, which nobody named",
        "each by its name, without CASCADE, when no code names it any more; -- kos: allow drop-column",
        by_kos=False,
    ),
    Rule(
        "drop-default",
        "AT_ColumnDefault",
        _default,
        "old code that leaves {column} of {table} out writes null from then on, or fails where it is NOT NULL",
        "keep the default until all code gives a value; then -- kos: allow drop-default",
    ),
    Rule(
        "drop-expression",
        "AT_DropExpression",
        _of_column,
        "{column} of {table} is no longer computed, and old code does not write it",
        "first code or a trigger that writes {column}; then -- kos: allow drop-expression",
        by_kos=False,
    ),
    Rule(
        "rewrite",
        "AT_SetExpression",
        _set_expression,
        f"unless {{column}} is VIRTUAL (PostgreSQL 18), {_REWRITES}",
        f"if it is VIRTUAL: -- kos: allow rewrite; else {_BY_COPY}",
        by_kos=False,
    ),
    Rule(
        "identity",
        "AT_AddIdentity",
        _of_column,
        "its numbers begin at 1 unless START says otherwise: new rows of {table} get keys that others have",
        "say START WITH a number above all of {column}; -- kos: allow identity",
        by_kos=False,
    ),
    Rule(
        "identity",
        "AT_DropIdentity",
        _of_column,
        "{column} of {table} is NOT NULL and gets no value any more: inserts that leave it out fail",
        "first all code gives a value, or a DEFAULT nextval(…); then -- kos: allow identity",
        by_kos=False,
    ),
    Rule(
        "identity",
        "AT_SetIdentity",
        _set_identity,
        "GENERATED ALWAYS refuses code that gives a value for {column} of {table} itself",
        "first no code gives one; then -- kos: allow identity",
        by_kos=False,
    ),
    *(
        Rule("rewrite", each, _of_table, _REWRITES, _BY_COPY, by_kos=False)
        for each in ("AT_SetLogged", "AT_SetUnLogged", "AT_SetTableSpace", "AT_SetAccessMethod")
    ),
    *(
        Rule(
            "disable-trigger",
            each,
            _of_table,
            "what the trigger of {table} keeps right goes wrong from now on, for all sessions",
            "a trigger that asks the session: WHEN (current_setting('app.quiet', true) IS DISTINCT FROM 'on')",
            by_kos=False,
        )
        for each in ("AT_DisableTrig", "AT_DisableTrigAll", "AT_DisableTrigUser", "AT_DisableRule")
    ),
    *(
        Rule(
            "row-security",
            each,
            _row_security,
            "without a policy, {table} shows no rows to those that row security holds for",
            "CREATE POLICY before it, in the same transaction",
            by_kos=False,
        )
        for each in ("AT_EnableRowSecurity", "AT_ForceRowSecurity")
    ),
    Rule(
        "replica-identity",
        "AT_ReplicaIdentity",
        _no_identity,
        "where {table} is published, each UPDATE and DELETE of it fails",
        "REPLICA IDENTITY DEFAULT, or USING INDEX",
        by_kos=False,
    ),
    Rule(
        "attach-partition",
        "AT_AttachPartition",
        _attach,
        "locks {part}, and the default partition of {table} if there is one (ACCESS EXCLUSIVE), while all their rows "
        "are read",
        "a CHECK on {part} that says its bounds, NOT VALID, then VALIDATE; then ATTACH; then drop the CHECK",
        by_kos=False,
    ),
    Rule(
        "detach-partition",
        "AT_DetachPartition",
        _detach,
        "locks {table} (ACCESS EXCLUSIVE) behind all that runs on it, and all others behind that",
        "ALTER TABLE {table} DETACH PARTITION {part} CONCURRENTLY;   -- in no transaction",
        by_kos=False,
    ),
)

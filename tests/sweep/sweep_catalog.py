"""All that a database's catalog says, of every schema: so that nothing a change could leave behind goes unseen."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg

NAMED = "format('%I.%I', nspname, relname)"
OF_TABLE = "join pg_class c on c.oid = {} join pg_namespace n on n.oid = relnamespace"
OURS = "nspname !~ '^pg_' and nspname <> 'information_schema'"

# Nothing here says in which order columns are, or how far a sequence is: that differs with how often something was
# begun. Rights are told in full, since PostgreSQL writes them out where some were given and taken away again.
CATALOG = {
    "schemas": f"select nspname, coalesce(nspacl, acldefault('n', nspowner))::text from pg_namespace where {OURS}",
    "relations": f"select {NAMED}, relkind, relpersistence, relowner::regrole::text, reloptions,"
    " coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::\"char\", relowner))::text,"
    " relrowsecurity, relforcerowsecurity, relreplident, relispartition, pg_get_expr(relpartbound, c.oid),"
    " obj_description(c.oid, 'pg_class'), case when relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,"
    " (select array_agg(inhparent::regclass::text) from pg_inherits where inhrelid = c.oid)"
    f" from pg_class c join pg_namespace n on n.oid = relnamespace where {OURS}",
    "columns": f"select {NAMED}, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,"
    " pg_get_expr(adbin, adrelid), attcollation::regcollation::text, attstorage, attcompression, attacl::text,"
    " attoptions, nullif(to_jsonb(a) ->> 'attstattarget', '-1'), col_description(c.oid, attnum)"
    f" from pg_attribute a {OF_TABLE.format('attrelid')} left join pg_attrdef d on adrelid = c.oid and adnum = attnum"
    f" where {OURS} and relkind not in ('i', 'I') and attnum > 0 and not attisdropped",
    "indexes": f"select {NAMED}, pg_get_indexdef(c.oid),"
    " case when not (indisvalid and indisready and indislive) then 'INVALID' end, indisprimary, indimmediate,"
    f" indisclustered, indisreplident from pg_index i {OF_TABLE.format('indexrelid')} where {OURS}",
    "constraints": "select nspname, conrelid::regclass::text, conname, contype, pg_get_constraintdef(o.oid),"
    " convalidated, condeferrable, obj_description(o.oid, 'pg_constraint')"
    f" from pg_constraint o join pg_namespace n on n.oid = connamespace where {OURS}",
    "triggers": f"select {NAMED}, tgname, tgenabled, pg_get_triggerdef(t.oid), obj_description(t.oid, 'pg_trigger')"
    f" from pg_trigger t {OF_TABLE.format('tgrelid')} where {OURS} and not tgisinternal",
    "rules": f"select {NAMED}, rulename, ev_enabled from pg_rewrite {OF_TABLE.format('ev_class')} where {OURS}",
    "functions": "select nspname, p.oid::regprocedure::text, proowner::regrole::text,"
    " coalesce(proacl, acldefault('f', proowner))::text,"
    " md5(pg_get_functiondef(p.oid)), obj_description(p.oid, 'pg_proc')"
    f" from pg_proc p join pg_namespace n on n.oid = pronamespace where {OURS} and prokind in ('f', 'p')",
    "policies": "select schemaname, tablename, policyname, permissive, roles::text, cmd, qual, with_check"
    " from pg_policies",
    "types": "select nspname, typname, typtype, typowner::regrole::text,"
    " coalesce(typacl, acldefault('T', typowner))::text, typnotnull, typdefault,"
    " (select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = t.oid)"
    f" from pg_type t join pg_namespace n on n.oid = typnamespace where {OURS}",
    "sequences": f"select {NAMED}, seqtypid::regtype::text, seqstart, seqincrement, seqcycle,"
    " (select refobjid::regclass || '.' || attname from pg_depend"
    "   join pg_attribute on attrelid = refobjid and attnum = refobjsubid"
    "   where objid = c.oid and classid = 'pg_class'::regclass and deptype in ('a', 'i'))"
    f" from pg_sequence {OF_TABLE.format('seqrelid')} where {OURS}",
    "statistics": "select nspname, stxname, pg_get_statisticsobjdef(s.oid), stxstattarget from pg_statistic_ext s"
    f" join pg_namespace n on n.oid = stxnamespace where {OURS}",
}


def catalog(connection: psycopg.Connection[Any]) -> dict[str, Counter[str]]:
    """How often there is each object, told in full, by sort."""
    connection.execute("set search_path = ''")
    found = {name: Counter(map(str, connection.execute(query.encode()).fetchall())) for name, query in CATALOG.items()}
    connection.execute("reset search_path")
    return found

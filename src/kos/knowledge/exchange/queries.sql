-- Queries of exports and imports. Tenants' tables are those of the entered tenant.

-- name: pin_settings
-- How values become text must not depend on the server's or the role's settings.
select set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true),
       set_config('IntervalStyle', 'postgres', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true), set_config('client_encoding', 'UTF8', true);

-- name: columns
-- What a table's rows hold, in the order of the table; generated columns follow from the others.
select a.attname, a.atttypid = 'jsonb'::regtype and a.attnotnull
  from pg_attribute a
 where a.attrelid = %(table)s::regclass and a.attnum > 0 and not a.attisdropped
   and a.attgenerated = '' and a.attname <> 'tenant_id'
 order by a.attnum;

-- name: primary_key
-- The columns that rows are ordered by, and whether a collation has a say in that.
select a.attname, a.attcollation <> 0
  from pg_index i
  cross join unnest(i.indkey) with ordinality as k (attnum, number)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where i.indrelid = %(table)s::regclass and i.indisprimary and a.attname <> 'tenant_id'
 order by k.number;

-- name: schema_version
-- How many files the schema of a tenant's tables has had.
select coalesce(max(version), 0) from kos.schema_versions where schema_name = %(schema)s;

-- name: count_rows
-- Rows of the entered tenant; whoever asks may be the operator, who sees all.
select count(*) from {table} where tenant_id = (select kos.current_tenant_id());

-- name: other_tables
-- What a tenant's schema has beside the shipped tables: somebody else made it.
select c.relname
  from pg_class c
 where c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) and c.relkind in ('r', 'p', 'f')
   and not c.relispartition and c.relname <> all(%(tables)s)
 order by c.relname collate "C";

-- name: objects
-- What the entered tenant's documents refer to, each once.
select content_sha256, max(byte_length)
  from documents
 where tenant_id = (select kos.current_tenant_id())
 group by content_sha256
 order by content_sha256 collate "C";

-- name: copy_rows_out
-- One line per row. JSON escapes every control character, so CSV with control characters for its delimiter and quote
-- passes it through as it is.
-- It names the tenant, for whoever reads what it has just brought in may be the operator, who sees all.
copy (
  select row_to_json(line)
    from (select {columns} from {table} where tenant_id = (select kos.current_tenant_id()) order by {key}) as line
)
  to stdout (format csv, delimiter e'\x01', quote e'\x02');

-- name: make_incoming
-- Row security forbids COPY into a tenant's table, so lines come through a temporary one.
create temporary table incoming (line json not null) on commit drop;

-- name: copy_lines_in
-- The lines as they stand in the file.
copy pg_temp.incoming from stdin (format csv, delimiter e'\x01', quote e'\x02');

-- name: insert_lines
-- The types read their own text: nothing passes through a float.
insert into {table} (tenant_id, {columns})
select (select kos.current_tenant_id()), {values}
  from pg_temp.incoming, json_populate_record(null::{table}, incoming.line) as r;

-- name: value
-- A column that has a value of its own for JSON's null keeps SQL's null out, so what is null here is JSON's.
coalesce(r.{column}, 'null'::jsonb);

-- name: forget_incoming
-- For the next table.
drop table pg_temp.incoming;

-- name: delete_rows
-- What an import that was killed has left.
delete from {table} where tenant_id = (select kos.current_tenant_id());

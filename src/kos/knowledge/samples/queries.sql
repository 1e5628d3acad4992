-- Loading rows of a sample. Row security forbids COPY into a tenant's table, so rows come through a temporary one.

-- name: make_incoming
-- Gone with the transaction, so it is safe behind a transaction pooler.
create temporary table incoming on commit drop as select {columns} from {table} with no data;

-- name: copy_incoming
-- The fast way in.
copy pg_temp.incoming from stdin;

-- name: insert_all
-- For a batch that is all new. `on conflict` costs a third more, which first loads need not pay.
insert into {table} (tenant_id, {columns})
select (select kos.current_tenant_id()), {columns} from pg_temp.incoming;

-- name: insert_new
-- Rows that are there already stay as they are, also where somebody has changed them.
insert into {table} (tenant_id, {columns})
select (select kos.current_tenant_id()), {columns} from pg_temp.incoming
on conflict do nothing;

-- name: has_samples
-- Rows of any sample: all of their ids lie between two.
select exists (select from {table} where {key} between %(first)s and %(last)s);

-- name: sample_keys
-- Which rows of samples are there.
select {keys} from {table} where {key} between %(first)s and %(last)s;

-- name: lock_incoming
-- Until they are deleted nobody refers to them anew.
select from {table} t, pg_temp.incoming i
 where t.tenant_id = (select kos.current_tenant_id()) and {matches}
   for update of t;

-- name: referring_columns
-- What refers to a table by its id.
select r.relname, a.attname
  from pg_constraint c
  join pg_class r on r.oid = c.conrelid
  cross join lateral unnest(c.conkey, c.confkey) as k (referring, referred)
  join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.referring
  join pg_attribute f on f.attrelid = c.confrelid and f.attnum = k.referred
 where c.contype = 'f' and c.confrelid = %(table)s::regclass and f.attname = 'id'
 order by 1, 2;

-- name: is_referred_to
-- By a row that is somebody else's: those of the sample have gone before.
select exists (
  select from {referring} r
    join pg_temp.incoming i on r.{column} = i.id
   where r.tenant_id = (select kos.current_tenant_id())
);

-- name: delete_incoming
-- The rows that a load has brought.
delete from {table} t
 using pg_temp.incoming i
 where t.tenant_id = (select kos.current_tenant_id()) and {matches};

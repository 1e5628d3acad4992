-- Queries of kos.adoption.tenants.

-- name: kind
-- How a table's tenant column says its tenant.
select kos.tenant_kind(c.oid, %(column)s)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s and c.relname = %(table)s;

-- name: refers_to_tenants
-- Are all of its values in one of these tables as well? A reference that may be invalid tells nothing.
select exists (
  select from pg_constraint f
    join pg_attribute a on a.attrelid = f.conrelid and a.attname = %(column)s and f.conkey = array[a.attnum]
    join pg_class c on c.oid = f.conrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_class to_c on to_c.oid = f.confrelid
    join pg_namespace to_n on to_n.oid = to_c.relnamespace
   where f.contype = 'f' and f.convalidated and n.nspname = %(schema)s and c.relname = %(table)s
     and format('%%s.%%s', to_n.nspname, to_c.relname) = any (%(tables)s));

-- name: tenants_of
-- All values of the tenant column.
select distinct {column}::text from {table} where {column} is not null;

-- name: is_enforced
-- Then its owner sees the rows of no tenant, and the operator sees all.
select exists (
  select from kos.enforced_tables e
    join pg_class c on c.oid = e.relation
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = %(schema)s and c.relname = %(table)s);

-- name: note_product
-- What register_tenant() goes by.
insert into kos.adopted_product (shard_name, schema_name, kinds) values (%(shard)s, %(schema)s, %(kinds)s)
on conflict (only_one) do update
  set kinds = array(select distinct unnest(kos.adopted_product.kinds || excluded.kinds) order by 1);

-- name: register
-- Each value that can be a tenant's, of those that are none yet; where `strict` is said, each.
select kos.register_tenant(v)
  from unnest(%(values)s::text[]) v
 where %(strict)s
    or kos.kinds_of(v) && (select p.kinds from kos.adopted_product p)
   and not exists (select from kos.tenants t where t.name = v and not t.adopted)
   and not exists (select from kos.fence f where f.name = v and not f.adopted);

-- name: registered
-- The product's tenants that this database serves.
select f.tenant_id, f.name, f.schema_name, f.epoch from kos.fence f where f.adopted order by f.name;

-- name: tell_directory
-- Where the directory is in another database. Nothing where another tenant has the name.
with tenant as (
  insert into kos.tenants (tenant_id, name, state, adopted) values (%(id)s, %(name)s, 'active', true)
  on conflict do nothing
  returning tenant_id
)
insert into kos.placements (tenant_id, tier, shard_id, database_name, schema_name, epoch)
select tenant_id, 'row', s.shard_id, %(database)s, %(schema)s, %(epoch)s
  from tenant, kos.shards s where s.name = %(shard)s;

-- name: is_told
-- Does the directory know the tenant as one of this database?
select exists (
  select from kos.tenants t join kos.placements p using (tenant_id)
   where t.tenant_id = %(id)s and t.name = %(name)s and t.adopted and p.database_name = %(database)s);

-- name: is_last
-- Is nothing of a product logged or enforced here any more? A table that was dropped has left a note.
select not exists (select from kos.adopted_tables())
   and not exists (select from kos.enforced_tables e join pg_class c on c.oid = e.relation);

-- name: forget_tenants
-- They are no longer to be entered here. Their log stays. Whoever waits for a lock makes others wait: so none is waited
-- for.
select kos.unregister_tenant(free.name)
  from (select f.name from kos.fence f where f.adopted and pg_try_advisory_xact_lock(kos.fence_key(f.tenant_id))
         limit %(most)s) free;

-- name: count_registered
-- How many there are.
select count(*) from kos.fence f where f.adopted;

-- name: busy_tenant
-- One that somebody is inside of, and who.
select f.name, string_agg(format('pid %s (%s)', h.pid, coalesce(h.role_name, 'role hidden')), ', ' order by h.pid)
  from kos.fence f cross join lateral kos.fence_holders(f.tenant_id) h
 where f.adopted
 group by f.name order by f.name limit 1;

-- name: forget_product
-- As above.
delete from kos.adopted_product;

-- name: untell_directory
-- Where the directory is in another database.
delete from kos.tenants t
 using kos.placements p join kos.shards s using (shard_id)
 where p.tenant_id = t.tenant_id and t.adopted and s.name = %(shard)s and p.database_name = %(database)s;

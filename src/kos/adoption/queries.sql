-- Queries of kos.adoption.facts: what is there. They read catalogs and statistics, which takes no lock that anybody
-- could wait for; the last ones read tables.

-- name: read_only
-- Nothing that follows may change anything.
set transaction read only;

-- name: look_from_outside
-- Types and definitions are told with their schemas, unless they are the server's own.
set local search_path to pg_catalog, pg_temp;

-- name: limit
-- To read a table is to lock it: not for long behind somebody who changes it, and not for long at all.
select set_config('lock_timeout', '200ms', true), set_config('statement_timeout', %(statement)s, true);

-- name: act_as
-- Who owns a table may read it, and its statistics.
set local role {role};

-- name: act_as_ourselves
-- Back to the role that logged in.
reset role;

-- name: here
-- Which database this is, and what the connected role may do in it.
select current_database()::text as database,
       current_user::text as role,
       current_setting('server_version_num')::integer as version,
       exists (select from pg_namespace n join pg_class c on c.relnamespace = n.oid
                where n.nspname = 'kos' and c.relname = 'schema_versions') as installed,
       to_regrole('kos_adopter') is not null as adopter_exists,
       to_regrole('kos_adopter') is not null
         and pg_has_role(current_user, to_regrole('kos_adopter'), 'MEMBER') as adopter_granted,
       to_regrole('kos_app') is not null
         and not (select rolsuper from pg_roles where rolname = current_user)
         and pg_has_role(current_user, to_regrole('kos_app'), 'USAGE') as is_bound,
       case when to_regrole('kos_owner') is null then true
            else has_database_privilege(to_regrole('kos_owner'), current_database(), 'CREATE') end as may_create,
       stats.stats_reset as counted_since,
       extract(epoch from clock_timestamp() - stats.stats_reset)::double precision as counted_seconds
  from pg_stat_database stats
 where stats.datname = current_database();

-- name: own_schemas
-- The schemas that belong to kos.
select distinct schema_name from kos.schema_versions;

-- name: tables
-- Every table of the product, and what its catalog row and the statistics say. Not what extensions made, nor
-- temporary tables, which end with their sessions.
select c.oid::bigint as oid,
       n.nspname as schema,
       c.relname as name,
       c.relkind::text as kind,
       c.relpersistence = 'u' as unlogged,
       o.rolname as owner,
       pg_has_role(current_user, c.relowner,
                   case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end)
         as may_act,
       has_table_privilege(c.oid, 'TRIGGER') as may_trigger,
       has_table_privilege(c.oid, 'SELECT') and has_schema_privilege(n.oid, 'USAGE') as may_read,
       so.rolname as schema_owner,
       has_schema_privilege(case when to_regrole('kos_owner') is null then 'public' else 'kos_owner' end, n.oid, 'USAGE')
         or pg_has_role(current_user, n.nspowner,
                        case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end)
         as may_open,
       exists (select from pg_policy y
                where y.polrelid = c.oid and not y.polpermissive and y.polcmd in ('r', '*') and y.polname !~ '^kos_'
                  and y.polroles && array[0::oid, coalesce(to_regrole('kos_owner')::oid, 0)]) as restricted,
       array(select u.subname::text from pg_subscription u
              where exists (select from pg_subscription_rel r
                             where r.srsubid = u.oid and (r.srrelid = c.oid or pg_partition_root(r.srrelid) = c.oid))
              order by 1) as subscriptions,
       case when c.relispartition then pg_partition_root(c.oid)::bigint end as root,
       exists (select from pg_inherits i where i.inhrelid = c.oid) and not c.relispartition as inherits,
       c.relkind = 'r' and exists (select from pg_inherits i where i.inhparent = c.oid) as inherited,
       nullif(c.reltuples, -1)::bigint as rows,
       (c.relpages::bigint
         + coalesce((select sum(x.relpages) from pg_index i join pg_class x on x.oid = i.indexrelid
                      where i.indrelid in (c.oid, c.reltoastrelid)), 0)
         + coalesce((select t.relpages from pg_class t where t.oid = c.reltoastrelid), 0))
         * current_setting('block_size')::bigint as bytes,
       (c.relpages::bigint + coalesce((select t.relpages from pg_class t where t.oid = c.reltoastrelid), 0))
         * current_setting('block_size')::bigint as row_bytes,
       coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0)::bigint as writes,
       c.relrowsecurity as row_security,
       array(select g.tgname::text from pg_trigger g join pg_proc p on p.oid = g.tgfoid
              where g.tgrelid = c.oid and not g.tgisinternal and g.tgtype & 1 = 1
                and p.pronamespace is distinct from to_regnamespace('kos') order by 1) as row_triggers
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
  join pg_roles so on so.oid = n.nspowner
  left join pg_stat_all_tables s on s.relid = c.oid
 where c.relkind in ('r', 'p', 'f', 'm')
   and c.relpersistence <> 't'
   and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.nspname <> all (%(own)s)
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by n.nspname, c.relname;

-- name: column_names
-- What can be asked to be hidden: what images hold (kos.image_columns).
select n.nspname::text, c.relname::text, a.attname::text
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_namespace n on n.oid = c.relnamespace
 where a.attrelid = any (%(oids)s::oid[]) and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
 order by 1, 2, a.attnum;

-- name: columns
-- The columns that may name the tenant.
select a.attrelid::bigint as oid, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       a.attnotnull as not_null
  from pg_attribute a
 where a.attrelid = any (%(oids)s::oid[]) and a.attnum > 0 and not a.attisdropped and a.attname = any (%(names)s);

-- name: keys
-- The unique indexes that are whole: of columns, on all rows, checked at once. The primary key first.
select i.indrelid::bigint as oid, x.relname as index, k.conname as constraint, i.indisprimary as primary,
       array(select a.attname::text from unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality u (attnum, place)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum order by u.place) as columns,
       not exists (select from unnest(i.indkey[0:i.indnkeyatts - 1]) u (attnum)
                     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
                    where not a.attnotnull) as not_null
  from pg_index i
  join pg_class x on x.oid = i.indexrelid
  left join pg_constraint k on k.conindid = i.indexrelid and k.conrelid = i.indrelid and k.contype in ('p', 'u')
 where i.indrelid = any (%(oids)s::oid[])
   and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
 order by i.indrelid, i.indisprimary desc, i.indnkeyatts, i.indexrelid;

-- name: foreign_keys
-- Who refers to whom. Not the copies that partitions have of their parent's.
select f.conname as name, f.conrelid::bigint as source, f.confrelid::bigint as target,
       array(select a.attname::text from unnest(f.conkey) with ordinality u (attnum, place)
               join pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.attnum order by u.place) as columns,
       array(select a.attname::text from unnest(f.confkey) with ordinality u (attnum, place)
               join pg_attribute a on a.attrelid = f.confrelid and a.attnum = u.attnum order by u.place) as refers_to,
       not exists (select from unnest(f.conkey) u (attnum)
                     join pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.attnum
                    where not a.attnotnull) as not_null,
       f.confdeltype::text as on_delete, f.confupdtype::text as on_update,
       f.condeferrable as deferrable, f.condeferred as deferred
  from pg_constraint f
 where f.contype = 'f' and f.conparentid = 0 and f.conrelid = any (%(oids)s::oid[])
 order by f.conrelid, f.conname;

-- name: uncarried
-- Columns of a type whose values mean nothing outside of this database or this moment, also inside of domains, arrays,
-- ranges and composite types: an image of them could not be read again.
with recursive holds (whole, part) as (
  select oid, typbasetype from pg_type where typtype = 'd'
  union all
  select oid, typelem from pg_type where typelem <> 0 and typcategory = 'A'
  union all
  select rngtypid, rngsubtype from pg_range
  union all
  select rngmultitypid, rngsubtype from pg_range
  union all
  select t.oid, a.atttypid
    from pg_type t join pg_attribute a on a.attrelid = t.typrelid
   where t.typtype = 'c' and a.attnum > 0 and not a.attisdropped
), bad (oid) as (
  select oid from pg_type
   where typtype = 'p' or typnamespace = 'pg_catalog'::regnamespace
     and (typname ~ '^reg' or typname in ('oid', 'xid', 'xid8', 'cid', 'tid', 'pg_snapshot', 'txid_snapshot'))
     and typtype = 'b'
  union
  select h.whole from bad b join holds h on h.part = b.oid
)
select a.attrelid::bigint as oid, a.attname as name, format_type(a.atttypid, a.atttypmod) as type
  from pg_attribute a
  join bad b on b.oid = a.atttypid
 where a.attrelid = any (%(oids)s::oid[]) and a.attnum > 0 and not a.attisdropped
 order by a.attrelid, a.attnum;

-- name: statistics
-- What ANALYZE found out about columns. Shown to whoever may read them.
select (quote_ident(schemaname) || '.' || quote_ident(tablename))::regclass::oid::bigint as oid, attname as name,
       n_distinct::double precision as distinct, null_frac::double precision as nulls
  from pg_stats
 where schemaname = any (%(schemas)s) and attname = any (%(names)s)
 order by inherited;

-- name: has_nulls
-- Is there a row without a tenant? An index on the column answers at once; else it reads until it finds one.
select exists (select from {table} where {column} is null);

-- name: count_tenants
-- How many tenants have rows here, exactly. Reads the whole table, or its index on the column.
select count(distinct {column}) from {table};

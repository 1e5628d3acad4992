-- Primary keys, unique constraints and indexes, and foreign keys of tables of tenants that leave out tenant_id: they
-- bypass row security, so they would tell one tenant what another one has.
select format('%I.%I', n.nspname, c.relname),
       format('%s %I leaves out tenant_id', k.kind, k.name),
       'add tenant_id to it'
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
  cross join lateral (
    select 'foreign key' as kind, f.conname as name
      from pg_constraint f
     where f.conrelid = c.oid and f.contype = 'f' and not a.attnum = any (f.conkey)
       and f.confrelid in (select oid from kos.tenant_tables())
    union all
    select case when i.indisprimary then 'primary key' else 'unique index' end, ic.relname
      from pg_index i
      join pg_class ic on ic.oid = i.indexrelid
     where i.indrelid = c.oid and i.indisunique and not a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
  ) k
 order by 1, 2;

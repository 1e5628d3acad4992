-- tenant_id is part of every key of tenants' tables, and of every reference to them
-- Keys and references bypass row security: without tenant_id they tell one tenant what another one has.
select format('%I.%I', n.nspname, c.relname),
       format('%s %I leaves out tenant_id', case when i.indisprimary then 'primary key' else 'unique index' end,
              ic.relname),
       'add tenant_id to it'
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
  join pg_index i on i.indrelid = c.oid
  join pg_class ic on ic.oid = i.indexrelid
 where (i.indisunique or i.indisexclusion)
   and not a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
union all
select format('%I.%I', n.nspname, c.relname),
       format('foreign key %I does not refer to tenant_id with tenant_id', f.conname),
       'add tenant_id to it'
  from pg_constraint f
  join pg_class c on c.oid = f.conrelid
  join pg_namespace n on n.oid = c.relnamespace
 where f.contype = 'f'
   and f.confrelid in (select t.oid from kos.tenant_tables() t)
   and not exists (
     select from unnest(f.conkey, f.confkey) k (own, theirs)
       join pg_attribute o on o.attrelid = f.conrelid and o.attnum = k.own and o.attname = 'tenant_id'
       join pg_attribute t on t.attrelid = f.confrelid and t.attnum = k.theirs and t.attname = 'tenant_id'
   )
union all
select format('%I.%I', n.nspname, c.relname),
       format('foreign key %I tells applications of every tenant''s rows: row security does not bind this table',
              f.conname),
       'have it in a schema of tenants and protected by kos.protect(), or drop the foreign key'
  from pg_constraint f
  join pg_class c on c.oid = f.conrelid
  join pg_namespace n on n.oid = c.relnamespace
 where f.contype = 'f'
   and f.confrelid in (select t.oid from kos.tenant_tables() t)
   and f.conrelid not in (select t.oid from kos.tenant_tables() t)
   and f.conrelid in (select a.relation from kos.application_rights() a where a.privilege in ('INSERT', 'UPDATE'))
 order by 1, 2;

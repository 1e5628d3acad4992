-- Applications use no table in a schema of tenants that row security can't bind to a tenant
select format('%I.%I', n.nspname, c.relname),
       case c.relkind when 'f' then 'a foreign table, which has no row security' else 'a table without tenant_id' end
         || ', open to ' || string_agg(distinct a.role, ', '),
       format('revoke all on %I.%I from %s cascade', n.nspname, c.relname, string_agg(distinct a.role, ', '))
  from kos.kept_tables() k
  join pg_class c on c.oid = k.oid
  join pg_namespace n on n.oid = c.relnamespace
  join kos.application_rights() a on a.relation = c.oid
 where k.oid not in (select t.oid from kos.tenant_tables() t)
 group by n.nspname, c.relname, c.relkind
 order by 1;

-- Row security is on for every table of tenants, and binds its owner too
select format('%I.%I', n.nspname, c.relname),
       case when c.relrowsecurity then 'row security does not bind the table''s owner' else 'row security is off' end,
       format('alter table %I.%I enable row level security, force row level security', n.nspname, c.relname)
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
 where not (c.relrowsecurity and c.relforcerowsecurity)
 order by 1;

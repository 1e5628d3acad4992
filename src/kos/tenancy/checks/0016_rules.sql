-- No rule turns statements on tables of tenants into others
-- A rule's statement may pass no guard, and reads with the rights of the table's owner.
select format('%I.%I', n.nspname, c.relname),
       format('rule %I turns statements on it into others', r.rulename),
       format('drop rule %I on %I.%I', r.rulename, n.nspname, c.relname)
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_rewrite r on r.ev_class = c.oid
 order by 1, 2;

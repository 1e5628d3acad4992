-- Applications have no right on tables of tenants that goes round row security
-- TRUNCATE and REFERENCES ask no policy; a trigger of theirs would run in the operator's sessions too; MAINTAIN (from
-- PostgreSQL 17 on) locks every tenant out.
select format('%I.%I', n.nspname, c.relname),
       format('%s may %s: row security does not limit that', a.role, string_agg(distinct a.privilege, ', ')),
       format('revoke %s on %I.%I from %s cascade', string_agg(distinct a.privilege, ', '), n.nspname, c.relname,
              a.role)
  from kos.tenant_tables() t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  join kos.application_rights() a on a.relation = c.oid
 where a.privilege not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
 group by n.nspname, c.relname, a.role
 order by 1, 2;

-- Applications make nothing in the schemas of kos and of tenants
-- What they put there would be found before what is meant.
select n.nspname::text,
       string_agg(r.name, ', ' order by r.name) || ' may create things in this schema',
       format('revoke create on schema %I from %s cascade', n.nspname, string_agg(r.name, ', ' order by r.name))
  from pg_namespace n
  cross join aclexplode(n.nspacl) x
  join kos.application_roles() r on r.oid = x.grantee
 where n.nspname in (select v.schema_name from kos.schema_versions v)
   and x.privilege_type = 'CREATE'
   and x.grantee <> n.nspowner
 group by n.nspname
 order by 1;

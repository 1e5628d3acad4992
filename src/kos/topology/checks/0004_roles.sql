-- name: roles
-- The roles that kos works with exist
select r.name as subject,
       'warning' as severity,
       'this role does not exist yet' as found,
       'kos upgrade' as mend
  from unnest(array['kos_owner', 'kos_app', 'kos_persona', 'kos_operator', 'kos_mover', 'kos_auditor']) with ordinality r (name, number)
 where not exists (select from pg_roles p where p.rolname = r.name)
 order by r.number;

-- name: row_tier
-- Hold tenants in shared tables, kept apart by row security
select coalesce(bool_and(not r.rolsuper and not r.rolbypassrls), true) as allowed,
       case when coalesce(bool_and(not r.rolsuper and not r.rolbypassrls), true)
            then 'row security binds the application' else 'row security does not bind the application' end as reason,
       coalesce(string_agg(format('alter role %%I nosuperuser nobypassrls', r.rolname), '; ')
         filter (where r.rolsuper or r.rolbypassrls), '') as mend
  from pg_roles r
 where r.rolname in (%(app)s, 'kos_app');

-- name: install
-- Make or upgrade the roles and schemas of kos: `kos upgrade`
-- The first time it takes CREATEROLE and the database; afterwards, to be a member of kos_owner is enough.
select coalesce(r.rolsuper or r.acts or (r.rolcreaterole and r.owns), false) as allowed,
       case when r.rolname is null then format('the role %%I does not exist', %(installer)s::text)
            when r.rolsuper then format('%%I is a superuser: more than it needs', r.rolname)
            when r.acts then format('%%I is a member of kos_owner', r.rolname)
            when r.rolcreaterole and r.owns then format('%%I may create roles and owns the database', r.rolname)
            else format('%%I %%s', r.rolname, concat_ws(' and ',
              case when not r.rolcreaterole then 'may not create roles' end,
              case when not r.owns then 'does not own the database' end)) end as reason,
       case when r.rolname is null then format('create role %%I login createrole', %(installer)s::text)
            when r.rolsuper or r.acts then ''
            else concat_ws('; ',
              case when not r.rolcreaterole then format('alter role %%I createrole', r.rolname) end,
              case when not r.owns then format('alter database %%I owner to %%I', d.datname, r.rolname) end) end as mend
  from pg_database d
  left join lateral (
    select p.rolname, p.rolsuper, p.rolcreaterole,
           pg_has_role(p.oid, d.datdba, 'USAGE') as owns,
           exists (select from pg_roles o where o.rolname = 'kos_owner' and pg_has_role(p.oid, o.oid, 'USAGE')) as acts
      from pg_roles p where p.rolname = %(installer)s
  ) r on true
 where d.datname = current_database();

-- name: schema_tier
-- Give a tenant a schema of its own
-- Before `kos upgrade` there is no kos_owner: then what counts is whether the installer can pass the right on.
select coalesce(o.may, i.may, false) as allowed,
       case when o.may then 'kos_owner may create schemas here'
            when o.may is null and i.may then 'kos upgrade will allow it to kos_owner'
            else format('kos_owner may not create schemas in %%I', current_database()) end as reason,
       case when coalesce(o.may, i.may, false) then ''
            else format('grant create on database %%I to kos_owner', current_database()) end as mend
  from (select 1) one
  left join (select has_database_privilege(oid, current_database(), 'CREATE') as may
               from pg_roles where rolname = 'kos_owner') o on true
  left join (select has_database_privilege(oid, current_database(), 'CREATE WITH GRANT OPTION') as may
               from pg_roles where rolname = %(installer)s) i on true;

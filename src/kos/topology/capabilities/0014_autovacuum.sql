-- name: autovacuum
-- Have an autovacuum make way at once for a change of schema
select coalesce(r.may, false) as allowed,
       case when r.may is null then format('the role %%I does not exist yet', %(operator)s::text)
            when r.may then format('%%I may set deadlock_timeout', r.rolname)
            else format('%%I may not set deadlock_timeout: no lock is waited for as long as an autovacuum asks', r.rolname)
       end as reason,
       case when r.may is null
            then format('kos upgrade; then: grant set on parameter deadlock_timeout to %%I', %(operator)s::text)
            when r.may then ''
            else format('grant set on parameter deadlock_timeout to %%I', r.rolname) end as mend
  from (select 1) one
  left join (select rolname, has_parameter_privilege(oid, 'deadlock_timeout', 'SET') as may
               from pg_roles where rolname = %(operator)s) r on true;

-- name: end_sessions
-- End a session that holds a tenant's fence for too long
select coalesce(r.may, false) as allowed,
       case when r.rolname is null then format('the role %%I does not exist yet', %(operator)s::text)
            when r.may then format('%%I may end other sessions', r.rolname)
            else format('%%I may not end sessions of %%I', r.rolname, %(app)s::text) end as reason,
       case when r.rolname is null then format('kos upgrade; then: grant pg_signal_backend to %%I', %(operator)s::text)
            when r.may then ''
            else format('grant pg_signal_backend to %%I', r.rolname) end as mend
  from (select 1) one
  left join (
    select o.rolname,
           pg_has_role(o.oid, 'pg_signal_backend', 'USAGE')
             or coalesce((select pg_has_role(o.oid, a.oid, 'USAGE') from pg_roles a where a.rolname = %(app)s), false) as may
      from pg_roles o where o.rolname = %(operator)s
  ) r on true;

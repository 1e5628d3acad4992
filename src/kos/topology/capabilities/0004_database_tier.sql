-- name: database_tier
-- Give a tenant a database of its own
select coalesce(r.rolcreatedb or r.rolsuper, false) as allowed,
       case when r.rolname is null then format('the role %%I does not exist yet', %(operator)s::text)
            when r.rolcreatedb or r.rolsuper then format('%%I may create databases', r.rolname)
            else format('%%I may not create databases', r.rolname) end as reason,
       case when r.rolname is null then format('kos upgrade; then: alter role %%I createdb', %(operator)s::text)
            when r.rolcreatedb or r.rolsuper then ''
            else format('alter role %%I createdb', r.rolname) end as mend
  from (select 1) one
  left join pg_roles r on r.rolname = %(operator)s;

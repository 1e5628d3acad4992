-- name: physical_backup
-- Copy the whole server, and feed replicas
select coalesce(r.rolreplication or r.rolsuper, false) and c.senders > 0 as allowed,
       case when r.rolname is null then format('the role %%I does not exist yet', %(operator)s::text)
            when not r.rolreplication and not r.rolsuper then format('%%I has no REPLICATION attribute', r.rolname)
            when c.senders = 0 then 'max_wal_senders is 0'
            else format('%%I has the REPLICATION attribute', r.rolname) end as reason,
       concat_ws('; ',
         case when r.rolname is null then 'kos upgrade' end,
         case when coalesce(not r.rolreplication and not r.rolsuper, true)
              then format('alter role %%I replication', %(operator)s::text) end,
         case when c.senders = 0 then 'alter system set max_wal_senders = 10; then restart the server' end) as mend
  from (select current_setting('max_wal_senders')::integer as senders) c
  left join pg_roles r on r.rolname = %(operator)s;

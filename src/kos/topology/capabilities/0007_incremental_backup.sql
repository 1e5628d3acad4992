-- name: incremental_backup
-- Back up only what has changed since the last backup
select coalesce(c.setting = 'on', false) as allowed,
       coalesce('summarize_wal is ' || c.setting, 'the server is older than PostgreSQL 17') as reason,
       case when c.setting is null then 'upgrade the server to PostgreSQL 17 or newer'
            when c.setting <> 'on' then 'alter system set summarize_wal = on; select pg_reload_conf()'
            else '' end as mend
  from (select current_setting('summarize_wal', true) as setting) c;

-- name: durability
-- What the server acknowledges survives a crash
select s.name as subject,
       case s.name when 'synchronous_commit' then 'warning' else 'error' end as severity,
       case s.name when 'synchronous_commit' then 'acknowledged transactions of the last moments are lost in a crash'
                   else 'a crash can damage the database beyond repair' end as found,
       case s.source
         when 'database' then format('alter database %%I reset %%I', current_database(), s.name)
         when 'user' then format('alter role %%I reset %%I', current_user, s.name)
         else format('alter system set %%I = on; select pg_reload_conf()', s.name)
       end as mend
  from pg_settings s
 where s.name in ('fsync', 'full_page_writes', 'synchronous_commit') and s.setting = 'off';

-- name: password_encryption
-- New passwords are stored as SCRAM
select s.name as subject,
       'warning' as severity,
       'new passwords are stored as MD5, which is broken; set those anew that were set meanwhile' as found,
       case s.source
         when 'database' then format('alter database %%I reset %%I', current_database(), s.name)
         when 'user' then format('alter role %%I reset %%I', current_user, s.name)
         else format('alter system set %%I = ''scram-sha-256''; select pg_reload_conf()', s.name)
       end as mend
  from pg_settings s
 where s.name = 'password_encryption' and s.setting = 'md5';

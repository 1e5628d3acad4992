-- name: password_encryption
-- New passwords are stored as SCRAM
select s.name as subject,
       'warning' as severity,
       'new passwords are stored as MD5, which is broken' as found,
       'alter system set password_encryption = ''scram-sha-256''; select pg_reload_conf(); then set the passwords again' as mend
  from pg_settings s
 where s.name = 'password_encryption' and s.setting = 'md5';

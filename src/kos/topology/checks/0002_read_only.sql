-- name: read_only_server
-- The server takes writes
select current_database()::text as subject,
       'error' as severity,
       'the server is in recovery: it is a replica, or still starting' as found,
       'name the primary as the shard''s host, and this server among its replicas' as mend
 where pg_is_in_recovery()
union all
select s.name, 'error', 'transactions are read-only unless they say otherwise',
       format('set %%I = off; ', s.name) || case s.source
         when 'database' then format('alter database %%I reset %%I', current_database(), s.name)
         when 'user' then format('alter role %%I reset %%I', current_user, s.name)
         else format('alter system reset %%I; select pg_reload_conf()', s.name)
       end
  from pg_settings s
 where s.name = 'default_transaction_read_only' and s.reset_val = 'on';

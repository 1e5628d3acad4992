-- name: connections
-- The server has connections to spare
select format('%%s of %%s', c.used, c.allowed) as subject,
       'warning' as severity,
       'more than four of five connections are in use' as found,
       'raise max_connections, or put a transaction pooler before the server' as mend
  from (select (select sum(numbackends) from pg_stat_database) as used,
               current_setting('max_connections')::integer
                 - current_setting('superuser_reserved_connections')::integer
                 - coalesce(current_setting('reserved_connections', true)::integer, 0) as allowed) c
 where c.used > 0.8 * c.allowed;

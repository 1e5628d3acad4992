-- name: transaction_timeout
-- Limit how long a transaction may last, whatever its client does
select v.major >= 17 as allowed,
       case when v.major >= 17 then 'the server has transaction_timeout'
            else 'the server is older than PostgreSQL 17: the limits of a statement and of idling stand in' end as reason,
       case when v.major >= 17 then '' else 'upgrade the server to PostgreSQL 17 or newer' end as mend
  from (select current_setting('server_version_num')::integer / 10000 as major) v;

-- name: server_version
-- PostgreSQL is one of the versions that kos supports, 15 to 18
select 'PostgreSQL ' || current_setting('server_version') as subject,
       case when v.major < 15 then 'error' else 'warning' end as severity,
       case when v.major < 15 then 'kos needs PostgreSQL 15 or newer'
            else 'kos is tested with PostgreSQL 15 to 18' end as found,
       case when v.major < 15 then 'upgrade the server'
            else 'look for a newer kos: pip install --upgrade kos' end as mend
  from (select current_setting('server_version_num')::integer / 10000 as major) v
 where v.major not between 15 and 18;

-- name: page_checksums
-- Notice pages that the disk has damaged
select c.set as allowed,
       'data_checksums is ' || current_setting('data_checksums') as reason,
       case when c.set then '' else 'stop the server, then: pg_checksums --enable' end as mend
  from (select current_setting('data_checksums')::boolean as set) c;

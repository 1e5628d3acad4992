-- name: commit_times
-- Know when each transaction was committed
select c.set as allowed,
       'track_commit_timestamp is ' || current_setting('track_commit_timestamp') as reason,
       case when c.set then '' else 'alter system set track_commit_timestamp = on; then restart the server' end as mend
  from (select current_setting('track_commit_timestamp')::boolean as set) c;

-- name: logical_decoding
-- Stream changes to other systems with PostgreSQL's own replication
select c.level = 'logical' and c.slots > 0 as allowed,
       format('wal_level is %%s, max_replication_slots is %%s', c.level, c.slots) as reason,
       concat_ws('; ',
         case when c.level <> 'logical' then 'alter system set wal_level = logical' end,
         case when c.slots = 0 then 'alter system set max_replication_slots = 10' end,
         case when c.level <> 'logical' or c.slots = 0 then 'then restart the server' end) as mend
  from (select current_setting('wal_level') as level, current_setting('max_replication_slots')::integer as slots) c;

-- Queries of kos.schema_change.fill: rows that get values, by ranges of pages or of keys.

-- name: parts
-- Where the rows of a table are: the table itself, or its partitions and children. Who owns it is bound by row security
-- where `hidden` says so; `crossed` is that the operator has a way of its own, and no policy of the product's restricts it.
-- Last, whether its changes are logged.
with recursive below (oid) as (
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = %(schema)s and c.relname = %(table)s
  union
  select i.inhrelid from below b join pg_inherits i on i.inhparent = b.oid
)
select c.oid, n.nspname::text, c.relname::text, format('%%I.%%I', n.nspname, c.relname), c.relkind::text, coalesce(am.amname, 'none')::text,
       row_security_active(c.oid),
       exists (select from pg_policy p
                where p.polrelid = c.oid and p.polpermissive and p.polname in ('operator_access', 'kos_operator_access')
                  and to_regrole('kos_operator') = any (p.polroles))
       and not exists (select from pg_policy p
                        where p.polrelid = c.oid and not p.polpermissive and p.polcmd in ('r', 'w', '*')
                          and p.polname not in ('tenant_isolation', 'kos_tenant_isolation', 'kos_tenant_index')
                          and (0 = any (p.polroles)
                               or exists (select from unnest(p.polroles) given (role) where pg_has_role('kos_operator', given.role, 'usage')))),
       exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname ~ '^kos_capture_')
  from below b
  join pg_class c on c.oid = b.oid and c.relkind <> 'p'
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_am am on am.oid = c.relam
 order by c.oid;

-- name: hidden
-- A table, of those that an expression asks, of which whoever asks does not see all rows.
select format('%%I.%%I', n.nspname, c.relname)
  from unnest(%(tables)s::text[]) asked
  join pg_class c on c.oid = to_regclass(asked) and c.relkind in ('r', 'p')
  join pg_namespace n on n.oid = c.relnamespace
 where row_security_active(c.oid)
   and not (pg_has_role('kos_operator', 'member')
            and exists (select from pg_policy p
                         where p.polrelid = c.oid and p.polpermissive
                           and p.polname in ('operator_access', 'kos_operator_access')
                           and to_regrole('kos_operator') = any (p.polroles))
            and not exists (select from pg_policy p
                             where p.polrelid = c.oid and not p.polpermissive and p.polcmd in ('r', '*')
                               and p.polname not in ('tenant_isolation', 'kos_tenant_isolation', 'kos_tenant_index')
                               and (0 = any (p.polroles)
                                    or exists (select from unnest(p.polroles) given (role)
                                                where pg_has_role('kos_operator', given.role, 'usage')))))
 order by 1
 limit 1;

-- name: key
-- What a table can be gone through by: a unique index in ascending order, over columns that are never null, each compared
-- as it is anywhere else. The primary key, or else the shortest.
select i.indexrelid::bigint, array_agg(a.attname::text order by k.place),
       array_agg(format_type(a.atttypid, a.atttypmod) order by k.place)
  from pg_index i
  cross join lateral unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[], i.indoption::int2[])
    with ordinality k (attnum, compared, class, options, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
  join pg_opclass o on o.oid = k.class
 where i.indrelid = %(oid)s::oid and i.indisunique and i.indisvalid and i.indpred is null and k.place <= i.indnkeyatts
 group by i.indexrelid, i.indisprimary, i.indnkeyatts
having count(*) = i.indnkeyatts and bool_and(a.attnotnull and o.opcdefault and k.options = 0 and k.compared = a.attcollation)
 order by i.indisprimary desc, i.indnkeyatts, i.indexrelid
 limit 1;

-- name: pages
-- How large it is, and which file it is: one that was rewritten has another, and its rows are at other places.
select pg_relation_filenode(%(oid)s::oid::regclass)::bigint,
       pg_relation_size(%(oid)s::oid::regclass) / current_setting('block_size')::bigint;

-- name: estimate
-- How many rows it has, as the planner thinks.
explain (format json) select from only {part};

-- name: by_key
-- A range of keys is read by their index: of a key of several columns the planner looks at the first one only, and takes
-- a range for half of the table.
select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true);

-- name: read_keys
-- In their order, and as texts that a session with other settings reads as well.
select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true), set_config('datestyle', 'ISO', true),
       set_config('intervalstyle', 'iso_8601', true), set_config('extra_float_digits', '1', true);

-- name: last_key
-- Where the way ends.
select /* kos fill */ {key} from only {part} as {row} order by {order} limit 1;

-- name: next_key
-- Where a range ends.
select /* kos fill */ {key} from only {part} as {row} where {where} order by {order} offset {skip} limit 1;

-- name: note_part
-- Where it begins; where it is already, unless the points of its way mean nothing any more. Who begins anew goes to
-- today's end.
insert into kos.change_fills as f (operation, schema_name, fill, part, next_page, pages, rows, filenode)
values (%(operation)s, %(schema)s, %(fill)s, %(part)s, 0, %(pages)s, 0, %(mark)s)
on conflict (operation, schema_name, fill, part) do update
   set next_page = 0, up_to_key = '{}', pages = excluded.pages, filenode = excluded.filenode,
       updated_at = clock_timestamp()
 where f.filenode <> excluded.filenode or (f.next_page = 0 and f.up_to_key = '{}');

-- name: find_part
-- How far it is.
select next_page, pages, up_to_key from kos.change_fills
 where operation = %(operation)s and schema_name = %(schema)s and fill = %(fill)s and part = %(part)s;

-- name: checkpoint
-- In the transaction of the batch; without a point it only counts. No row where points mean nothing any more: the table
-- was rewritten, or the key is gone.
update kos.change_fills
   set next_page = coalesce(%(next_page)s, next_page), up_to_key = coalesce(%(key)s, up_to_key),
       rows = rows + %(rows)s, updated_at = clock_timestamp()
 where operation = %(operation)s and schema_name = %(schema)s and fill = %(fill)s and part = %(part)s
   and filenode = case when %(index)s::oid is null then pg_relation_filenode(%(oid)s::oid::regclass)::bigint
                       else (select i.indexrelid::bigint from pg_index i
                              where i.indexrelid = %(index)s::oid and i.indrelid = %(oid)s::oid) end;

-- name: act_as_ourselves
-- Back to the role that logged in.
reset role;

-- name: limit_batch
-- Whoever meets a row of the batch waits for no longer than that.
select set_config('statement_timeout', %(milliseconds)s, true);

-- name: range
-- Of pages; PostgreSQL reads these and no others.
({row}.ctid >= {first} and {row}.ctid < {last});

-- name: update
-- A batch of SQL expressions, in which the row goes by the name of its table, also in a partition.
update /* kos fill */ only {part} as {row} set {assign} where {where} and ({needs});

-- name: delete
-- The same for rows that are to go.
delete /* kos fill */ from only {part} as {row} where {where} and ({needs});

-- name: rows_of_range
-- The rows of a range, or all: by which text each is found again, as what it was read, and what names it to people.
select /* kos fill */ {place}, {version}, {columns} from only {part} as {row} where {where} and ({needs});

-- name: lock_row
-- A row as it is now, wherever it has moved to. Until the end of the transaction it stays so.
select /* kos fill */ {place}, {version}, {columns} from only {part} as {row} where {where} and ({needs})
   for no key update;

-- name: update_values
-- What a function gave, for rows that are still what it was given.
update /* kos fill */ only {part} as {row} set {column} = kos_given.kos_value::{type}
  from (select unnest({places}::text[]) as kos_place, unnest({versions}::text[]) as kos_version,
               unnest({values}::text[]) as kos_value) as kos_given
 where {where} and {at} and {version} = kos_given.kos_version and ({needs});

-- name: column_type
-- As SQL has it, and by its bare name, without domains.
select format_type(a.atttypid, a.atttypmod), coalesce(nullif(b.typname, ''), y.typname)::text
  from pg_attribute a
  join pg_type y on y.oid = a.atttypid
  left join pg_type b on b.oid = y.typbasetype
 where a.attrelid = %(oid)s::oid and a.attname = %(column)s and not a.attisdropped;

-- name: key_columns
-- Of the primary key, in its order.
select a.attname::text
  from pg_index i
  cross join lateral unnest(i.indkey) with ordinality k (attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where i.indrelid = %(oid)s::oid and i.indisprimary
 order by k.place;

-- name: table_blockers
-- Who holds a lock on a table that keeps all writers out, the oldest transaction first.
select a.pid, a.usename::text, coalesce(a.state, a.backend_type),
       left(regexp_replace(nullif(a.query, '<insufficient privilege>'), '\s+', ' ', 'g'), 120)
  from pg_locks l
  join pg_stat_activity a using (pid)
 where l.locktype = 'relation' and l.relation = %(oid)s::oid and l.granted and l.pid <> pg_backend_pid()
   and l.database = (select oid from pg_database where datname = current_database())
   and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
 order by a.xact_start nulls last
 limit 1;

-- name: row_blockers
-- Who holds a row of a range; else, where several hold one together, whoever has been at work on the table the longest.
select a.pid, a.usename::text, coalesce(a.state, a.backend_type),
       left(regexp_replace(nullif(a.query, '<insufficient privilege>'), '\s+', ' ', 'g'), 120)
  from pg_locks l
  join pg_stat_activity a using (pid)
 where l.locktype = 'relation' and l.relation = {oid} and l.granted and l.pid <> pg_backend_pid()
   and l.database = (select oid from pg_database where datname = current_database())
   and l.mode in ('RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')
 order by l.pid in (select x.pid from pg_locks x
                     where x.locktype = 'transactionid' and x.granted and x.mode = 'ExclusiveLock'
                       and x.transactionid in ({holders})) desc,
          a.xact_start nulls last
 limit 1;

-- name: holders
-- Whoever has locked a row, or writes it.
select {row}.xmax from only {part} as {row} where {range};

-- name: cross_tenants
-- For this transaction: what the guard and the events ask for.
select set_config('kos.crossing', %(access)s, true);

-- name: nested
-- Whether triggers or foreign keys of a product can change rows while others are changed.
select bool_or(kos.has_nested_changes(part) or kos.has_nested_changes(kos.root_of(part)))
  from unnest(%(parts)s::oid[]::regclass[]) part;

-- name: capture_by_key
-- Capture looks for the rows of a batch as they are after it. It must not read the whole table for them, each time, as
-- the planner would have it, who takes a batch for larger than it is.
select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);

-- name: begin_access
-- Who works on all tenants, and why.
select kos.begin_cross_tenant_access(%(reason)s);

-- name: end_access
-- Once.
select kos.end_cross_tenant_access(%(access)s);

-- name: wal_written
-- How far the primary's log is.
select (pg_current_wal_lsn() - '0/0')::bigint;

-- name: wal_replayed
-- How far a replica is, and how old what it has last replayed is, in seconds.
select (pg_last_wal_replay_lsn() - '0/0')::bigint,
       extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::double precision;

-- name: streaming
-- The replicas that a primary knows, without logical ones. One whose state is hidden from us has none.
select coalesce(nullif(r.application_name, ''), 'pid ' || r.pid), (r.replay_lsn - '0/0')::bigint,
       extract(epoch from r.replay_lag)::double precision, r.state is null
  from pg_stat_replication r
  left join pg_replication_slots s on s.active_pid = r.pid
 where s.slot_type is distinct from 'logical' and (r.state is null or r.state in ('catchup', 'streaming'));

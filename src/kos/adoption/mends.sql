-- What kos prints for somebody to run, never runs itself. Each is complete: with psql, in autocommit.

-- name: begin_column
-- The column, and a trigger that fills it until the application does. Both at once: no row can come in between.
begin;
set local lock_timeout = '200ms';
alter table {table} add column {column} {type};
create function {function}() returns trigger language plpgsql as $fill$
begin
  select p.{parent_column} into new.{column} from {parent} p where {match_new};
  return new;
end $fill$;
create trigger {trigger} before insert or update on {table} for each row execute function {function}();
commit;

-- name: backfill
-- A thousand pages at a time, each a transaction. A row that is updated meanwhile is filled by the trigger, wherever
-- its new version goes, so each page needs one visit.
do $backfill$
declare
  last bigint := pg_relation_size({literal}) / current_setting('block_size')::bigint;
begin
  for page in 0 .. last / 1000 loop
    update {table} c set {column} = p.{parent_column} from {parent} p
     where {match_row} and c.{column} is null
       and c.ctid >= format('(%s,0)', page * 1000)::tid and c.ctid < format('(%s,0)', (page + 1) * 1000)::tid;
    commit;
  end loop;
end $backfill$;

-- name: add_check
-- Not null in three steps, of which only the second reads the table, and stops nobody.
alter table {table} add constraint {constraint} check ({column} is not null) not valid;

-- name: validate
-- Reads the table while everybody works on.
alter table {table} validate constraint {constraint};

-- name: set_not_null
-- At once: the constraint is proof.
alter table {table} alter column {column} set not null;

-- name: drop_constraint
-- At once.
alter table {table} drop constraint {constraint};

-- name: index_concurrently
-- Stops nobody.
create index concurrently {index} on {table} ({columns});

-- name: unique_concurrently
-- Stops nobody.
create unique index concurrently {index} on {table} ({columns});

-- name: index_parent
-- A partitioned table's index is made empty, then from its partitions' indexes.
create index {index} on only {table} ({columns});

-- name: unique_parent
-- The same, unique.
create unique index {index} on only {table} ({columns});

-- name: index_of_levels
-- Partitions that have partitions: made at once for all of them, and stops writers meanwhile.
create index {index} on {table} ({columns});

-- name: unique_of_levels
-- The same, unique.
create unique index {index} on {table} ({columns});

-- name: attach_index
-- At once; the parent's index is valid with the last one.
alter index {index} attach partition {part};

-- name: reference_not_valid
-- At once; new rows are checked from now on.
alter table {table} add constraint {constraint} foreign key ({columns}) references {parent} ({refers_to}){actions} not valid;

-- name: reference
-- Partitioned tables have no other way before PostgreSQL 18: reads the table, and stops its writers meanwhile.
alter table {table} add constraint {constraint} foreign key ({columns}) references {parent} ({refers_to}){actions};

-- name: primary_key
-- At once: the index is there. For distribution; moves do without.
alter table {table} drop constraint {constraint}, add constraint {constraint} primary key using index {index};

-- name: primary_key_of_parts
-- Reads the table under an exclusive lock: PostgreSQL takes no ready index for the key of a partitioned table.
alter table {table} drop constraint {constraint}, add constraint {constraint} primary key ({columns});

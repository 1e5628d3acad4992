-- Tables that change while others write to them: nobody waits for another's capture, and none goes by what was before.
-- oldest library: 1

-- Nothing says that a shape is there once only: whoever writes first after a change of the table would keep all others
-- waiting who find the same new shape, until he commits, and fail them under REPEATABLE READ. Each then makes a shape of
-- his own, and all stay: an event names its own by number.
alter table kos.shapes drop constraint shapes_identity_logged_id_key;
create index shapes_by_identity on kos.shapes (identity, logged_id);

create or replace function kos.shape_of(target regclass) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  logged kos.logged_tables := kos.logged(target);
  relation record;
  described jsonb;
  ids text[];
  fingerprint bytea;
  known_by bytea;
  found_id integer;
begin
  select n.nspname, c.relname into relation
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = logged.relation;
  described := kos.described_columns(target, logged);
  ids := array(select k.id from kos.known_columns(target, logged) k order by k.number);
  fingerprint := sha256(convert_to(concat_ws(' ', quote_ident(relation.nspname), quote_ident(relation.relname),
                                             logged.key_columns::text, described::text), 'UTF8'));
  known_by := kos.shape_identity(fingerprint, ids);
  select s.shape_id into found_id from kos.shapes s
   where s.identity = known_by and s.logged_id = logged.logged_id order by s.shape_id limit 1;
  if found_id is null then
    insert into kos.shapes (logged_id, schema_name, table_name, key_columns, columns, digest, column_ids, identity)
    values (logged.logged_id, relation.nspname, relation.relname, logged.key_columns, described, fingerprint, ids, known_by)
    returning shape_id into found_id;
  end if;
  return found_id;
end $$;

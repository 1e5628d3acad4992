-- Columns of logged tables are known by an id of their own, under whatever name they have: who replays a log finds a
-- value under the name that its column has now, and never that of another column which had the name before.
-- oldest library: 1
--
-- An id says where a column was first met: in which origin, table and place. So any session can tell it without writing
-- anything, also in the moment after a table was changed. A dump's copy counts tables and columns otherwise: there a
-- column keeps the id that was noted, by its name.

alter table kos.logged_tables add column column_ids jsonb not null default '{}';  -- of all columns by name, like `numbers`

-- Not part of the digest, like the other numbers of a database: leaves can be checked elsewhere too.
alter table kos.shapes add column column_ids text[], add column identity bytea;
comment on column kos.shapes.column_ids is 'Of `columns`, in their order: a column that is renamed keeps its id, and another one of its name has another.';
comment on column kos.shapes.identity is 'sha256 over digest and column_ids.';

-- The columns of images of a table or partition, and their ids.
create function kos.known_columns(target regclass, logged kos.logged_tables) returns table (number integer, name text, id text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select c.number, c.name,
         coalesce(case when logged.origin = kos.origin()
                    then (select logged.column_ids ->> n.key from jsonb_each_text(logged.numbers) n where n.value::smallint = a.attnum)
                    else logged.column_ids ->> c.name end,
                  format('%s.%s.%s', kos.origin(), logged.relation::oid, a.attnum))
    from kos.image_columns(target) c
    left join pg_attribute a on a.attrelid = logged.relation and a.attname = c.name  -- a partition counts its own
$$;

create function kos.shape_identity(digest bytea, column_ids text[]) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select sha256(digest || convert_to(column_ids::text, 'UTF8'))
$$;

-- What was logged before this file: by the names that columns have now. Another one is known by its name alone.
update kos.shapes s
   set column_ids = array(
         select coalesce(k.id, c.description ->> 'name')
           from jsonb_array_elements(s.columns) with ordinality c (description, number)
           left join (select l.logged_id, k.name, k.id
                        from kos.logged_tables l join pg_class p on p.oid = l.relation cross join kos.known_columns(l.relation, l) k) k
             on k.logged_id = s.logged_id and k.name = c.description ->> 'name'
          order by c.number);
update kos.shapes s set identity = kos.shape_identity(s.digest, s.column_ids);
alter table kos.shapes alter column column_ids set not null, alter column identity set not null,
  drop constraint shapes_digest_logged_id_key, add unique (identity, logged_id);

-- As it was, and of all columns, with their ids.
create or replace function kos.note_columns(logged kos.logged_tables) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update kos.logged_tables l
     set key_columns = logged.key_columns, tenant_column = logged.tenant_column, sensitive = logged.sensitive, origin = kos.origin(),
         numbers = (select jsonb_object_agg(a.attname, a.attnum) from pg_attribute a
                     where a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped),
         column_ids = (select jsonb_object_agg(k.name, k.id) from kos.known_columns(logged.relation, logged) k)
   where l.relation = logged.relation
$$;

-- As it was, and of each column its place: one that takes the name and type of another is another one.
create or replace function kos.layout(target regclass, root regclass) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  logged kos.logged_tables := kos.logged(target);
begin
  return (select md5(concat_ws(' ', target, root, logged.relation, logged.key_columns, logged.tenant_column, logged.sensitive, logged.baseline,
                               kos.has_nested_changes(target) or kos.has_nested_changes(root),
                               string_agg(concat_ws(' ', c.name, c.type, c.generated, a.attnum), ',' order by c.number)))
            from kos.image_columns(target) c
            join pg_attribute a on a.attrelid = target and a.attname = c.name);
end $$;

-- As it was, and by the ids of the columns too.
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
  select s.shape_id into found_id from kos.shapes s where s.identity = known_by and s.logged_id = logged.logged_id;
  if found_id is null then
    insert into kos.shapes (logged_id, schema_name, table_name, key_columns, columns, digest, column_ids, identity)
    values (logged.logged_id, relation.nspname, relation.relname, logged.key_columns, described, fingerprint, ids, known_by)
    on conflict (identity, logged_id) do nothing
    returning shape_id into found_id;
    if found_id is null then
      select s.shape_id into found_id from kos.shapes s where s.identity = known_by and s.logged_id = logged.logged_id;
    end if;
  end if;
  return found_id;
end $$;

-- The names of a table's columns by id, as of a position of a tenant's log: up to its end, those that the table has now;
-- before, or where it is logged no more, those of the last event by then.
create function kos.columns_at(tenant uuid, logged_id integer, at bigint) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    (select jsonb_object_agg(k.id, k.name)
       from kos.logged_tables l join pg_class c on c.oid = l.relation cross join kos.known_columns(l.relation, l) k
      where l.logged_id = columns_at.logged_id and columns_at.at >= (kos.newest_seal(columns_at.tenant)).position),
    (select jsonb_object_agg(n.id, n.description ->> 'name')
       from (select s.columns, s.column_ids
               from kos.knowledge_events e join kos.shapes s using (shape_id)
              where e.tenant_id = columns_at.tenant and e.position <= columns_at.at and s.logged_id = columns_at.logged_id
              order by e.position desc limit 1) newest
      cross join lateral rows from (jsonb_array_elements(newest.columns), unnest(newest.column_ids)) n (description, id)),
    '{}')
$$;

-- The values of an image by other names than those that they were written under; of columns without one, none. What is
-- encrypted can be read by the name it was written under alone: where that is another, it stands beside it.
create function kos.renamed_data(names text[], written text[], image text[]) returns jsonb
language sql immutable parallel safe
return (
  select coalesce(jsonb_object_agg(n.name, case when n.name <> n.written and starts_with(n.value, '\E')
                                             then jsonb_build_object('column', n.written, 'value', n.value)
                                             else to_jsonb(n.value) end), '{}')
    from unnest(names, written, image) n (name, written, value)
   where n.name is not null and n.value is not null);

-- The rows of one table of one tenant as of a position, as the log has them: key, and stored values by column, under the
-- names of then. `logged_id` says which table, whatever its name was then.
create or replace function kos.stored_state(tenant uuid, logged_id integer, at bigint)
returns table (key text[], data jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with layout as materialized (
    select kos.columns_at(stored_state.tenant, stored_state.logged_id, stored_state.at) as names
  ), shape as materialized (
    select s.shape_id, array(select l.names ->> c.id from unnest(s.column_ids) with ordinality c (id, number) order by c.number) as names,
           array(select c.description ->> 'name' from jsonb_array_elements(s.columns) with ordinality c (description, number)
                  order by c.number) as written
      from kos.shapes s, layout l where s.logged_id = stored_state.logged_id
  )
  select e.key, kos.overlay(e.operation, kos.renamed_data(s.names, s.written, e.image) order by e.position)
    from kos.knowledge_events e
    join shape s using (shape_id)
   where e.tenant_id = stored_state.tenant and e.position <= stored_state.at and e.operation <> 'T'
     and e.position > coalesce((
       select max(t.position) from kos.knowledge_events t join shape using (shape_id)
        where t.tenant_id = stored_state.tenant and t.operation = 'T' and t.position <= stored_state.at), 0)
   group by e.key
  having kos.overlay(e.operation, kos.renamed_data(s.names, s.written, e.image) order by e.position) is not null
$$;

create or replace function kos.masked_data(stored jsonb) returns jsonb
language sql immutable parallel safe
return (select coalesce(jsonb_object_agg(s.key, kos.masked(coalesce(s.value ->> 'value', s.value #>> '{}'))), '{}') from jsonb_each(stored) s);

-- Values as kos.stored_data and kos.stored_state have them, in clear: for those who write them back into tables, and for
-- nobody who reads the log.
create or replace function kos.reveal(tenant uuid, stored jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (select coalesce(jsonb_object_agg(s.key,
                   case when jsonb_typeof(s.value) = 'object' then kos.decrypt(tenant, s.value ->> 'column', s.value ->> 'value')
                        when starts_with(s.value #>> '{}', '\E') then kos.decrypt(tenant, s.key, s.value #>> '{}')
                        else kos.masked(s.value #>> '{}') end), '{}')
            from jsonb_each(stored) s);
end $$;
grant execute on function kos.columns_at(uuid, integer, bigint), kos.renamed_data(text[], text[], text[]) to kos_operator, kos_auditor;

-- What a table's log does with columns: it knows rows by them ('key') or tenants ('tenant'), or hides their values. For
-- who plans to put another column in their place.
create function kos.columns_in_log(target regclass) returns table (column_name text, use text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select u.column_name, u.use
    from kos.logged(target) l
    cross join lateral (select k, 'key' from unnest(l.key_columns) k
                        union all select l.tenant_column, 'tenant' where l.tenant_column is not null
                        union all select s.key, s.value from jsonb_each_text(l.sensitive) s) u (column_name, use)
$$;
grant execute on function kos.columns_in_log(regclass) to kos_operator;

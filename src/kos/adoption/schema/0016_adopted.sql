-- Tenants of a product whose tables were adopted, and row security on these tables.
-- oldest library: 1
--
-- Such a tenant's name is the value of the product's column as text, and its id is kos.tenant_of(value): for a uuid the
-- uuid itself. Its row of kos.fence says both, so the fence is also where a policy finds the value of an id.

-- One row, from when the first tenants are registered until the last table is released.
create table kos.adopted_product (
  only_one    boolean primary key default true check (only_one),
  shard_name  text not null,    -- of this database, as the directory knows it
  schema_name text not null,    -- where most of its tables are: for people
  kinds       text[] not null   -- of the tenant columns: 'uuid', 'number', 'text'
);

-- What was there before a table was enforced, a row for each of its partitions too, so that releasing it is exact.
create table kos.enforced_tables (
  relation       regclass primary key,
  root           regclass not null,
  tenant_column  text not null,
  row_security   boolean not null,
  forced         boolean not null,
  granted        jsonb not null default '[]',  -- [privilege, role] on the table
  schema_granted jsonb not null default '[]',  -- roles that were given USAGE on its schema
  enforced_at    timestamptz not null default now()
);
grant select on kos.adopted_product, kos.enforced_tables to kos_operator, kos_auditor;

-- How a tenant column says its tenant; null for a type that no tenant can be named by. A collation for which different
-- texts are equal would let one tenant see another.
create function kos.tenant_kind(target regclass, column_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive base as (
    select t.oid, t.typbasetype, a.attcollation
      from pg_attribute a join pg_type t on t.oid = a.atttypid
     where a.attrelid = target and a.attname = column_name and not a.attisdropped
    union all
    select t.oid, t.typbasetype, b.attcollation from base b join pg_type t on t.oid = b.typbasetype
  )
  select case when b.oid = 'uuid'::regtype then 'uuid'
              when b.oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then 'number'
              when b.oid in ('text'::regtype, 'varchar'::regtype) and coalesce(c.collisdeterministic, true) then 'text' end
    from base b left join pg_collation c on c.oid = b.attcollation
   where b.typbasetype = 0
$$;
grant execute on function kos.tenant_kind(regclass, text) to kos_operator;

-- A value as a number or uuid; null where it is not written as PostgreSQL writes it: '042' is no tenant beside '42'.
create function kos.as_number(value text) returns bigint
language sql immutable parallel safe
return case when value ~ '^(0|-?[1-9][0-9]{0,18})$' and value::numeric between -9223372036854775808 and 9223372036854775807
            then value::bigint end;

create function kos.as_uuid(value text) returns uuid
language sql immutable parallel safe
return case when value ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then value::uuid end;

-- The kinds of tenant column that can hold a value. What kos.enter() would take for an id must be one.
create function kos.kinds_of(value text) returns text[]
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select array_remove(array[
    case when kos.as_number(value) is not null then 'number' end,
    case when kos.as_uuid(value) is not null then 'uuid' end,
    case when value <> '' and length(value) <= 200 and (kos.as_uuid(lower(value)) is null or kos.as_uuid(value) is not null) then 'text' end], null)
$$;

-- A tenant of the product, new or known, can be entered from now on. Call it in the transaction of its first row; it is
-- undone together with that. Repeatable. Where the directory is in another database, `kos adopt` tells it later.
-- Errors: KS023 nothing here is adopted, or no tenant column can hold the value; KS024 another tenant has the name.
create function kos.register_tenant(value text) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  id uuid := kos.tenant_of(value);
  product kos.adopted_product;
begin
  if exists (select from kos.fence f where f.tenant_id = id and f.name = value and f.adopted) then
    return id;
  end if;
  select * into product from kos.adopted_product;
  if value is null or product.only_one is null or not product.kinds && kos.kinds_of(value) then
    raise exception '% can be no tenant of this database', coalesce(quote_literal(value), 'null')
      using errcode = 'KS023', detail = case when product.only_one is null then 'no tables of a product are adopted here'
                                             else format('its tenants are named by %s', array_to_string(product.kinds, ', ')) end,
            hint = 'kos adopt status';
  end if;
  insert into kos.fence (tenant_id, name, tier, schema_name, epoch, adopted)
  values (id, value, 'row', product.schema_name, 1, true)
  on conflict do nothing;
  if exists (select from kos.shards) then
    insert into kos.tenants (tenant_id, name, state, adopted) values (id, value, 'active', true) on conflict do nothing;
    insert into kos.placements (tenant_id, tier, shard_id, database_name, schema_name, epoch)
    select t.tenant_id, 'row', s.shard_id, current_database(), product.schema_name, 1
      from kos.tenants t join kos.shards s on s.name = product.shard_name
     where t.tenant_id = id and t.name = value and t.adopted
    on conflict do nothing;
  end if;
  if not exists (select from kos.fence f where f.tenant_id = id and f.name = value and f.adopted)
     or exists (select from kos.shards) and not exists (
       select from kos.placements p join kos.tenants t using (tenant_id)
        where p.tenant_id = id and t.name = value and t.adopted and p.database_name = current_database()) then
    raise exception 'another tenant has the name %', quote_literal(value) using errcode = 'KS024', hint = 'kos tenant show ' || quote_literal(value);
  end if;
  return id;
end $$;
grant execute on function kos.register_tenant(text) to kos_app, kos_operator;

-- A tenant that has left the product. Its rows are the product's to delete, and those in the log stay.
create function kos.unregister_tenant(value text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  id uuid := kos.tenant_of(value);
begin
  perform pg_advisory_xact_lock(kos.fence_key(id));
  delete from kos.fence f where f.tenant_id = id and f.adopted;
  delete from kos.tenants t where t.tenant_id = id and t.adopted;
end $$;
grant execute on function kos.unregister_tenant(text) to kos_operator;

-- The value by which the product names the entered tenant; null for one that is not the product's.
create function kos.current_tenant_value() returns text
language sql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
  select f.name from kos.fence f where f.tenant_id = kos.current_tenant_id() and f.adopted
$$;
comment on function kos.current_tenant_value() is 'The entered tenant as an adopted product names it; error KS001 where none is entered.';
grant execute on function kos.current_tenant_value() to kos_app, kos_persona, kos_operator, kos_auditor;

-- What policies on adopted tables ask, once per query. PUBLIC may call them, since row security asks them of whoever
-- reads. A role that can enter no tenant has none, and sees no rows.
create function kos.may_cross_tenants() returns boolean
language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select bool_or(pg_has_role(current_user, r, 'USAGE'))
    from unnest(array['kos_operator', 'kos_auditor', 'kos_owner', 'kos_mover']) r
$$;

-- Names of kos are looked up only for who may use its schema.
create function kos.tenant_as_text() returns text
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
  if pg_has_role(current_user, 'kos_app', 'USAGE') or pg_has_role(current_user, 'kos_persona', 'USAGE') then
    return kos.current_tenant_value();
  end if;
  return null;
end $$;

-- A product can name some of its tenants by number and others by uuid: one of these has no rows in tables of the other.
create function kos.tenant_as_number() returns bigint
language sql stable parallel safe
begin atomic
  select kos.as_number(v.value) from (select kos.tenant_as_text() as value offset 0) v;
end;

create function kos.tenant_as_uuid() returns uuid
language sql stable parallel safe
begin atomic
  select kos.as_uuid(v.value) from (select kos.tenant_as_text() as value offset 0) v;
end;
grant execute on function kos.may_cross_tenants(), kos.tenant_as_text(), kos.tenant_as_number(), kos.tenant_as_uuid(),
  kos.as_number(text), kos.as_uuid(text) to public;

-- As kos.guard(), on tables of a product: which are in any schema, and of all of its tenants.
create function kos.guard_adopted() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  epoch bigint := nullif(current_setting('kos.epoch', true), '')::bigint;
  here kos.fence;
begin
  if tg_op = 'TRUNCATE' then
    raise exception 'TRUNCATE of %.% would empty every tenant', tg_table_schema, tg_table_name
      using errcode = 'KS005', hint = 'delete from … removes the rows of the entered tenant';
  end if;
  if epoch is null then
    if kos.crossing() is not null then
      return null;
    end if;
    perform kos.no_tenant();
  end if;
  here := kos.pass_fence(kos.current_tenant_id(), epoch);
  if not here.adopted then
    raise exception 'the tenant % has no rows in %.%, which is a table of a product', here.name, tg_table_schema, tg_table_name
      using errcode = 'KS003', detail = 'the tenant lives in another schema', hint = 'enter a tenant of the product';
  end if;
  return null;
end $$;

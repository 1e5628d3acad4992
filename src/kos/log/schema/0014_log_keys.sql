-- Tenants' keys, and the values of the log that are encrypted under them. Why like this: docs/decisions/0014.
-- oldest library: 1
--
-- Nothing here may show a key or a value in clear to who reads the server's log. So these functions are plpgsql, whose
-- parameters auto_explain can't print, and what touches a secret is an expression, never a query: a query's plan is
-- printed with its parameters in it.

-- HMAC-SHA256 (RFC 2104) of core functions. A key's two pads never change, so they are kept beside it.
create function kos.hmac_pad(key bytea, filling text) returns bytea
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
  return substr(varbit_send(('x' || rpad(encode(case when octet_length(key) > 64 then sha256(key) else key end, 'hex'), 128, '0'))::varbit
                            # ('x' || repeat(filling, 64))::varbit), 5);
end $$;

create function kos.hmac(key bytea, message bytea) returns bytea
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
  return sha256(kos.hmac_pad(key, '5c') || sha256(kos.hmac_pad(key, '36') || message));
end $$;

-- The newest key of a tenant that is not erased is its current one. No constraint says that there is one only: whoever
-- writes first would wait for the others who do, and fail under REPEATABLE READ. Each then makes a key, and all stay.
create table kos.tenant_keys (
  tenant_id    uuid not null,
  key_id       uuid not null default gen_random_uuid(),
  key          bytea,
  created_at   timestamptz not null default clock_timestamp(),
  erased_at    timestamptz,
  stream_inner bytea generated always as (kos.hmac_pad(kos.hmac(key, 'kos log stream'), '36')) stored,
  stream_outer bytea generated always as (kos.hmac_pad(kos.hmac(key, 'kos log stream'), '5c')) stored,
  tag_inner    bytea generated always as (kos.hmac_pad(kos.hmac(key, 'kos log tag'), '36')) stored,
  tag_outer    bytea generated always as (kos.hmac_pad(kos.hmac(key, 'kos log tag'), '5c')) stored,
  primary key (tenant_id, key_id),
  check ((key is null) = (erased_at is not null))
);
create index tenant_keys_current on kos.tenant_keys (tenant_id, created_at) where key is not null;

-- 244 random bits and more. Later than the tenant's other keys, also where the clock went back.
create function kos.make_tenant_key(tenant uuid) returns kos.tenant_keys
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made kos.tenant_keys;
begin
  insert into kos.tenant_keys (tenant_id, key, created_at)
  values (tenant, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
          greatest(clock_timestamp(), (select max(k.created_at) + interval '1 microsecond' from kos.tenant_keys k where k.tenant_id = tenant)))
  returning * into made;
  return made;
end $$;

-- Data xor the key's stream for a nonce: both ways.
create function kos.mask_bytes(k kos.tenant_keys, nonce bytea, data bytea) returns bytea
language plpgsql immutable as $$
declare
  start bytea := k.stream_inner || nonce;
  stream text;
  blocks text[];
begin
  if octet_length(data) <= 32 then
    stream := encode(sha256(k.stream_outer || sha256(start || int4send(1))), 'hex');
  else
    for number in 1 .. (octet_length(data) + 31) / 32 loop
      blocks := array_append(blocks, encode(sha256(k.stream_outer || sha256(start || int4send(number))), 'hex'));
    end loop;
    stream := array_to_string(blocks, '');
  end if;
  return substr(varbit_send(('x' || encode(data, 'hex'))::varbit # ('x' || left(stream, 2 * octet_length(data)))::varbit), 5);
end $$;

-- What nobody can change unnoticed: whose value of which column it is, under which key, and its bytes.
create function kos.tag_of(k kos.tenant_keys, column_name text, masked bytea) returns bytea
language plpgsql immutable as $$
declare
  name bytea := convert_to(column_name, 'UTF8');
begin
  return sha256(k.tag_outer || sha256(k.tag_inner || uuid_send(k.tenant_id) || uuid_send(k.key_id)
                                      || int4send(octet_length(name)) || name || masked));
end $$;

-- A value as it stands in an image: \E, the key's id, a colon, and in base64 nonce, masked bytes and tag. Called by
-- capture, which is volatile: each call has its own snapshot, and finds the key that an earlier row has made.
create function kos.encrypt(tenant uuid, column_name text, value text) returns text
language plpgsql volatile strict as $$
declare
  k kos.tenant_keys;
  nonce bytea := uuid_send(gen_random_uuid());
  masked bytea;
begin
  select * into k from kos.tenant_keys t where t.tenant_id = tenant and t.key is not null order by t.created_at desc limit 1;
  if not found then
    k := kos.make_tenant_key(tenant);
  end if;
  masked := nonce || kos.mask_bytes(k, nonce, convert_to(value, 'UTF8'));
  return '\E' || k.key_id || ':' || translate(encode(masked || kos.tag_of(k, column_name, masked), 'base64'), E'\n', '');
end $$;

-- The value that stands so in an image. Errors: KS022 it was changed, or its key is gone.
create function kos.decrypt(tenant uuid, column_name text, stored text) returns text
language plpgsql stable strict as $$
declare
  k kos.tenant_keys;
  bytes bytea;
  length integer;
begin
  begin
    select * into k from kos.tenant_keys t where t.tenant_id = tenant and t.key_id = substr(stored, 3, 36)::uuid;
    bytes := decode(substr(stored, 40), 'base64');
  exception when data_exception then
    bytes := null;  -- no id, or no base64
  end;
  if k.erased_at is not null then
    return '[erased]';
  end if;
  length := octet_length(bytes) - 48;
  if k.key is null or length is null or length < 0
     or kos.tag_of(k, column_name, substr(bytes, 1, length + 16)) <> substr(bytes, length + 17) then
    raise exception 'the log has a value of column % of tenant % that was changed, or whose key is gone', column_name, tenant
      using errcode = 'KS022', column = column_name, detail = tenant::text, hint = 'kos log verify, once kos.tenant_keys is restored';
  end if;
  return convert_from(kos.mask_bytes(k, substr(bytes, 1, 16), substr(bytes, 17, length)), 'UTF8');
end $$;

-- Values as kos.stored_data has them, in clear: for those who write them back into tables, and for nobody who reads the log.
create function kos.reveal(tenant uuid, stored jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (select coalesce(jsonb_object_agg(s.key, case when starts_with(s.value, '\E') then kos.decrypt(tenant, s.key, s.value)
                                                       else kos.masked(s.value) end), '{}')
            from jsonb_each_text(stored) s);
end $$;

-- The rows of one table of one tenant as of a position, with what is encrypted in clear: what a table is rebuilt from.
create function kos.rebuilt_state(tenant uuid, schema_name text, table_name text, at bigint)
returns table (key text[], data jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query select s.key, kos.reveal(tenant, s.data) from kos.stored_state(tenant, kos.logged_id_of(schema_name, table_name), at) s;
end $$;

-- Can the log rebuild this table as it is declared now? What is encrypted can be read back, until its key is erased; of
-- a digest, and of what is absent, nothing can. False as well if the table is not logged.
create function kos.is_replayable(target regclass) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce((select l.relation is not null and not exists (
           select from jsonb_each_text(l.sensitive) s where s.value <> 'encrypted') from kos.logged(target) l), false)
$$;

-- Another key for what comes; what is there stays readable. Returns its id.
create function kos.rotate_tenant_key(tenant uuid) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (kos.make_tenant_key(tenant)).key_id;
end $$;

-- Forget a tenant's keys for ever: what its log has encrypted reads '[erased]' from now on, and its leaves still hold.
-- What is written while this runs may be erased as well; later writes have a new key. Returns how many keys that were.
create function kos.erase_tenant_keys(tenant uuid) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  erased bigint;
begin
  update kos.tenant_keys k set key = null, erased_at = clock_timestamp() where k.tenant_id = tenant and k.key is not null;
  get diagnostics erased = row_count;
  return erased;
end $$;
grant execute on function kos.reveal(uuid, jsonb), kos.rebuilt_state(uuid, text, text, bigint) to kos_mover;
grant execute on function kos.is_replayable(regclass) to kos_operator, kos_auditor, kos_mover;
grant execute on function kos.rotate_tenant_key(uuid), kos.erase_tenant_keys(uuid) to kos_operator;

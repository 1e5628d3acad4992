--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: kos; Type: SCHEMA; Schema: -; Owner: kos_owner
--

CREATE SCHEMA kos;


ALTER SCHEMA kos OWNER TO kos_owner;

--
-- Name: admit(text, bigint, text, text, text, inet, text, integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  id uuid;
  here kos.fence;
  noted text;
  entered text := nullif(current_setting('kos.tenant_id', true), '');
begin
  if tenant is null or tenant = '' then
    perform kos.no_tenant();
  end if;
  -- The form of a UUID, in steps that each look for little: a tenth of what one regular expression for it costs.
  if tenant like '________-____-____-____-____________' and tenant !~ '[^0-9A-Fa-f-]' and tenant not like '%-%-%-%-%-%' then
    id := tenant::uuid;
  else
    select f.tenant_id into id from kos.fence f where f.name = tenant;
    if id is null then
      raise exception 'there is no tenant % in this database', tenant using errcode = 'KS002', hint = 'kos tenant list';
    end if;
  end if;
  -- Null first: NULL AND … would ask for the locks in every entry.
  if entered is not null and entered <> id::text and kos.is_inside(entered) then
    raise exception 'this transaction is in tenant % already', entered
      using errcode = 'KS004', hint = 'one transaction per tenant: commit, then enter the other';
  end if;
  here := kos.pass_fence(id, epoch);
  -- One expression, since plpgsql makes each one ready anew in every transaction. Most servers set no limit of their
  -- own; comparing it with ours costs more than all the rest. Drivers send null for what nobody said: that must not be
  -- a way to have no limit.
  noted := concat(
    set_config('kos.tenant_id', id::text, true),
    set_config('kos.epoch', here.epoch::text, true),
    set_config('kos.persona', coalesce(persona, ''), true),
    set_config('kos.user_id', coalesce(user_id, ''), true),
    set_config('kos.request_id', coalesce(request_id, ''), true),
    set_config('kos.address', coalesce(host(address), ''), true),
    set_config('kos.agent', coalesce(agent, ''), true),
    case current_setting('transaction_timeout', true)
      when '0' then set_config('transaction_timeout', coalesce(timeout_ms, 60000)::text, true)
      else kos.limit_transaction(coalesce(timeout_ms, 60000))
    end);
  return here.search_path;
end $$;


ALTER FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) OWNER TO kos_owner;

--
-- Name: advance_epoch(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.advance_epoch(tenant uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  risen bigint;
begin
  perform pg_advisory_xact_lock(kos.fence_key(tenant));
  update kos.fence f set epoch = f.epoch + 1 where f.tenant_id = tenant returning f.epoch into risen;
  if risen is null then
    raise exception 'there is no tenant % in this database', tenant using errcode = 'KS002', hint = 'kos tenant list';
  end if;
  -- The directory stands in the same database for most tenants, and then follows in the same transaction.
  update kos.placements p set epoch = risen where p.tenant_id = tenant;
  return risen;
end $$;


ALTER FUNCTION kos.advance_epoch(tenant uuid) OWNER TO kos_owner;

--
-- Name: application_rights(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.application_rights() RETURNS TABLE(relation oid, role text, privilege text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select distinct c.oid, r.name, given.privilege_type
    from pg_class c
    cross join lateral (
      select x.grantee, x.privilege_type from aclexplode(c.relacl) x
      union all
      select x.grantee, x.privilege_type
        from pg_attribute a
        cross join aclexplode(a.attacl) x
       where a.attrelid = c.oid and not a.attisdropped
    ) given
    join kos.application_roles() r on r.oid = given.grantee
   where c.relkind in ('r', 'p', 'f', 'v', 'm') and given.grantee <> c.relowner
$$;


ALTER FUNCTION kos.application_rights() OWNER TO kos_owner;

--
-- Name: application_roles(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.application_roles() RETURNS TABLE(oid oid, name text, acts boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive membership as (
    select m.roleid, m.member, coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
                            or coalesce((to_jsonb(m) ->> 'set_option')::boolean, true) as usable
      from pg_auth_members m
  ), acting as (
    select 'kos_app'::regrole::oid as oid
    union
    select m.member from acting a join membership m on m.roleid = a.oid and m.usable
  ), held as (
    select a.oid from acting a
    union
    select m.roleid from held h join membership m on m.member = h.oid and m.usable
  )
  select r.oid, quote_ident(r.rolname), r.oid in (select a.oid from acting a)
    from held h
    join pg_roles r on r.oid = h.oid
   where r.rolname not in ('kos_owner', 'kos_operator', 'kos_auditor') and r.rolname !~ '^pg_'
  union all
  select 0, 'public', false
$$;


ALTER FUNCTION kos.application_roles() OWNER TO kos_owner;

--
-- Name: conninfo_value(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.conninfo_value(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((''''::text || replace(replace(value, '\'::text, '\\'::text), ''''::text, '\'''::text)) || ''''::text);


ALTER FUNCTION kos.conninfo_value(value text) OWNER TO kos_owner;

--
-- Name: current_persona(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.current_persona() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('kos.persona'::text, true), ''::text);


ALTER FUNCTION kos.current_persona() OWNER TO kos_owner;

--
-- Name: FUNCTION current_persona(); Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON FUNCTION kos.current_persona() IS 'The persona that this transaction has entered with; null for the application itself.';


--
-- Name: no_tenant(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.no_tenant() RETURNS uuid
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
begin
  raise exception 'this transaction has entered no tenant'
    using errcode = 'KS001', hint = 'select kos.enter(NAME), in the same transaction';
end $$;


ALTER FUNCTION kos.no_tenant() OWNER TO kos_owner;

--
-- Name: current_tenant_id(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.current_tenant_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE((NULLIF(current_setting('kos.tenant_id'::text, true), ''::text))::uuid, kos.no_tenant());


ALTER FUNCTION kos.current_tenant_id() OWNER TO kos_owner;

--
-- Name: FUNCTION current_tenant_id(); Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON FUNCTION kos.current_tenant_id() IS 'The tenant that this transaction has entered; error KS001 where it has entered none.';


--
-- Name: current_user_id(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.current_user_id() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('kos.user_id'::text, true), ''::text);


ALTER FUNCTION kos.current_user_id() OWNER TO kos_owner;

--
-- Name: FUNCTION current_user_id(); Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON FUNCTION kos.current_user_id() IS 'The user on whose behalf this transaction works, as the application names its users; null if not said.';


--
-- Name: enter(text, bigint, text, text, text, inet, text, integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.enter(tenant text, epoch bigint DEFAULT NULL::bigint, persona text DEFAULT NULL::text, user_id text DEFAULT NULL::text, request_id text DEFAULT NULL::text, address inet DEFAULT NULL::inet, agent text DEFAULT NULL::text, timeout_ms integer DEFAULT 60000) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  path text := kos.admit(tenant, epoch, persona, user_id, request_id, address, agent, timeout_ms);
  noted text;
begin
  if persona <> '' then
    noted := pg_catalog.set_config('role', 'kos_persona', true);
  elsif current_user = 'kos_persona' then
    noted := pg_catalog.set_config('role', 'none', true);
  end if;
  return pg_catalog.set_config('search_path', path, true);
end $$;


ALTER FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) OWNER TO kos_owner;

--
-- Name: fence_holders(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.fence_holders(tenant uuid) RETURNS TABLE(pid integer, transaction text, role_name text, application text, state text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(l.pid, 0), l.virtualtransaction, a.usename::text, a.application_name,
         case when l.pid is null then 'prepared transaction' else a.state end
    from pg_locks l
    left join pg_stat_activity a using (pid)
   where l.locktype = 'advisory'
     and l.granted
     and l.database = (select oid from pg_database where datname = current_database())
     and (l.classid::bigint << 32 | l.objid::bigint) = kos.fence_key(tenant)
     and l.objsubid = 1
     and l.pid is distinct from pg_backend_pid()
   order by 1
$$;


ALTER FUNCTION kos.fence_holders(tenant uuid) OWNER TO kos_owner;

--
-- Name: fence_key(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.fence_key(tenant_id uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended((tenant_id)::text, (1263489024)::bigint);


ALTER FUNCTION kos.fence_key(tenant_id uuid) OWNER TO kos_owner;

--
-- Name: guard(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.guard() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  tenant uuid := kos.current_tenant_id();
  epoch bigint := nullif(current_setting('kos.epoch', true), '')::bigint;
  here kos.fence;
begin
  if epoch is null then
    perform kos.no_tenant();
  end if;
  here := kos.pass_fence(tenant, epoch);
  if tg_table_schema <> here.schema_name then
    raise exception 'the tables of tenant % are in schema %, not in %', here.name, here.schema_name, tg_table_schema
      using errcode = 'KS003', detail = 'the tenant lives in another schema',
            hint = 'use the search path that kos.enter() returns, and no schema in table names';
  end if;
  if tg_op = 'TRUNCATE' and here.tier = 'row' then
    raise exception 'TRUNCATE of %.% would empty every tenant of the row tier', tg_table_schema, tg_table_name
      using errcode = 'KS005', hint = 'delete from … removes the rows of the entered tenant';
  end if;
  return null;
end $$;


ALTER FUNCTION kos.guard() OWNER TO kos_owner;

--
-- Name: handshake(integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.handshake(library integer) RETURNS integer
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  found_version integer;
  oldest integer;
begin
  select max(v.version), max(v.oldest_library) into found_version, oldest
    from kos.schema_versions v where v.schema_name = 'kos';
  if library < oldest then
    raise exception 'this database serves libraries from version %, not %', oldest, library
      using errcode = 'KS007', hint = 'pip install --upgrade kos', detail = oldest::text;
  end if;
  return found_version;
end $$;


ALTER FUNCTION kos.handshake(library integer) OWNER TO kos_owner;

--
-- Name: holds_key(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.holds_key() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended('kos.object_holds'::text, (1263489025)::bigint);


ALTER FUNCTION kos.holds_key() OWNER TO kos_owner;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: leases; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.leases (
    subject text NOT NULL,
    token bigint NOT NULL,
    operation_id uuid NOT NULL,
    holder text NOT NULL,
    has_session boolean NOT NULL,
    until timestamp with time zone NOT NULL,
    taken_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE kos.leases OWNER TO kos_owner;

--
-- Name: is_held(kos.leases); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.is_held(lease kos.leases) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select lease.until > clock_timestamp() and (not lease.has_session or exists (
    select from pg_locks l
     where l.locktype = 'advisory'
       and l.granted
       and l.database = (select oid from pg_database where datname = current_database())
       and (l.classid::bigint << 32 | l.objid::bigint) = kos.lease_key(lease.subject, lease.token)
       and l.objsubid = 1
  ))
$$;


ALTER FUNCTION kos.is_held(lease kos.leases) OWNER TO kos_owner;

--
-- Name: is_inside(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.is_inside(tenant text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    AS $$
begin
  return exists (
    select from pg_locks l
     where l.pid = pg_backend_pid()
       and l.locktype = 'advisory'
       and l.granted
       and l.database = (select oid from pg_database where datname = current_database())
       and (l.classid::bigint << 32 | l.objid::bigint) = kos.fence_key(tenant::uuid)
       and l.objsubid = 1
  );
exception when invalid_text_representation then
  return false;
end $$;


ALTER FUNCTION kos.is_inside(tenant text) OWNER TO kos_owner;

--
-- Name: kept_tables(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.kept_tables() RETURNS TABLE(oid oid)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive kept as (
    select c.oid
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'f')
       and n.nspname in (select v.schema_name from kos.schema_versions v where v.schema_name <> 'kos')
  ), below as (
    select k.oid from kept k
    union
    select i.inhrelid from below b join pg_inherits i on i.inhparent = b.oid
  ), above as (
    select b.oid from below b
    union
    select i.inhparent from above a join pg_inherits i on i.inhrelid = a.oid
  )
  select a.oid from above a
$$;


ALTER FUNCTION kos.kept_tables() OWNER TO kos_owner;

--
-- Name: lease_key(text, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.lease_key(subject text, token bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(((subject || ' '::text) || token), (1263489027)::bigint);


ALTER FUNCTION kos.lease_key(subject text, token bigint) OWNER TO kos_owner;

--
-- Name: limit_transaction(integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.limit_transaction(milliseconds integer) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  setting text;
  settings text[] := case when current_setting('server_version_num')::integer >= 170000
    then array['transaction_timeout']
    else array['statement_timeout', 'idle_in_transaction_session_timeout'] end;
  present interval;
  noted text;
begin
  foreach setting in array settings loop
    present := current_setting(setting)::interval;
    -- A negative limit goes through, to be refused by PostgreSQL.
    if milliseconds <> 0 and (present = '0' or present > milliseconds * interval '1 ms') then
      -- A timer that runs is not set anew by a shorter limit (tried on PostgreSQL 18): end it first.
      noted := set_config(setting, '0', true);
      noted := set_config(setting, milliseconds::text, true);
    end if;
  end loop;
  return noted;
end $$;


ALTER FUNCTION kos.limit_transaction(milliseconds integer) OWNER TO kos_owner;

--
-- Name: object_key(uuid, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.object_key(tenant_id uuid, sha256 text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended((((tenant_id)::text || '/'::text) || sha256), (1263489025)::bigint);


ALTER FUNCTION kos.object_key(tenant_id uuid, sha256 text) OWNER TO kos_owner;

--
-- Name: fence; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.fence (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    tier text NOT NULL,
    schema_name text NOT NULL,
    epoch bigint NOT NULL,
    serving boolean DEFAULT true NOT NULL,
    search_path text GENERATED ALWAYS AS ((quote_ident(schema_name) || ', public, pg_temp'::text)) STORED,
    CONSTRAINT fence_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT fence_tier_check CHECK ((tier = ANY (ARRAY['row'::text, 'schema'::text, 'database'::text])))
);


ALTER TABLE kos.fence OWNER TO kos_owner;

--
-- Name: pass_fence(uuid, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.pass_fence(tenant uuid, wanted_epoch bigint) RETURNS kos.fence
    LANGUAGE plpgsql
    AS $$
declare
  here kos.fence;
  locked text;
begin
  locked := pg_advisory_xact_lock_shared(kos.fence_key(tenant));
  if current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
     or current_setting('transaction_read_only')::boolean then
    select * into here from kos.fence f where f.tenant_id = tenant;
  else
    -- The snapshot of this transaction may be older than a cutover that it waited for. Locking the row makes
    -- PostgreSQL compare: a row that has changed since is a serialization failure (40001).
    select * into here from kos.fence f where f.tenant_id = tenant for share;
  end if;
  if here.tenant_id is null then
    raise exception 'there is no tenant % in this database', tenant using errcode = 'KS002', hint = 'kos tenant list';
  end if;
  if not here.serving or here.epoch <> coalesce(wanted_epoch, here.epoch) then
    raise exception 'the tenant % is at epoch %, this session came for %', here.name, here.epoch, coalesce(wanted_epoch::text, 'any')
      using errcode = 'KS003', detail = case when here.serving then 'it is served here at epoch ' || here.epoch else 'it is served elsewhere' end,
            hint = 'run the transaction again: the placement is looked up anew';
  end if;
  return here;
end $$;


ALTER FUNCTION kos.pass_fence(tenant uuid, wanted_epoch bigint) OWNER TO kos_owner;

--
-- Name: pass_lease(text, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.pass_lease(subject text, token bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  here bigint;
begin
  select f.token into here from kos.lease_fences f where f.subject = pass_lease.subject for share;
  if here is distinct from pass_lease.token then
    raise exception 'the lease of % was taken over', pass_lease.subject
      using errcode = 'KS011', hint = 'kos operation list', detail = coalesce(here::text, 'no fence');
  end if;
end $$;


ALTER FUNCTION kos.pass_lease(subject text, token bigint) OWNER TO kos_owner;

--
-- Name: protect(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.protect(target regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
begin
  execute format('alter table %s enable row level security, force row level security', target);
  execute format('drop policy if exists tenant_isolation on %s', target);
  execute format('create policy tenant_isolation on %s as restrictive for all to kos_app, kos_persona
                    using (tenant_id = (select kos.current_tenant_id()))', target);
  execute format('drop policy if exists operator_access on %s', target);
  execute format('create policy operator_access on %s as permissive for all to kos_operator
                    using (true) with check (true)', target);
  execute format('drop trigger if exists kos_guard on %s', target);
  execute format('create trigger kos_guard before insert or update or delete on %s
                    for each statement execute function kos.guard()', target);
  execute format('drop trigger if exists kos_guard_truncate on %s', target);
  execute format('create trigger kos_guard_truncate before truncate on %s
                    for each statement execute function kos.guard()', target);
end $$;


ALTER FUNCTION kos.protect(target regclass) OWNER TO kos_owner;

--
-- Name: refuse_move(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.refuse_move() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if old.state in ('finished', 'rolled_back') and new.state <> old.state
     or old.state in ('rolling_back', 'rollback_failed') and new.state not in ('rolling_back', 'rollback_failed', 'rolled_back') then
    raise exception 'the operation % is %, it can''t become %', old.operation_id, old.state, new.state
      using errcode = 'KS010', hint = 'kos operation show ' || old.operation_id;
  end if;
  if (new.operation_id, new.name, new.subject, new.plan) is distinct from (old.operation_id, old.name, old.subject, old.plan) then
    raise exception 'the plan of the operation % is fixed', old.operation_id
      using errcode = 'KS010', hint = 'kos operation show ' || old.operation_id;
  end if;
  return new;
end $$;


ALTER FUNCTION kos.refuse_move() OWNER TO kos_owner;

--
-- Name: refuse_rewriting(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  raise exception 'the journal is only ever added to'
    using errcode = 'KS010', hint = 'kos operation show ' || old.operation_id;
end $$;


ALTER FUNCTION kos.refuse_rewriting() OWNER TO kos_owner;

--
-- Name: route_to_shard(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.route_to_shard(tenant_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  conninfo text;
begin
  select format('host=%s port=%s dbname=%s', kos.conninfo_value(s.database_host), s.database_port,
                kos.conninfo_value(p.database_name))
    into conninfo
    from kos.placements p
    join kos.shards s using (shard_id)
   where p.tenant_id = route_to_shard.tenant_id;
  if conninfo is null then
    raise exception 'there is no tenant %', route_to_shard.tenant_id using errcode = 'KS002', hint = 'kos tenant list';
  end if;
  return conninfo;
end $$;


ALTER FUNCTION kos.route_to_shard(tenant_id uuid) OWNER TO kos_owner;

--
-- Name: tenant_tables(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tenant_tables() RETURNS TABLE(oid oid)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select c.oid
    from kos.kept_tables() k
    join pg_class c on c.oid = k.oid
   where c.relkind in ('r', 'p')
     and exists (select from pg_attribute a
                  where a.attrelid = c.oid and a.attname = 'tenant_id' and a.attnum > 0 and not a.attisdropped)
$$;


ALTER FUNCTION kos.tenant_tables() OWNER TO kos_owner;

--
-- Name: uuid_v7(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.uuid_v7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    RETURN uuidv7();


ALTER FUNCTION kos.uuid_v7() OWNER TO kos_owner;

--
-- Name: checkpoints; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.checkpoints (
    operation_id uuid NOT NULL,
    step text NOT NULL,
    value jsonb NOT NULL,
    done bigint,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE kos.checkpoints OWNER TO kos_owner;

--
-- Name: lease_fences; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.lease_fences (
    subject text NOT NULL,
    token bigint NOT NULL
);


ALTER TABLE kos.lease_fences OWNER TO kos_owner;

--
-- Name: lease_tokens; Type: SEQUENCE; Schema: kos; Owner: kos_owner
--

CREATE SEQUENCE kos.lease_tokens
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE kos.lease_tokens OWNER TO kos_owner;

--
-- Name: object_holds; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.object_holds (
    hold_id uuid DEFAULT kos.uuid_v7() NOT NULL,
    tenant_id uuid,
    reason text NOT NULL,
    created_by text NOT NULL,
    until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT object_holds_reason_check CHECK ((reason <> ''::text))
);


ALTER TABLE kos.object_holds OWNER TO kos_owner;

--
-- Name: TABLE object_holds; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.object_holds IS 'While a hold is in force, no object of its tenant (null: of any tenant) is collected.';


--
-- Name: operation_events; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.operation_events (
    operation_id uuid NOT NULL,
    sequence integer NOT NULL,
    step text,
    what text NOT NULL,
    result jsonb,
    token bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT operation_events_check CHECK (((step IS NULL) = (what = ANY (ARRAY['finished'::text, 'rollback_started'::text, 'rolled_back'::text])))),
    CONSTRAINT operation_events_sequence_check CHECK ((sequence > 0)),
    CONSTRAINT operation_events_what_check CHECK ((what = ANY (ARRAY['started'::text, 'done'::text, 'failed'::text, 'finished'::text, 'rollback_started'::text, 'undo_started'::text, 'undone'::text, 'undo_failed'::text, 'rolled_back'::text])))
);


ALTER TABLE kos.operation_events OWNER TO kos_owner;

--
-- Name: operation_places; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.operation_places (
    operation_id uuid NOT NULL,
    shard text NOT NULL,
    database_name text NOT NULL
);


ALTER TABLE kos.operation_places OWNER TO kos_owner;

--
-- Name: operations; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.operations (
    operation_id uuid NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    plan jsonb NOT NULL,
    state text DEFAULT 'planned'::text NOT NULL,
    library text NOT NULL,
    created_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT operations_state_check CHECK ((state = ANY (ARRAY['planned'::text, 'running'::text, 'failed'::text, 'finished'::text, 'rolling_back'::text, 'rollback_failed'::text, 'rolled_back'::text]))),
    CONSTRAINT operations_subject_check CHECK ((subject <> ''::text))
);


ALTER TABLE kos.operations OWNER TO kos_owner;

--
-- Name: TABLE operations; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.operations IS 'One row per operation: its plan, stored before its first step, and its state, which is the fold of its events.';


--
-- Name: placements; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.placements (
    tenant_id uuid NOT NULL,
    tier text NOT NULL,
    shard_id integer NOT NULL,
    database_name text NOT NULL,
    schema_name text NOT NULL,
    epoch bigint NOT NULL,
    CONSTRAINT placements_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT placements_tier_check CHECK ((tier = ANY (ARRAY['row'::text, 'schema'::text, 'database'::text])))
);


ALTER TABLE kos.placements OWNER TO kos_owner;

--
-- Name: schema_versions; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.schema_versions (
    schema_name text NOT NULL,
    version integer NOT NULL,
    file_name text NOT NULL,
    checksum text NOT NULL,
    oldest_library integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT schema_versions_version_check CHECK ((version > 0))
);


ALTER TABLE kos.schema_versions OWNER TO kos_owner;

--
-- Name: shards; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.shards (
    shard_id integer NOT NULL,
    name text NOT NULL,
    region text,
    database_host text NOT NULL,
    database_port integer NOT NULL,
    database_name text NOT NULL,
    CONSTRAINT shards_database_port_check CHECK (((database_port >= 1) AND (database_port <= 65535)))
);


ALTER TABLE kos.shards OWNER TO kos_owner;

--
-- Name: shards_shard_id_seq; Type: SEQUENCE; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.shards ALTER COLUMN shard_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME kos.shards_shard_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: tenant_shards; Type: VIEW; Schema: kos; Owner: kos_owner
--

CREATE VIEW kos.tenant_shards WITH (security_invoker='true') AS
 SELECT p.tenant_id,
    p.shard_id,
    s.database_host,
    p.database_name
   FROM (kos.placements p
     JOIN kos.shards s USING (shard_id));


ALTER VIEW kos.tenant_shards OWNER TO kos_owner;

--
-- Name: tenants; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.tenants (
    tenant_id uuid DEFAULT kos.uuid_v7() NOT NULL,
    name text NOT NULL,
    service_plan text DEFAULT 'standard'::text NOT NULL,
    state text DEFAULT 'creating'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_name_check CHECK (((name ~ '^[a-z][a-z0-9]*(-[a-z0-9]+)*$'::text) AND (length(name) <= 40))),
    CONSTRAINT tenants_state_check CHECK ((state = ANY (ARRAY['creating'::text, 'importing'::text, 'removing'::text, 'active'::text])))
);


ALTER TABLE kos.tenants OWNER TO kos_owner;

--
-- Name: checkpoints checkpoints_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (operation_id, step);


--
-- Name: fence fence_name_key; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.fence
    ADD CONSTRAINT fence_name_key UNIQUE (name);


--
-- Name: fence fence_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.fence
    ADD CONSTRAINT fence_pkey PRIMARY KEY (tenant_id);


--
-- Name: lease_fences lease_fences_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.lease_fences
    ADD CONSTRAINT lease_fences_pkey PRIMARY KEY (subject);


--
-- Name: leases leases_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (subject);


--
-- Name: object_holds object_holds_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.object_holds
    ADD CONSTRAINT object_holds_pkey PRIMARY KEY (hold_id);


--
-- Name: operation_events operation_events_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.operation_events
    ADD CONSTRAINT operation_events_pkey PRIMARY KEY (operation_id, sequence);


--
-- Name: operation_places operation_places_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.operation_places
    ADD CONSTRAINT operation_places_pkey PRIMARY KEY (operation_id, shard, database_name);


--
-- Name: operations operations_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.operations
    ADD CONSTRAINT operations_pkey PRIMARY KEY (operation_id);


--
-- Name: placements placements_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.placements
    ADD CONSTRAINT placements_pkey PRIMARY KEY (tenant_id);


--
-- Name: schema_versions schema_versions_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.schema_versions
    ADD CONSTRAINT schema_versions_pkey PRIMARY KEY (schema_name, version);


--
-- Name: shards shards_name_key; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.shards
    ADD CONSTRAINT shards_name_key UNIQUE (name);


--
-- Name: shards shards_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.shards
    ADD CONSTRAINT shards_pkey PRIMARY KEY (shard_id);


--
-- Name: tenants tenants_name_key; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.tenants
    ADD CONSTRAINT tenants_name_key UNIQUE (name);


--
-- Name: tenants tenants_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id);


--
-- Name: operation_events_once; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE UNIQUE INDEX operation_events_once ON kos.operation_events USING btree (operation_id, step, what) WHERE (what = ANY (ARRAY['done'::text, 'undone'::text]));


--
-- Name: operations_by_time; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX operations_by_time ON kos.operations USING btree (created_at, operation_id);


--
-- Name: operations_unfinished; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE UNIQUE INDEX operations_unfinished ON kos.operations USING btree (subject) WHERE (state <> ALL (ARRAY['finished'::text, 'rolled_back'::text]));


--
-- Name: placements_by_shard; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX placements_by_shard ON kos.placements USING btree (shard_id, database_name);


--
-- Name: operations refuse_move; Type: TRIGGER; Schema: kos; Owner: kos_owner
--

CREATE TRIGGER refuse_move BEFORE UPDATE ON kos.operations FOR EACH ROW EXECUTE FUNCTION kos.refuse_move();


--
-- Name: operation_events refuse_rewriting; Type: TRIGGER; Schema: kos; Owner: kos_owner
--

CREATE TRIGGER refuse_rewriting BEFORE DELETE OR UPDATE ON kos.operation_events FOR EACH ROW EXECUTE FUNCTION kos.refuse_rewriting();


--
-- Name: operations refuse_rewriting; Type: TRIGGER; Schema: kos; Owner: kos_owner
--

CREATE TRIGGER refuse_rewriting BEFORE DELETE ON kos.operations FOR EACH ROW EXECUTE FUNCTION kos.refuse_rewriting();


--
-- Name: leases leases_operation_id_fkey; Type: FK CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.leases
    ADD CONSTRAINT leases_operation_id_fkey FOREIGN KEY (operation_id) REFERENCES kos.operations(operation_id);


--
-- Name: object_holds object_holds_tenant_id_fkey; Type: FK CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.object_holds
    ADD CONSTRAINT object_holds_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES kos.tenants(tenant_id) ON DELETE CASCADE;


--
-- Name: operation_events operation_events_operation_id_fkey; Type: FK CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.operation_events
    ADD CONSTRAINT operation_events_operation_id_fkey FOREIGN KEY (operation_id) REFERENCES kos.operations(operation_id);


--
-- Name: operation_places operation_places_operation_id_fkey; Type: FK CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.operation_places
    ADD CONSTRAINT operation_places_operation_id_fkey FOREIGN KEY (operation_id) REFERENCES kos.operations(operation_id);


--
-- Name: placements placements_shard_id_fkey; Type: FK CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.placements
    ADD CONSTRAINT placements_shard_id_fkey FOREIGN KEY (shard_id) REFERENCES kos.shards(shard_id);


--
-- Name: placements placements_tenant_id_fkey; Type: FK CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.placements
    ADD CONSTRAINT placements_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES kos.tenants(tenant_id) ON DELETE CASCADE;


--
-- Name: SCHEMA kos; Type: ACL; Schema: -; Owner: kos_owner
--

GRANT USAGE ON SCHEMA kos TO kos_app;
GRANT USAGE ON SCHEMA kos TO kos_persona;
GRANT USAGE ON SCHEMA kos TO kos_operator;
GRANT USAGE ON SCHEMA kos TO kos_auditor;


--
-- Name: FUNCTION admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_app;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_persona;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_auditor;


--
-- Name: FUNCTION advance_epoch(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.advance_epoch(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.advance_epoch(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION application_rights(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.application_rights() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.application_rights() TO kos_operator;
GRANT ALL ON FUNCTION kos.application_rights() TO kos_auditor;


--
-- Name: FUNCTION application_roles(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.application_roles() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.application_roles() TO kos_operator;
GRANT ALL ON FUNCTION kos.application_roles() TO kos_auditor;


--
-- Name: FUNCTION conninfo_value(value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.conninfo_value(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.conninfo_value(value text) TO kos_app;
GRANT ALL ON FUNCTION kos.conninfo_value(value text) TO kos_operator;
GRANT ALL ON FUNCTION kos.conninfo_value(value text) TO kos_auditor;


--
-- Name: FUNCTION current_persona(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_persona() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_app;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_persona;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_operator;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_auditor;


--
-- Name: FUNCTION no_tenant(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.no_tenant() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_app;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_persona;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_operator;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_auditor;


--
-- Name: FUNCTION current_tenant_id(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_tenant_id() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_app;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_persona;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_operator;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_auditor;


--
-- Name: FUNCTION current_user_id(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_user_id() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_app;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_persona;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_operator;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_auditor;


--
-- Name: FUNCTION enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_app;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_persona;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_auditor;


--
-- Name: FUNCTION fence_holders(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.fence_holders(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.fence_holders(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION fence_key(tenant_id uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.fence_key(tenant_id uuid) FROM PUBLIC;


--
-- Name: FUNCTION guard(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.guard() FROM PUBLIC;


--
-- Name: FUNCTION handshake(library integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.handshake(library integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_app;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_persona;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_auditor;


--
-- Name: FUNCTION holds_key(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.holds_key() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.holds_key() TO kos_operator;


--
-- Name: TABLE leases; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.leases TO kos_operator;
GRANT SELECT ON TABLE kos.leases TO kos_auditor;


--
-- Name: FUNCTION is_held(lease kos.leases); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.is_held(lease kos.leases) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.is_held(lease kos.leases) TO kos_operator;
GRANT ALL ON FUNCTION kos.is_held(lease kos.leases) TO kos_auditor;


--
-- Name: FUNCTION is_inside(tenant text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.is_inside(tenant text) FROM PUBLIC;


--
-- Name: FUNCTION kept_tables(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.kept_tables() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.kept_tables() TO kos_operator;
GRANT ALL ON FUNCTION kos.kept_tables() TO kos_auditor;


--
-- Name: FUNCTION lease_key(subject text, token bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.lease_key(subject text, token bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.lease_key(subject text, token bigint) TO kos_operator;
GRANT ALL ON FUNCTION kos.lease_key(subject text, token bigint) TO kos_auditor;


--
-- Name: FUNCTION limit_transaction(milliseconds integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.limit_transaction(milliseconds integer) FROM PUBLIC;


--
-- Name: FUNCTION object_key(tenant_id uuid, sha256 text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) TO kos_app;
GRANT ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) TO kos_persona;
GRANT ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) TO kos_operator;


--
-- Name: TABLE fence; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.fence TO kos_operator;


--
-- Name: FUNCTION pass_fence(tenant uuid, wanted_epoch bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.pass_fence(tenant uuid, wanted_epoch bigint) FROM PUBLIC;


--
-- Name: FUNCTION pass_lease(subject text, token bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.pass_lease(subject text, token bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.pass_lease(subject text, token bigint) TO kos_operator;


--
-- Name: FUNCTION protect(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.protect(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION refuse_move(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.refuse_move() FROM PUBLIC;


--
-- Name: FUNCTION refuse_rewriting(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.refuse_rewriting() FROM PUBLIC;


--
-- Name: FUNCTION route_to_shard(tenant_id uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) TO kos_app;
GRANT ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) TO kos_operator;
GRANT ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) TO kos_auditor;


--
-- Name: FUNCTION tenant_tables(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.tenant_tables() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.tenant_tables() TO kos_operator;
GRANT ALL ON FUNCTION kos.tenant_tables() TO kos_auditor;


--
-- Name: FUNCTION uuid_v7(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.uuid_v7() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.uuid_v7() TO kos_app;
GRANT ALL ON FUNCTION kos.uuid_v7() TO kos_persona;
GRANT ALL ON FUNCTION kos.uuid_v7() TO kos_operator;


--
-- Name: TABLE checkpoints; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.checkpoints TO kos_operator;
GRANT SELECT ON TABLE kos.checkpoints TO kos_auditor;


--
-- Name: TABLE lease_fences; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,UPDATE ON TABLE kos.lease_fences TO kos_operator;
GRANT SELECT ON TABLE kos.lease_fences TO kos_auditor;


--
-- Name: SEQUENCE lease_tokens; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT USAGE ON SEQUENCE kos.lease_tokens TO kos_operator;


--
-- Name: TABLE object_holds; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE ON TABLE kos.object_holds TO kos_operator;
GRANT SELECT ON TABLE kos.object_holds TO kos_auditor;


--
-- Name: TABLE operation_events; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT ON TABLE kos.operation_events TO kos_operator;
GRANT SELECT ON TABLE kos.operation_events TO kos_auditor;


--
-- Name: TABLE operation_places; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT ON TABLE kos.operation_places TO kos_operator;
GRANT SELECT ON TABLE kos.operation_places TO kos_auditor;


--
-- Name: TABLE operations; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,UPDATE ON TABLE kos.operations TO kos_operator;
GRANT SELECT ON TABLE kos.operations TO kos_auditor;


--
-- Name: TABLE placements; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.placements TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.placements TO kos_operator;
GRANT SELECT ON TABLE kos.placements TO kos_auditor;


--
-- Name: TABLE schema_versions; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.schema_versions TO kos_operator;
GRANT SELECT ON TABLE kos.schema_versions TO kos_auditor;


--
-- Name: TABLE shards; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.shards TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.shards TO kos_operator;
GRANT SELECT ON TABLE kos.shards TO kos_auditor;


--
-- Name: TABLE tenant_shards; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.tenant_shards TO kos_app;
GRANT SELECT ON TABLE kos.tenant_shards TO kos_operator;
GRANT SELECT ON TABLE kos.tenant_shards TO kos_auditor;


--
-- Name: TABLE tenants; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.tenants TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.tenants TO kos_operator;
GRANT SELECT ON TABLE kos.tenants TO kos_auditor;


--
-- PostgreSQL database dump complete
--


--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: knowledge; Type: SCHEMA; Schema: -; Owner: kos_owner
--

CREATE SCHEMA knowledge;


ALTER SCHEMA knowledge OWNER TO kos_owner;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: annotations; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.annotations (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    document_id uuid NOT NULL,
    atom_id uuid NOT NULL,
    start_offset integer NOT NULL,
    end_offset integer NOT NULL,
    quote text NOT NULL,
    confidence real DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT annotations_check CHECK (((end_offset > start_offset) AND (char_length(quote) = (end_offset - start_offset)))),
    CONSTRAINT annotations_confidence_check CHECK (((confidence >= (0)::double precision) AND (confidence <= (1)::double precision))),
    CONSTRAINT annotations_start_offset_check CHECK ((start_offset >= 0))
);

ALTER TABLE ONLY knowledge.annotations FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.annotations OWNER TO kos_owner;

--
-- Name: TABLE annotations; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.annotations IS 'Where a document states an atom: offsets in characters, the end not included.';


--
-- Name: atoms; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.atoms (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    atom_type text NOT NULL,
    name text NOT NULL,
    value text,
    number_value numeric,
    boolean_value boolean,
    time_value timestamp with time zone,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    confidence real DEFAULT 1 NOT NULL,
    source text,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT atoms_confidence_check CHECK (((confidence >= (0)::double precision) AND (confidence <= (1)::double precision))),
    CONSTRAINT atoms_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY knowledge.atoms FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.atoms OWNER TO kos_owner;

--
-- Name: TABLE atoms; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.atoms IS 'The smallest statements: a typed value with a name, its source and how sure it is.';


--
-- Name: capability_mappings; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.capability_mappings (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    atom_id uuid NOT NULL,
    capability text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY knowledge.capability_mappings FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.capability_mappings OWNER TO kos_owner;

--
-- Name: TABLE capability_mappings; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.capability_mappings IS 'Which business capability an atom serves; product owners see the atoms that stand here.';


--
-- Name: documents; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.documents (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    title text NOT NULL,
    media_type text NOT NULL,
    content_sha256 text NOT NULL,
    byte_length bigint NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT documents_byte_length_check CHECK ((byte_length >= 0)),
    CONSTRAINT documents_content_sha256_check CHECK ((content_sha256 ~ '^[0-9a-f]{64}$'::text))
);

ALTER TABLE ONLY knowledge.documents FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.documents OWNER TO kos_owner;

--
-- Name: TABLE documents; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.documents IS 'Documents. The content is an object, immutable and named by its SHA-256; the row refers to it.';


--
-- Name: implementations; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.implementations (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    atom_id uuid NOT NULL,
    system text NOT NULL,
    location text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY knowledge.implementations FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.implementations OWNER TO kos_owner;

--
-- Name: TABLE implementations; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.implementations IS 'Where an atom is implemented; developers see the atoms that stand here.';


--
-- Name: knowledge_events; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.knowledge_events (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    "position" bigint NOT NULL,
    event_type text NOT NULL,
    event_data jsonb NOT NULL,
    aggregate_id uuid NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    CONSTRAINT knowledge_events_position_check CHECK (("position" > 0))
)
PARTITION BY RANGE (occurred_at);

ALTER TABLE ONLY knowledge.knowledge_events FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.knowledge_events OWNER TO kos_owner;

--
-- Name: TABLE knowledge_events; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.knowledge_events IS 'The log of a tenant''s changes, by position.';


--
-- Name: knowledge_events_default; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.knowledge_events_default (
    tenant_id uuid DEFAULT kos.current_tenant_id() CONSTRAINT knowledge_events_tenant_id_not_null NOT NULL,
    "position" bigint CONSTRAINT knowledge_events_position_not_null NOT NULL,
    event_type text CONSTRAINT knowledge_events_event_type_not_null NOT NULL,
    event_data jsonb CONSTRAINT knowledge_events_event_data_not_null NOT NULL,
    aggregate_id uuid CONSTRAINT knowledge_events_aggregate_id_not_null NOT NULL,
    occurred_at timestamp with time zone CONSTRAINT knowledge_events_occurred_at_not_null NOT NULL,
    CONSTRAINT knowledge_events_position_check CHECK (("position" > 0))
);

ALTER TABLE ONLY knowledge.knowledge_events_default FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.knowledge_events_default OWNER TO kos_owner;

--
-- Name: molecule_atoms; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.molecule_atoms (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    molecule_id uuid NOT NULL,
    atom_id uuid NOT NULL,
    role text NOT NULL
);

ALTER TABLE ONLY knowledge.molecule_atoms FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.molecule_atoms OWNER TO kos_owner;

--
-- Name: TABLE molecule_atoms; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.molecule_atoms IS 'Which atoms a molecule is composed of, and as what.';


--
-- Name: molecules; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.molecules (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    name text NOT NULL,
    rule jsonb DEFAULT '{}'::jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT molecules_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY knowledge.molecules FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.molecules OWNER TO kos_owner;

--
-- Name: TABLE molecules; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.molecules IS 'Rules composed of atoms.';


--
-- Name: relations; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.relations (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    relation_type text NOT NULL,
    from_atom_id uuid NOT NULL,
    to_atom_id uuid NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY knowledge.relations FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.relations OWNER TO kos_owner;

--
-- Name: TABLE relations; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.relations IS 'Edges between atoms.';


--
-- Name: sensitive_atoms; Type: TABLE; Schema: knowledge; Owner: kos_owner
--

CREATE TABLE knowledge.sensitive_atoms (
    tenant_id uuid DEFAULT kos.current_tenant_id() NOT NULL,
    id uuid DEFAULT kos.uuid_v7() NOT NULL,
    encrypted_value bytea NOT NULL,
    encryption_key_id character varying(100) NOT NULL,
    searchable_hash character(64),
    range_prefix character varying(10),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY knowledge.sensitive_atoms FORCE ROW LEVEL SECURITY;


ALTER TABLE knowledge.sensitive_atoms OWNER TO kos_owner;

--
-- Name: TABLE sensitive_atoms; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON TABLE knowledge.sensitive_atoms IS 'Values that are stored encrypted only, with what finds them again.';


--
-- Name: knowledge_events_default; Type: TABLE ATTACH; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.knowledge_events ATTACH PARTITION knowledge.knowledge_events_default DEFAULT;


--
-- Name: annotations annotations_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.annotations
    ADD CONSTRAINT annotations_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: atoms atoms_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.atoms
    ADD CONSTRAINT atoms_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: capability_mappings capability_mappings_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.capability_mappings
    ADD CONSTRAINT capability_mappings_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: capability_mappings capability_mappings_tenant_id_atom_id_capability_key; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.capability_mappings
    ADD CONSTRAINT capability_mappings_tenant_id_atom_id_capability_key UNIQUE (tenant_id, atom_id, capability);


--
-- Name: documents documents_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: implementations implementations_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.implementations
    ADD CONSTRAINT implementations_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: implementations implementations_tenant_id_atom_id_system_location_key; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.implementations
    ADD CONSTRAINT implementations_tenant_id_atom_id_system_location_key UNIQUE (tenant_id, atom_id, system, location);


--
-- Name: knowledge_events knowledge_events_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.knowledge_events
    ADD CONSTRAINT knowledge_events_pkey PRIMARY KEY (tenant_id, "position", occurred_at);


--
-- Name: knowledge_events_default knowledge_events_default_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.knowledge_events_default
    ADD CONSTRAINT knowledge_events_default_pkey PRIMARY KEY (tenant_id, "position", occurred_at);


--
-- Name: molecule_atoms molecule_atoms_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.molecule_atoms
    ADD CONSTRAINT molecule_atoms_pkey PRIMARY KEY (tenant_id, molecule_id, atom_id, role);


--
-- Name: molecules molecules_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.molecules
    ADD CONSTRAINT molecules_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: molecules molecules_tenant_id_name_key; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.molecules
    ADD CONSTRAINT molecules_tenant_id_name_key UNIQUE (tenant_id, name);


--
-- Name: relations relations_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.relations
    ADD CONSTRAINT relations_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: relations relations_tenant_id_from_atom_id_relation_type_to_atom_id_key; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.relations
    ADD CONSTRAINT relations_tenant_id_from_atom_id_relation_type_to_atom_id_key UNIQUE (tenant_id, from_atom_id, relation_type, to_atom_id);


--
-- Name: sensitive_atoms sensitive_atoms_pkey; Type: CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.sensitive_atoms
    ADD CONSTRAINT sensitive_atoms_pkey PRIMARY KEY (tenant_id, id);


--
-- Name: annotations_by_atom; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX annotations_by_atom ON knowledge.annotations USING btree (tenant_id, atom_id);


--
-- Name: annotations_by_document; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX annotations_by_document ON knowledge.annotations USING btree (tenant_id, document_id, start_offset);


--
-- Name: atoms_by_name; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX atoms_by_name ON knowledge.atoms USING btree (tenant_id, atom_type, name);


--
-- Name: documents_by_content; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX documents_by_content ON knowledge.documents USING btree (tenant_id, content_sha256);


--
-- Name: knowledge_events_by_aggregate; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX knowledge_events_by_aggregate ON ONLY knowledge.knowledge_events USING btree (tenant_id, aggregate_id, "position");


--
-- Name: knowledge_events_default_tenant_id_aggregate_id_position_idx; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX knowledge_events_default_tenant_id_aggregate_id_position_idx ON knowledge.knowledge_events_default USING btree (tenant_id, aggregate_id, "position");


--
-- Name: molecule_atoms_by_atom; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX molecule_atoms_by_atom ON knowledge.molecule_atoms USING btree (tenant_id, atom_id);


--
-- Name: relations_by_target; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX relations_by_target ON knowledge.relations USING btree (tenant_id, to_atom_id, relation_type);


--
-- Name: sensitive_atoms_by_hash; Type: INDEX; Schema: knowledge; Owner: kos_owner
--

CREATE INDEX sensitive_atoms_by_hash ON knowledge.sensitive_atoms USING btree (tenant_id, searchable_hash);


--
-- Name: knowledge_events_default_pkey; Type: INDEX ATTACH; Schema: knowledge; Owner: kos_owner
--

ALTER INDEX knowledge.knowledge_events_pkey ATTACH PARTITION knowledge.knowledge_events_default_pkey;


--
-- Name: knowledge_events_default_tenant_id_aggregate_id_position_idx; Type: INDEX ATTACH; Schema: knowledge; Owner: kos_owner
--

ALTER INDEX knowledge.knowledge_events_by_aggregate ATTACH PARTITION knowledge.knowledge_events_default_tenant_id_aggregate_id_position_idx;


--
-- Name: annotations kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.annotations FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: atoms kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: capability_mappings kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.capability_mappings FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: documents kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.documents FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: implementations kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.implementations FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: knowledge_events kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.knowledge_events FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: knowledge_events_default kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.knowledge_events_default FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: molecule_atoms kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.molecule_atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: molecules kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.molecules FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: relations kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.relations FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: sensitive_atoms kos_guard; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard BEFORE INSERT OR DELETE OR UPDATE ON knowledge.sensitive_atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: annotations kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.annotations FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: atoms kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: capability_mappings kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.capability_mappings FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: documents kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.documents FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: implementations kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.implementations FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: knowledge_events kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.knowledge_events FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: knowledge_events_default kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.knowledge_events_default FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: molecule_atoms kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.molecule_atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: molecules kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.molecules FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: relations kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.relations FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: sensitive_atoms kos_guard_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_guard_truncate BEFORE TRUNCATE ON knowledge.sensitive_atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.guard();


--
-- Name: annotations annotations_tenant_id_atom_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.annotations
    ADD CONSTRAINT annotations_tenant_id_atom_id_fkey FOREIGN KEY (tenant_id, atom_id) REFERENCES knowledge.atoms(tenant_id, id);


--
-- Name: annotations annotations_tenant_id_document_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.annotations
    ADD CONSTRAINT annotations_tenant_id_document_id_fkey FOREIGN KEY (tenant_id, document_id) REFERENCES knowledge.documents(tenant_id, id) ON DELETE CASCADE;


--
-- Name: capability_mappings capability_mappings_tenant_id_atom_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.capability_mappings
    ADD CONSTRAINT capability_mappings_tenant_id_atom_id_fkey FOREIGN KEY (tenant_id, atom_id) REFERENCES knowledge.atoms(tenant_id, id) ON DELETE CASCADE;


--
-- Name: implementations implementations_tenant_id_atom_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.implementations
    ADD CONSTRAINT implementations_tenant_id_atom_id_fkey FOREIGN KEY (tenant_id, atom_id) REFERENCES knowledge.atoms(tenant_id, id) ON DELETE CASCADE;


--
-- Name: molecule_atoms molecule_atoms_tenant_id_atom_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.molecule_atoms
    ADD CONSTRAINT molecule_atoms_tenant_id_atom_id_fkey FOREIGN KEY (tenant_id, atom_id) REFERENCES knowledge.atoms(tenant_id, id);


--
-- Name: molecule_atoms molecule_atoms_tenant_id_molecule_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.molecule_atoms
    ADD CONSTRAINT molecule_atoms_tenant_id_molecule_id_fkey FOREIGN KEY (tenant_id, molecule_id) REFERENCES knowledge.molecules(tenant_id, id) ON DELETE CASCADE;


--
-- Name: relations relations_tenant_id_from_atom_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.relations
    ADD CONSTRAINT relations_tenant_id_from_atom_id_fkey FOREIGN KEY (tenant_id, from_atom_id) REFERENCES knowledge.atoms(tenant_id, id) ON DELETE CASCADE;


--
-- Name: relations relations_tenant_id_to_atom_id_fkey; Type: FK CONSTRAINT; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE ONLY knowledge.relations
    ADD CONSTRAINT relations_tenant_id_to_atom_id_fkey FOREIGN KEY (tenant_id, to_atom_id) REFERENCES knowledge.atoms(tenant_id, id) ON DELETE CASCADE;


--
-- Name: annotations; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.annotations ENABLE ROW LEVEL SECURITY;

--
-- Name: annotations application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.annotations TO kos_persona, kos_app USING (true);


--
-- Name: atoms application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.atoms TO kos_app USING (true);


--
-- Name: capability_mappings application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.capability_mappings TO kos_persona, kos_app USING (true);


--
-- Name: documents application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.documents TO kos_persona, kos_app USING (true);


--
-- Name: implementations application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.implementations TO kos_persona, kos_app USING (true);


--
-- Name: knowledge_events application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.knowledge_events TO kos_persona, kos_app USING (true);


--
-- Name: knowledge_events_default application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.knowledge_events_default TO kos_persona, kos_app USING (true);


--
-- Name: molecule_atoms application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.molecule_atoms TO kos_persona, kos_app USING (true);


--
-- Name: molecules application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.molecules TO kos_persona, kos_app USING (true);


--
-- Name: relations application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.relations TO kos_persona, kos_app USING (true);


--
-- Name: sensitive_atoms application_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY application_access ON knowledge.sensitive_atoms TO kos_persona, kos_app USING (true);


--
-- Name: atoms; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.atoms ENABLE ROW LEVEL SECURITY;

--
-- Name: knowledge_events auditor_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY auditor_access ON knowledge.knowledge_events FOR SELECT TO kos_auditor USING (true);


--
-- Name: capability_mappings; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.capability_mappings ENABLE ROW LEVEL SECURITY;

--
-- Name: documents; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.documents ENABLE ROW LEVEL SECURITY;

--
-- Name: implementations; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.implementations ENABLE ROW LEVEL SECURITY;

--
-- Name: knowledge_events; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.knowledge_events ENABLE ROW LEVEL SECURITY;

--
-- Name: knowledge_events_default; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.knowledge_events_default ENABLE ROW LEVEL SECURITY;

--
-- Name: molecule_atoms; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.molecule_atoms ENABLE ROW LEVEL SECURITY;

--
-- Name: molecules; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.molecules ENABLE ROW LEVEL SECURITY;

--
-- Name: annotations operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.annotations TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: atoms operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.atoms TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: capability_mappings operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.capability_mappings TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: documents operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.documents TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: implementations operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.implementations TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: knowledge_events operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.knowledge_events TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: knowledge_events_default operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.knowledge_events_default TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: molecule_atoms operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.molecule_atoms TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: molecules operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.molecules TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: relations operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.relations TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: sensitive_atoms operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.sensitive_atoms TO kos_operator USING (true) WITH CHECK (true);


--
-- Name: atoms persona_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY persona_access ON knowledge.atoms TO kos_persona USING (
CASE ( SELECT kos.current_persona() AS current_persona)
    WHEN 'domain_expert'::text THEN true
    WHEN 'developer'::text THEN (EXISTS ( SELECT
       FROM knowledge.implementations i
      WHERE ((i.tenant_id = atoms.tenant_id) AND (i.atom_id = atoms.id))))
    WHEN 'product_owner'::text THEN (EXISTS ( SELECT
       FROM knowledge.capability_mappings m
      WHERE ((m.tenant_id = atoms.tenant_id) AND (m.atom_id = atoms.id))))
    ELSE false
END);


--
-- Name: relations; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.relations ENABLE ROW LEVEL SECURITY;

--
-- Name: sensitive_atoms; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.sensitive_atoms ENABLE ROW LEVEL SECURITY;

--
-- Name: annotations tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.annotations AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: atoms tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.atoms AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: capability_mappings tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.capability_mappings AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: documents tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.documents AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: implementations tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.implementations AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: knowledge_events tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.knowledge_events AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: knowledge_events_default tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.knowledge_events_default AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: molecule_atoms tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.molecule_atoms AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: molecules tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.molecules AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: relations tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.relations AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: sensitive_atoms tenant_isolation; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON knowledge.sensitive_atoms AS RESTRICTIVE TO kos_persona, kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: SCHEMA knowledge; Type: ACL; Schema: -; Owner: kos_owner
--

GRANT USAGE ON SCHEMA knowledge TO kos_app;
GRANT USAGE ON SCHEMA knowledge TO kos_persona;
GRANT USAGE ON SCHEMA knowledge TO kos_operator;
GRANT USAGE ON SCHEMA knowledge TO kos_auditor;


--
-- Name: TABLE annotations; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.annotations TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.annotations TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.annotations TO kos_operator;


--
-- Name: TABLE atoms; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.atoms TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.atoms TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.atoms TO kos_operator;


--
-- Name: TABLE capability_mappings; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.capability_mappings TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.capability_mappings TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.capability_mappings TO kos_operator;


--
-- Name: TABLE documents; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.documents TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.documents TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.documents TO kos_operator;


--
-- Name: TABLE implementations; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.implementations TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.implementations TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.implementations TO kos_operator;


--
-- Name: TABLE knowledge_events; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT ON TABLE knowledge.knowledge_events TO kos_app;
GRANT SELECT ON TABLE knowledge.knowledge_events TO kos_persona;
GRANT SELECT ON TABLE knowledge.knowledge_events TO kos_operator;
GRANT SELECT ON TABLE knowledge.knowledge_events TO kos_auditor;


--
-- Name: TABLE knowledge_events_default; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT ON TABLE knowledge.knowledge_events_default TO kos_app;
GRANT SELECT ON TABLE knowledge.knowledge_events_default TO kos_persona;
GRANT SELECT ON TABLE knowledge.knowledge_events_default TO kos_operator;


--
-- Name: TABLE molecule_atoms; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecule_atoms TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecule_atoms TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecule_atoms TO kos_operator;


--
-- Name: TABLE molecules; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecules TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecules TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecules TO kos_operator;


--
-- Name: TABLE relations; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.relations TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.relations TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.relations TO kos_operator;


--
-- Name: TABLE sensitive_atoms; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.sensitive_atoms TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.sensitive_atoms TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.sensitive_atoms TO kos_operator;


--
-- PostgreSQL database dump complete
--



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
-- Name: adopt_table(regclass, text, text, jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.adopt_table(target regclass, tenant_column text, baseline text, sensitive jsonb DEFAULT '{}'::jsonb) RETURNS TABLE(role text, statement text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  comes_back boolean := kos.was_logged(target);
  grows boolean := exists (select from kos.parts_of(target) p
                            where not exists (select from pg_trigger t where t.tgrelid = p and t.tgname = 'kos_capture_insert'));
begin
  perform kos.note_logged(target, tenant_column, baseline,
                          jsonb_strip_nulls(coalesce((kos.logged(target)).sensitive, '{}') || adopt_table.sensitive));
  update kos.logged_tables l
     set lent = l.lent || array(select p from kos.parts_of(target) p
                                 where not has_table_privilege('kos_owner', p, 'SELECT') and p <> all (l.lent)),
         opened = l.opened or not has_schema_privilege('kos_owner', c.relnamespace, 'USAGE')
                  or exists (select from kos.logged_tables o join pg_class x on x.oid = o.relation
                              where o.opened and x.relnamespace = c.relnamespace),
         complete_at = case when not grows then l.complete_at end
    from pg_class c
   where l.relation = target and c.oid = target;
  if comes_back then
    perform kos.void_log(target);
  end if;
  return query select s.role, s.statement from kos.capture_script(target) s;
end $$;


ALTER FUNCTION kos.adopt_table(target regclass, tenant_column text, baseline text, sensitive jsonb) OWNER TO kos_owner;

--
-- Name: adopted_tables(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.adopted_tables() RETURNS TABLE(relation oid, schema_name text, table_name text, owner text, tenant_column text, baseline text, sensitive jsonb, logged_since timestamp with time zone, complete_at timestamp with time zone, unlogged_parts text[], faults text[], loses boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select l.relation, n.nspname, c.relname, pg_get_userbyid(c.relowner), l.tenant_column, l.baseline,
         (select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(l.sensitive) s
           where l.numbers ? s.key or exists (select from kos.image_columns(l.relation) i where i.name = s.key)),
         l.logged_since, l.complete_at,
         array(select p::text from kos.parts_of(l.relation) p
                where not exists (select from pg_trigger t where t.tgrelid = p and t.tgname = 'kos_capture_insert')),
         coalesce(b.faults, '{}'), coalesce(b.loses, false)
    from kos.logged_tables l
    join pg_class c on c.oid = l.relation and c.relowner <> 'kos_owner'::regrole
    join pg_namespace n on n.oid = c.relnamespace
    left join (
      select kos.root_of(b.relation) as relation, bool_or(b.loses) as loses,
             array_agg(b.relation::text || ': ' || b.fault order by b.relation::text, b.fault) as faults
        from kos.capture_faults() b group by 1) b on b.relation = l.relation
   order by 2, 3
$$;


ALTER FUNCTION kos.adopted_tables() OWNER TO kos_owner;

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
-- Name: aggregate_of(text, text[], text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.aggregate_of(table_name text, key text[], within text[]) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN ((cardinality(within) = 1) AND ((within)[1] ~~ '________-____-____-____-____________'::text) AND (translate((within)[1], '0123456789abcdef'::text, ''::text) = '----'::text)) THEN ((within)[1])::uuid ELSE (md5(concat(table_name, ' ', (key)::text)))::uuid END;


ALTER FUNCTION kos.aggregate_of(table_name text, key text[], within text[]) OWNER TO kos_owner;

--
-- Name: log_key(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_key(tenant_id uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended((tenant_id)::text, (1263489027)::bigint);


ALTER FUNCTION kos.log_key(tenant_id uuid) OWNER TO kos_owner;

--
-- Name: no_tenants_log(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.no_tenants_log() RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '00000000-0000-0000-0000-000000000000'::uuid;


ALTER FUNCTION kos.no_tenants_log() OWNER TO kos_owner;

--
-- Name: all_logs_key(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.all_logs_key() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (kos.log_key(kos.no_tenants_log()) + 4);


ALTER FUNCTION kos.all_logs_key() OWNER TO kos_owner;

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
   where r.rolname not in ('kos_owner', 'kos_operator', 'kos_auditor', 'kos_mover') and r.rolname !~ '^pg_'
  union all
  select 0, 'public', false
$$;


ALTER FUNCTION kos.application_roles() OWNER TO kos_owner;

--
-- Name: are_few_by_default(timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.are_few_by_default(starts timestamp with time zone, ends timestamp with time zone) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select count(*) <= 10000 from (
    select from kos.knowledge_events_default d where d.occurred_at >= starts and d.occurred_at < ends limit 10001) found
$$;


ALTER FUNCTION kos.are_few_by_default(starts timestamp with time zone, ends timestamp with time zone) OWNER TO kos_owner;

--
-- Name: as_number(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.as_number(value text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((value ~ '^(0|-?[1-9][0-9]{0,18})$'::text) AND (((value)::numeric >= ('-9223372036854775808'::bigint)::numeric) AND ((value)::numeric <= ('9223372036854775807'::bigint)::numeric))) THEN (value)::bigint ELSE NULL::bigint END;


ALTER FUNCTION kos.as_number(value text) OWNER TO kos_owner;

--
-- Name: as_uuid(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.as_uuid(value text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (value ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'::text) THEN (value)::uuid ELSE NULL::uuid END;


ALTER FUNCTION kos.as_uuid(value text) OWNER TO kos_owner;

--
-- Name: base_type(oid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.base_type(type oid) RETURNS oid
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  base oid := type;
begin
  while exists (select from pg_type t where t.oid = base and t.typtype = 'd') loop
    base := (select t.typbasetype from pg_type t where t.oid = base);
  end loop;
  return base;
end $$;


ALTER FUNCTION kos.base_type(type oid) OWNER TO kos_owner;

--
-- Name: baseline_query(regclass, text[], text[], integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.baseline_query(target regclass, after text[], upto text[], at_most integer) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with key as (
    select k.number, format('n.%I', k.name) as name, format_type(a.atttypid, a.atttypmod) as type,
           coalesce(o.schema_name, 'pg_catalog') as operators
      from kos.logged(target) l
      cross join unnest(l.key_columns) with ordinality k (name, number)
      join pg_attribute a on a.attrelid = target and a.attname = k.name and not a.attisdropped
      join pg_type t on t.oid = a.atttypid
      -- The order of the key's index, which the search path does not lead to for types of extensions.
      left join lateral (
        select n.nspname as schema_name
          from pg_opclass c
          join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 5 and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
          join pg_operator p on p.oid = m.amopopr
          join pg_namespace n on n.oid = p.oprnamespace
         where c.opcdefault and c.opcintype = case when t.typtype = 'd' then t.typbasetype else t.oid end
           and c.opcmethod = (select oid from pg_am where amname = 'btree')) o on true
  ), bounds as (
    select b.key as bound, (select case when count(distinct operators) = 1
             then format('row(%s) operator(%I.>) row(%s)', string_agg(name, ', ' order by number), min(operators),
                         string_agg(format('%L::%s', b.key[number], type), ', ' order by number))
             -- Types whose operators stand in different schemas: column by column.
             else (select string_agg(format('(%s)', (
                            select string_agg(format('%s operator(%I.%s) %L::%s', e.name, e.operators,
                                                     case when e.number = k.number then '>' else '=' end, b.key[e.number], e.type),
                                              ' and ' order by e.number)
                              from key e where e.number <= k.number)), ' or ') from key k) end from key) as later
      from (values (after), (upto)) b (key)
  )
  select case when upto is null
           then format('select %s from %s n where %s order by %s limit %s', kos.key_expression(target, '{n}'), target, beyond,
                       (select string_agg(name, ', ' order by number) from key), at_most)
           else format('select n.tableoid::bigint, n.ctid::text from %s n where %s and not (%s) for share of n', target, beyond,
                       (select later from bounds where bound = upto limit 1)) end
    from (select coalesce((select format('(%s)', later) from bounds where bound = after limit 1), 'true') as beyond) b
$$;


ALTER FUNCTION kos.baseline_query(target regclass, after text[], upto text[], at_most integer) OWNER TO kos_owner;

--
-- Name: begin_cross_tenant_access(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.begin_cross_tenant_access(reason text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  insert into kos.cross_tenant_access (reason) values (begin_cross_tenant_access.reason) returning access_id
$$;


ALTER FUNCTION kos.begin_cross_tenant_access(reason text) OWNER TO kos_owner;

--
-- Name: begin_incarnation(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.begin_incarnation(reason text) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  insert into kos.incarnations (identity, origin, reason) values (kos.identity(), kos.origin(), reason)
  returning incarnation
$$;


ALTER FUNCTION kos.begin_incarnation(reason text) OWNER TO kos_owner;

--
-- Name: begin_incarnation(text, integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.begin_incarnation(reason text, after integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  number integer := greatest((select max(i.incarnation) from kos.incarnations i), after) + 1;
begin
  insert into kos.incarnations (incarnation, identity, origin, reason) overriding system value
  values (number, kos.identity(), kos.origin(), reason);
  perform setval(pg_get_serial_sequence('kos.incarnations', 'incarnation'), number);
  return number;
end $$;


ALTER FUNCTION kos.begin_incarnation(reason text, after integer) OWNER TO kos_owner;

--
-- Name: bookmark_position(integer, xid8); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.bookmark_position(counted_in integer, written xid8) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select kos.bookmark_position(kos.current_tenant_id(), counted_in, written)
$$;


ALTER FUNCTION kos.bookmark_position(counted_in integer, written xid8) OWNER TO kos_owner;

--
-- Name: bookmark_position(uuid, integer, xid8); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.bookmark_position(tenant uuid, counted_in integer, written xid8) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  waits boolean;
  newest kos.seals;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    -- An old snapshot shows pending rows that were sealed and truncated since as gone, and their seal as not there yet.
    raise exception 'a bookmark is looked up under READ COMMITTED' using errcode = '25001', hint = 'ask in a transaction of its own';
  elsif counted_in is distinct from kos.incarnation() then
    raise exception 'the bookmark %.% is of before this database was restored or promoted', counted_in, written
      using errcode = 'KS028', hint = 'what it stands for may be lost: read without it, and look';
  elsif not pg_visible_in_snapshot(written, pg_current_snapshot()) then
    return null;
  end if;
  -- First what waits, then the seals: each with a snapshot of its own, so what is gone from the one is in the other.
  waits := exists (select from kos.pending p
                    where p.tenant_id = tenant and p.origin = kos.origin() and p.transaction = written);
  newest := kos.newest_seal(tenant);
  if newest.origin = kos.origin() and pg_visible_in_snapshot(written, newest.snapshot) then
    -- The first seal that has seen it. So far back that nobody waits for it any more, a later one will do.
    return (select min(s.position)
              from (select * from kos.seals l where l.tenant_id = tenant and l.origin = newest.origin
                     order by l.position desc limit 100) s
             where pg_visible_in_snapshot(written, s.snapshot));
  end if;
  return case when not waits then newest.position end;  -- it has written nothing into this log
end $$;


ALTER FUNCTION kos.bookmark_position(tenant uuid, counted_in integer, written xid8) OWNER TO kos_owner;

--
-- Name: broken_captures(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.broken_captures() RETURNS TABLE(table_name text, fault text, loses boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select f.relation::text, f.fault, f.loses from kos.capture_faults() f
$$;


ALTER FUNCTION kos.broken_captures() OWNER TO kos_owner;

--
-- Name: capture_13ba0c856014f188d45c8461bb9ab3b9(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_13ba0c856014f188d45c8461bb9ab3b9() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    SET extra_float_digits TO '1'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, 'aafe2477c5ace78e6a01812e95f39879') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 5, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.document_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(n.start_offset::text, E'\\N'), coalesce(n.end_offset::text, E'\\N'), case when o.tenant_id is null or n.quote collate "C" is distinct from o.quote then coalesce(case when starts_with((n.quote::text) collate "C", E'\\') then E'\\' || (n.quote::text) else n.quote::text end, E'\\N') end, coalesce(n.confidence::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 5, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.document_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(n.start_offset::text, E'\\N'), coalesce(n.end_offset::text, E'\\N'), case when o.tenant_id is null or n.quote collate "C" is distinct from o.quote then coalesce(case when starts_with((n.quote::text) collate "C", E'\\') then E'\\' || (n.quote::text) else n.quote::text end, E'\\N') end, coalesce(n.confidence::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 5, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.document_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(n.start_offset::text, E'\\N'), coalesce(n.end_offset::text, E'\\N'), coalesce(case when starts_with((n.quote::text) collate "C", E'\\') then E'\\' || (n.quote::text) else n.quote::text end, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 5, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.document_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(n.start_offset::text, E'\\N'), coalesce(n.end_offset::text, E'\\N'), coalesce(case when starts_with((n.quote::text) collate "C", E'\\') then E'\\' || (n.quote::text) else n.quote::text end, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 5, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.document_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(n.start_offset::text, E'\\N'), coalesce(n.end_offset::text, E'\\N'), coalesce(case when starts_with((n.quote::text) collate "C", E'\\') then E'\\' || (n.quote::text) else n.quote::text end, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.annotations n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 5, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.document_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(n.start_offset::text, E'\\N'), coalesce(n.end_offset::text, E'\\N'), coalesce(case when starts_with((n.quote::text) collate "C", E'\\') then E'\\' || (n.quote::text) else n.quote::text end, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.annotations n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 5, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.annotations n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 5, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.annotations n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_13ba0c856014f188d45c8461bb9ab3b9() OWNER TO kos_owner;

--
-- Name: capture_2a5e5fcb760c435101ef10fa45753876(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_2a5e5fcb760c435101ef10fa45753876() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, '87cf24579c312378c35285980eab21be') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 7, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), case when o.tenant_id is null or n.system collate "C" is distinct from o.system then coalesce(case when starts_with((n.system::text) collate "C", E'\\') then E'\\' || (n.system::text) else n.system::text end, E'\\N') end, case when o.tenant_id is null or n.location collate "C" is distinct from o.location then coalesce(case when starts_with((n.location::text) collate "C", E'\\') then E'\\' || (n.location::text) else n.location::text end, E'\\N') end, coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 7, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), case when o.tenant_id is null or n.system collate "C" is distinct from o.system then coalesce(case when starts_with((n.system::text) collate "C", E'\\') then E'\\' || (n.system::text) else n.system::text end, E'\\N') end, case when o.tenant_id is null or n.location collate "C" is distinct from o.location then coalesce(case when starts_with((n.location::text) collate "C", E'\\') then E'\\' || (n.location::text) else n.location::text end, E'\\N') end, coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 7, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.system::text) collate "C", E'\\') then E'\\' || (n.system::text) else n.system::text end, E'\\N'), coalesce(case when starts_with((n.location::text) collate "C", E'\\') then E'\\' || (n.location::text) else n.location::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 7, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.system::text) collate "C", E'\\') then E'\\' || (n.system::text) else n.system::text end, E'\\N'), coalesce(case when starts_with((n.location::text) collate "C", E'\\') then E'\\' || (n.location::text) else n.location::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 7, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.system::text) collate "C", E'\\') then E'\\' || (n.system::text) else n.system::text end, E'\\N'), coalesce(case when starts_with((n.location::text) collate "C", E'\\') then E'\\' || (n.location::text) else n.location::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.implementations n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 7, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.system::text) collate "C", E'\\') then E'\\' || (n.system::text) else n.system::text end, E'\\N'), coalesce(case when starts_with((n.location::text) collate "C", E'\\') then E'\\' || (n.location::text) else n.location::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.implementations n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 7, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.implementations n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 7, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.implementations n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_2a5e5fcb760c435101ef10fa45753876() OWNER TO kos_owner;

--
-- Name: capture_6278fcf21078f5fb9556ac81378c6dbf(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_6278fcf21078f5fb9556ac81378c6dbf() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    SET bytea_output TO 'hex'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, 'c9308f302c9dbc09bed0be66c9645ef1') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 9, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.encrypted_value), row(o.encrypted_value)) then coalesce(case when starts_with((n.encrypted_value::text) collate "C", E'\\') then E'\\' || (n.encrypted_value::text) else n.encrypted_value::text end, E'\\N') end, case when o.tenant_id is null or n.encryption_key_id collate "C" is distinct from o.encryption_key_id then coalesce(case when starts_with((n.encryption_key_id::text) collate "C", E'\\') then E'\\' || (n.encryption_key_id::text) else n.encryption_key_id::text end, E'\\N') end, case when o.tenant_id is null or record_image_ne(row(n.searchable_hash), row(o.searchable_hash)) then coalesce(case when starts_with((n.searchable_hash::text) collate "C", E'\\') then E'\\' || (n.searchable_hash::text) else n.searchable_hash::text end, E'\\N') end, case when o.tenant_id is null or n.range_prefix collate "C" is distinct from o.range_prefix then coalesce(case when starts_with((n.range_prefix::text) collate "C", E'\\') then E'\\' || (n.range_prefix::text) else n.range_prefix::text end, E'\\N') end, coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 9, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.encrypted_value), row(o.encrypted_value)) then coalesce(case when starts_with((n.encrypted_value::text) collate "C", E'\\') then E'\\' || (n.encrypted_value::text) else n.encrypted_value::text end, E'\\N') end, case when o.tenant_id is null or n.encryption_key_id collate "C" is distinct from o.encryption_key_id then coalesce(case when starts_with((n.encryption_key_id::text) collate "C", E'\\') then E'\\' || (n.encryption_key_id::text) else n.encryption_key_id::text end, E'\\N') end, case when o.tenant_id is null or record_image_ne(row(n.searchable_hash), row(o.searchable_hash)) then coalesce(case when starts_with((n.searchable_hash::text) collate "C", E'\\') then E'\\' || (n.searchable_hash::text) else n.searchable_hash::text end, E'\\N') end, case when o.tenant_id is null or n.range_prefix collate "C" is distinct from o.range_prefix then coalesce(case when starts_with((n.range_prefix::text) collate "C", E'\\') then E'\\' || (n.range_prefix::text) else n.range_prefix::text end, E'\\N') end, coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 9, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.encrypted_value::text) collate "C", E'\\') then E'\\' || (n.encrypted_value::text) else n.encrypted_value::text end, E'\\N'), coalesce(case when starts_with((n.encryption_key_id::text) collate "C", E'\\') then E'\\' || (n.encryption_key_id::text) else n.encryption_key_id::text end, E'\\N'), coalesce(case when starts_with((n.searchable_hash::text) collate "C", E'\\') then E'\\' || (n.searchable_hash::text) else n.searchable_hash::text end, E'\\N'), coalesce(case when starts_with((n.range_prefix::text) collate "C", E'\\') then E'\\' || (n.range_prefix::text) else n.range_prefix::text end, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 9, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.encrypted_value::text) collate "C", E'\\') then E'\\' || (n.encrypted_value::text) else n.encrypted_value::text end, E'\\N'), coalesce(case when starts_with((n.encryption_key_id::text) collate "C", E'\\') then E'\\' || (n.encryption_key_id::text) else n.encryption_key_id::text end, E'\\N'), coalesce(case when starts_with((n.searchable_hash::text) collate "C", E'\\') then E'\\' || (n.searchable_hash::text) else n.searchable_hash::text end, E'\\N'), coalesce(case when starts_with((n.range_prefix::text) collate "C", E'\\') then E'\\' || (n.range_prefix::text) else n.range_prefix::text end, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 9, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.encrypted_value::text) collate "C", E'\\') then E'\\' || (n.encrypted_value::text) else n.encrypted_value::text end, E'\\N'), coalesce(case when starts_with((n.encryption_key_id::text) collate "C", E'\\') then E'\\' || (n.encryption_key_id::text) else n.encryption_key_id::text end, E'\\N'), coalesce(case when starts_with((n.searchable_hash::text) collate "C", E'\\') then E'\\' || (n.searchable_hash::text) else n.searchable_hash::text end, E'\\N'), coalesce(case when starts_with((n.range_prefix::text) collate "C", E'\\') then E'\\' || (n.range_prefix::text) else n.range_prefix::text end, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.sensitive_atoms n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 9, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.encrypted_value::text) collate "C", E'\\') then E'\\' || (n.encrypted_value::text) else n.encrypted_value::text end, E'\\N'), coalesce(case when starts_with((n.encryption_key_id::text) collate "C", E'\\') then E'\\' || (n.encryption_key_id::text) else n.encryption_key_id::text end, E'\\N'), coalesce(case when starts_with((n.searchable_hash::text) collate "C", E'\\') then E'\\' || (n.searchable_hash::text) else n.searchable_hash::text end, E'\\N'), coalesce(case when starts_with((n.range_prefix::text) collate "C", E'\\') then E'\\' || (n.range_prefix::text) else n.range_prefix::text end, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.sensitive_atoms n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 9, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.sensitive_atoms n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 9, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.sensitive_atoms n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_6278fcf21078f5fb9556ac81378c6dbf() OWNER TO kos_owner;

--
-- Name: capture_7c8dc460d1fd50cea200b2c00c961c66(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_7c8dc460d1fd50cea200b2c00c961c66() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, 'cb2dc11f22ecc2ae8cfbd78abe1b7045') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 2, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.name collate "C" is distinct from o.name then coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N') end, case when o.tenant_id is null or record_image_ne(row(n.rule), row(o.rule)) then coalesce(n.rule::text, E'\\N') end, coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 2, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.name collate "C" is distinct from o.name then coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N') end, case when o.tenant_id is null or record_image_ne(row(n.rule), row(o.rule)) then coalesce(n.rule::text, E'\\N') end, coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 2, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(n.rule::text, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 2, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(n.rule::text, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 2, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(n.rule::text, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.molecules n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 2, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(n.rule::text, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.molecules n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 2, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.molecules n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 2, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.molecules n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_7c8dc460d1fd50cea200b2c00c961c66() OWNER TO kos_owner;

--
-- Name: capture_98c740c0bdeb6c3080dd300b690d4ccd(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_98c740c0bdeb6c3080dd300b690d4ccd() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, '6d3a0860f3e1d56aae8b2f828acc90c1') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 8, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), case when o.tenant_id is null or n.capability collate "C" is distinct from o.capability then coalesce(case when starts_with((n.capability::text) collate "C", E'\\') then E'\\' || (n.capability::text) else n.capability::text end, E'\\N') end, coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 8, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), case when o.tenant_id is null or n.capability collate "C" is distinct from o.capability then coalesce(case when starts_with((n.capability::text) collate "C", E'\\') then E'\\' || (n.capability::text) else n.capability::text end, E'\\N') end, coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 8, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.capability::text) collate "C", E'\\') then E'\\' || (n.capability::text) else n.capability::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 8, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.capability::text) collate "C", E'\\') then E'\\' || (n.capability::text) else n.capability::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 8, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.capability::text) collate "C", E'\\') then E'\\' || (n.capability::text) else n.capability::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.capability_mappings n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 8, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.capability::text) collate "C", E'\\') then E'\\' || (n.capability::text) else n.capability::text end, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.capability_mappings n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 8, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.capability_mappings n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 8, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.capability_mappings n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_98c740c0bdeb6c3080dd300b690d4ccd() OWNER TO kos_owner;

--
-- Name: capture_b8df113a68e8e19a574952bfc93949d9(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_b8df113a68e8e19a574952bfc93949d9() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, '22cb6f70dc98c0ca6f6a16b4e7e09b2d') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 4, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.title collate "C" is distinct from o.title then coalesce(case when starts_with((n.title::text) collate "C", E'\\') then E'\\' || (n.title::text) else n.title::text end, E'\\N') end, case when o.tenant_id is null or n.media_type collate "C" is distinct from o.media_type then coalesce(case when starts_with((n.media_type::text) collate "C", E'\\') then E'\\' || (n.media_type::text) else n.media_type::text end, E'\\N') end, case when o.tenant_id is null or n.content_sha256 collate "C" is distinct from o.content_sha256 then coalesce(case when starts_with((n.content_sha256::text) collate "C", E'\\') then E'\\' || (n.content_sha256::text) else n.content_sha256::text end, E'\\N') end, coalesce(n.byte_length::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.metadata), row(o.metadata)) then coalesce(n.metadata::text, E'\\N') end, coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 4, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.title collate "C" is distinct from o.title then coalesce(case when starts_with((n.title::text) collate "C", E'\\') then E'\\' || (n.title::text) else n.title::text end, E'\\N') end, case when o.tenant_id is null or n.media_type collate "C" is distinct from o.media_type then coalesce(case when starts_with((n.media_type::text) collate "C", E'\\') then E'\\' || (n.media_type::text) else n.media_type::text end, E'\\N') end, case when o.tenant_id is null or n.content_sha256 collate "C" is distinct from o.content_sha256 then coalesce(case when starts_with((n.content_sha256::text) collate "C", E'\\') then E'\\' || (n.content_sha256::text) else n.content_sha256::text end, E'\\N') end, coalesce(n.byte_length::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.metadata), row(o.metadata)) then coalesce(n.metadata::text, E'\\N') end, coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 4, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.title::text) collate "C", E'\\') then E'\\' || (n.title::text) else n.title::text end, E'\\N'), coalesce(case when starts_with((n.media_type::text) collate "C", E'\\') then E'\\' || (n.media_type::text) else n.media_type::text end, E'\\N'), coalesce(case when starts_with((n.content_sha256::text) collate "C", E'\\') then E'\\' || (n.content_sha256::text) else n.content_sha256::text end, E'\\N'), coalesce(n.byte_length::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 4, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.title::text) collate "C", E'\\') then E'\\' || (n.title::text) else n.title::text end, E'\\N'), coalesce(case when starts_with((n.media_type::text) collate "C", E'\\') then E'\\' || (n.media_type::text) else n.media_type::text end, E'\\N'), coalesce(case when starts_with((n.content_sha256::text) collate "C", E'\\') then E'\\' || (n.content_sha256::text) else n.content_sha256::text end, E'\\N'), coalesce(n.byte_length::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 4, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.title::text) collate "C", E'\\') then E'\\' || (n.title::text) else n.title::text end, E'\\N'), coalesce(case when starts_with((n.media_type::text) collate "C", E'\\') then E'\\' || (n.media_type::text) else n.media_type::text end, E'\\N'), coalesce(case when starts_with((n.content_sha256::text) collate "C", E'\\') then E'\\' || (n.content_sha256::text) else n.content_sha256::text end, E'\\N'), coalesce(n.byte_length::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.documents n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 4, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.title::text) collate "C", E'\\') then E'\\' || (n.title::text) else n.title::text end, E'\\N'), coalesce(case when starts_with((n.media_type::text) collate "C", E'\\') then E'\\' || (n.media_type::text) else n.media_type::text end, E'\\N'), coalesce(case when starts_with((n.content_sha256::text) collate "C", E'\\') then E'\\' || (n.content_sha256::text) else n.content_sha256::text end, E'\\N'), coalesce(n.byte_length::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.documents n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 4, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.documents n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 4, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.documents n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_b8df113a68e8e19a574952bfc93949d9() OWNER TO kos_owner;

--
-- Name: capture_c60e28cdc4df474c98e086126898aad2(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_c60e28cdc4df474c98e086126898aad2() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    SET extra_float_digits TO '1'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, '08fedb44ef8692b3d1e5e64b7b46d5a4') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 1, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.atom_type collate "C" is distinct from o.atom_type then coalesce(case when starts_with((n.atom_type::text) collate "C", E'\\') then E'\\' || (n.atom_type::text) else n.atom_type::text end, E'\\N') end, case when o.tenant_id is null or n.name collate "C" is distinct from o.name then coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N') end, case when o.tenant_id is null or n.value collate "C" is distinct from o.value then coalesce(case when starts_with((n.value::text) collate "C", E'\\') then E'\\' || (n.value::text) else n.value::text end, E'\\N') end, case when o.tenant_id is null or record_image_ne(row(n.number_value), row(o.number_value)) then coalesce(n.number_value::text, E'\\N') end, coalesce(n.boolean_value::text, E'\\N'), coalesce(n.time_value::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.metadata), row(o.metadata)) then coalesce(n.metadata::text, E'\\N') end, coalesce(n.confidence::text, E'\\N'), case when o.tenant_id is null or n.source collate "C" is distinct from o.source then coalesce(case when starts_with((n.source::text) collate "C", E'\\') then E'\\' || (n.source::text) else n.source::text end, E'\\N') end, coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 1, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.atom_type collate "C" is distinct from o.atom_type then coalesce(case when starts_with((n.atom_type::text) collate "C", E'\\') then E'\\' || (n.atom_type::text) else n.atom_type::text end, E'\\N') end, case when o.tenant_id is null or n.name collate "C" is distinct from o.name then coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N') end, case when o.tenant_id is null or n.value collate "C" is distinct from o.value then coalesce(case when starts_with((n.value::text) collate "C", E'\\') then E'\\' || (n.value::text) else n.value::text end, E'\\N') end, case when o.tenant_id is null or record_image_ne(row(n.number_value), row(o.number_value)) then coalesce(n.number_value::text, E'\\N') end, coalesce(n.boolean_value::text, E'\\N'), coalesce(n.time_value::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.metadata), row(o.metadata)) then coalesce(n.metadata::text, E'\\N') end, coalesce(n.confidence::text, E'\\N'), case when o.tenant_id is null or n.source collate "C" is distinct from o.source then coalesce(case when starts_with((n.source::text) collate "C", E'\\') then E'\\' || (n.source::text) else n.source::text end, E'\\N') end, coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 1, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.atom_type::text) collate "C", E'\\') then E'\\' || (n.atom_type::text) else n.atom_type::text end, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(case when starts_with((n.value::text) collate "C", E'\\') then E'\\' || (n.value::text) else n.value::text end, E'\\N'), coalesce(n.number_value::text, E'\\N'), coalesce(n.boolean_value::text, E'\\N'), coalesce(n.time_value::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(case when starts_with((n.source::text) collate "C", E'\\') then E'\\' || (n.source::text) else n.source::text end, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 1, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.atom_type::text) collate "C", E'\\') then E'\\' || (n.atom_type::text) else n.atom_type::text end, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(case when starts_with((n.value::text) collate "C", E'\\') then E'\\' || (n.value::text) else n.value::text end, E'\\N'), coalesce(n.number_value::text, E'\\N'), coalesce(n.boolean_value::text, E'\\N'), coalesce(n.time_value::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(case when starts_with((n.source::text) collate "C", E'\\') then E'\\' || (n.source::text) else n.source::text end, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 1, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.atom_type::text) collate "C", E'\\') then E'\\' || (n.atom_type::text) else n.atom_type::text end, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(case when starts_with((n.value::text) collate "C", E'\\') then E'\\' || (n.value::text) else n.value::text end, E'\\N'), coalesce(n.number_value::text, E'\\N'), coalesce(n.boolean_value::text, E'\\N'), coalesce(n.time_value::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(case when starts_with((n.source::text) collate "C", E'\\') then E'\\' || (n.source::text) else n.source::text end, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.atoms n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 1, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.atom_type::text) collate "C", E'\\') then E'\\' || (n.atom_type::text) else n.atom_type::text end, E'\\N'), coalesce(case when starts_with((n.name::text) collate "C", E'\\') then E'\\' || (n.name::text) else n.name::text end, E'\\N'), coalesce(case when starts_with((n.value::text) collate "C", E'\\') then E'\\' || (n.value::text) else n.value::text end, E'\\N'), coalesce(n.number_value::text, E'\\N'), coalesce(n.boolean_value::text, E'\\N'), coalesce(n.time_value::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.confidence::text, E'\\N'), coalesce(case when starts_with((n.source::text) collate "C", E'\\') then E'\\' || (n.source::text) else n.source::text end, E'\\N'), coalesce(n.version::text, E'\\N'), coalesce(n.created_at::text, E'\\N'), coalesce(n.updated_at::text, E'\\N'), coalesce(n.deleted_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.atoms n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 1, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.atoms n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 1, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.atoms n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_c60e28cdc4df474c98e086126898aad2() OWNER TO kos_owner;

--
-- Name: capture_cf4fff11d5be919c5e57ff2323eca247(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_cf4fff11d5be919c5e57ff2323eca247() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, '1cc057f4d6adc8cef2e40131ac0a81da') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 6, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.relation_type collate "C" is distinct from o.relation_type then coalesce(case when starts_with((n.relation_type::text) collate "C", E'\\') then E'\\' || (n.relation_type::text) else n.relation_type::text end, E'\\N') end, coalesce(n.from_atom_id::text, E'\\N'), coalesce(n.to_atom_id::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.metadata), row(o.metadata)) then coalesce(n.metadata::text, E'\\N') end, coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 6, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.id, o.id)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), case when o.tenant_id is null or n.relation_type collate "C" is distinct from o.relation_type then coalesce(case when starts_with((n.relation_type::text) collate "C", E'\\') then E'\\' || (n.relation_type::text) else n.relation_type::text end, E'\\N') end, coalesce(n.from_atom_id::text, E'\\N'), coalesce(n.to_atom_id::text, E'\\N'), case when o.tenant_id is null or record_image_ne(row(n.metadata), row(o.metadata)) then coalesce(n.metadata::text, E'\\N') end, coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 6, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.relation_type::text) collate "C", E'\\') then E'\\' || (n.relation_type::text) else n.relation_type::text end, E'\\N'), coalesce(n.from_atom_id::text, E'\\N'), coalesce(n.to_atom_id::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 6, 'I', array[n.tenant_id::text, n.id::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.relation_type::text) collate "C", E'\\') then E'\\' || (n.relation_type::text) else n.relation_type::text end, E'\\N'), coalesce(n.from_atom_id::text, E'\\N'), coalesce(n.to_atom_id::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 6, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.relation_type::text) collate "C", E'\\') then E'\\' || (n.relation_type::text) else n.relation_type::text end, E'\\N'), coalesce(n.from_atom_id::text, E'\\N'), coalesce(n.to_atom_id::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.relations n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 6, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.id::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.id::text, E'\\N'), coalesce(case when starts_with((n.relation_type::text) collate "C", E'\\') then E'\\' || (n.relation_type::text) else n.relation_type::text end, E'\\N'), coalesce(n.from_atom_id::text, E'\\N'), coalesce(n.to_atom_id::text, E'\\N'), coalesce(n.metadata::text, E'\\N'), coalesce(n.created_at::text, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.relations n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.id operator(pg_catalog.=) n.id;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 6, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.relations n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 6, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.relations n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_cf4fff11d5be919c5e57ff2323eca247() OWNER TO kos_owner;

--
-- Name: capture_e614d76f0143a6e39a9429007817e26e(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_e614d76f0143a6e39a9429007817e26e() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when kos.has_changed('…'::regclass, '…'::regclass, '2c4710ec58bba7d0239b92d60a3a89ef') then 0
    else case tg_op when 'UPDATE' then 0 when 'INSERT' then 2 when 'DELETE' then 4 when 'TRUNCATE' then 6 end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  if kos_way = 1 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 3, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.molecule_id, o.molecule_id)::text, coalesce(n.atom_id, o.atom_id)::text, coalesce(n.role, o.role)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.molecule_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.role::text) collate "C", E'\\') then E'\\' || (n.role::text) else n.role::text end, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.molecule_id operator(pg_catalog.=) n.molecule_id and o.atom_id operator(pg_catalog.=) n.atom_id and o.role operator(pg_catalog.=) n.role;
  elsif kos_way = 2 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(case when n.tenant_id is not null then coalesce(n.tenant_id, kos.no_tenants_log()) end, case when o.tenant_id is not null then coalesce(o.tenant_id, kos.no_tenants_log()) end), 3, case when n.tenant_id is null then 'D' when o.tenant_id is null then 'I' else 'U' end, array[coalesce(n.tenant_id, o.tenant_id)::text, coalesce(n.molecule_id, o.molecule_id)::text, coalesce(n.atom_id, o.atom_id)::text, coalesce(n.role, o.role)::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.molecule_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.role::text) collate "C", E'\\') then E'\\' || (n.role::text) else n.role::text end, E'\\N')]::text[] end, null, kos_whoever from old_rows o full join new_rows n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.molecule_id operator(pg_catalog.=) n.molecule_id and o.atom_id operator(pg_catalog.=) n.atom_id and o.role operator(pg_catalog.=) n.role;
  elsif kos_way = 3 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 3, 'I', array[n.tenant_id::text, n.molecule_id::text, n.atom_id::text, n.role::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.molecule_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.role::text) collate "C", E'\\') then E'\\' || (n.role::text) else n.role::text end, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 4 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(n.tenant_id, kos.no_tenants_log()), 3, 'I', array[n.tenant_id::text, n.molecule_id::text, n.atom_id::text, n.role::text]::text[], array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.molecule_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.role::text) collate "C", E'\\') then E'\\' || (n.role::text) else n.role::text end, E'\\N')]::text[], null, kos_whoever from new_rows n;
  elsif kos_way = 5 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 3, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.molecule_id::text, o.atom_id::text, o.role::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.molecule_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.role::text) collate "C", E'\\') then E'\\' || (n.role::text) else n.role::text end, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.molecule_atoms n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.molecule_id operator(pg_catalog.=) n.molecule_id and o.atom_id operator(pg_catalog.=) n.atom_id and o.role operator(pg_catalog.=) n.role;
  elsif kos_way = 6 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), coalesce(o.tenant_id, kos.no_tenants_log()), 3, case when n.tenant_id is null then 'D' else 'U' end, array[o.tenant_id::text, o.molecule_id::text, o.atom_id::text, o.role::text]::text[], case when n.tenant_id is not null then array[coalesce(n.tenant_id::text, E'\\N'), coalesce(n.molecule_id::text, E'\\N'), coalesce(n.atom_id::text, E'\\N'), coalesce(case when starts_with((n.role::text) collate "C", E'\\') then E'\\' || (n.role::text) else n.role::text end, E'\\N')]::text[] end, null, kos_whoever from old_rows o left join knowledge.molecule_atoms n on o.tenant_id operator(pg_catalog.=) n.tenant_id and o.molecule_id operator(pg_catalog.=) n.molecule_id and o.atom_id operator(pg_catalog.=) n.atom_id and o.role operator(pg_catalog.=) n.role;
  elsif kos_way = 7 then
    insert into kos.pending_1 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 3, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.molecule_atoms n) d;
  elsif kos_way = 8 then
    insert into kos.pending_2 (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), d.tenant, 3, 'T', '{}', null, null, kos_whoever from (select distinct coalesce(n.tenant_id, kos.no_tenants_log()) as tenant from knowledge.molecule_atoms n) d;
  elsif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select coalesce(n.tenant_id, kos.no_tenants_log()) from new_rows n union select coalesce(o.tenant_id, kos.no_tenants_log()) from old_rows o));
  end if;
  return null;
end $_$;


ALTER FUNCTION kos.capture_e614d76f0143a6e39a9429007817e26e() OWNER TO kos_owner;

--
-- Name: capture_faults(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_faults() RETURNS TABLE(relation regclass, fault text, loses boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with part as (
    select l.relation as root, coalesce(t.relid, l.relation) as relation
      from kos.logged_tables l
      left join pg_partition_tree(l.relation) t on true
     where exists (select from pg_class c where c.oid = l.relation)
  )
  select p.relation, format('trigger %s is missing', wanted.name), true
    from part p
    cross join unnest(array['kos_capture_insert', 'kos_capture_update', 'kos_capture_delete', 'kos_capture_truncate']) wanted (name)
   where not exists (select from pg_trigger t where t.tgrelid = p.relation and t.tgname = wanted.name)
  union all
  select p.relation, format('trigger %s is disabled', t.tgname), true
    from part p join pg_trigger t on t.tgrelid = p.relation
   where t.tgname ~ '^kos_capture_' and t.tgenabled in ('D', 'R')
  union all
  select p.relation, h.fault, true from part p cross join lateral kos.what_hides_rows(p.relation) h (fault) where h.fault is not null
  union all
  select l.relation, format('kos_owner may not read %s any more', r), true
    from kos.logged_tables l, unnest(l.lent) r where not has_table_privilege('kos_owner', r, 'SELECT')
  union all
  select p.relation, 'the table has changed since its capture was made', false
    from part p join pg_proc f on f.proname = kos.capture_name(p.relation) and f.pronamespace = 'kos'::regnamespace
   where strpos(f.prosrc, kos.is_changed(p.relation)) = 0
  union all
  select l.relation, case when kos.key_of(l.relation) is null then 'its key is gone' else 'its tenant column is gone' end, true
    from kos.logged_tables l where (kos.logged(l.relation)).relation is null and exists (select from pg_class c where c.oid = l.relation)
  union all
  select l.relation, 'its key is not unique any more, or can be null: rows that share one are one row in the log', true
    from kos.logged_tables l cross join lateral kos.logged(l.relation) n
   where n.relation is not null and not kos.tells_apart(l.relation, n.key_columns)
     and exists (select from pg_class c where c.oid = l.relation)
  union all
  select l.relation, format('its sensitive column %s has another name since the database was copied: new columns are hidden', s), false
    from kos.logged_tables l, jsonb_object_keys(l.sensitive) s
   where l.origin <> kos.origin() and l.numbers ? s and kos.present_name(l, s) is null
     and exists (select from pg_class c where c.oid = l.relation)
$$;


ALTER FUNCTION kos.capture_faults() OWNER TO kos_owner;

--
-- Name: capture_name(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_name(target regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return (
    select coalesce(
      (select min(f.proname::text)
         from pg_trigger t join pg_proc f on f.oid = t.tgfoid
        where t.tgrelid = target and t.tgname ~ '^kos_capture_' and f.pronamespace = 'kos'::regnamespace),
      case when exists (
             select from (select p.oid from pg_proc p where p.proname = first.name and p.pronamespace = 'kos'::regnamespace offset 0) f
              cross join lateral (select d.objid from pg_depend d
                                   where d.refclassid = 'pg_proc'::regclass and d.refobjid = f.oid and d.classid = 'pg_trigger'::regclass offset 0) d
               join pg_trigger t on t.oid = d.objid
              where t.tgname ~ '^kos_capture_')
           then 'capture_' || md5(first.name || ' ' || target::oid) else first.name end)
      from (select 'capture_' || md5(format('%I.%I', n.nspname, c.relname)) as name
              from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target) first);
end $$;


ALTER FUNCTION kos.capture_name(target regclass) OWNER TO kos_owner;

--
-- Name: capture_script(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_script(target regclass) RETURNS TABLE(role text, statement text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with logged as (
    select * from kos.logged_tables l where l.relation = target
  ), parts as (
    select p.relation as part, p.number, pg_get_userbyid(c.relowner)::text as owner, c.relowner, kos.capture_name(p.relation) as capture,
           c.relrowsecurity and c.relowner <> 'kos_owner'::regrole
             and not exists (select from pg_policy y where y.polrelid = p.relation and y.polname = 'kos_capture') as hides,
           (select count(*) from pg_trigger t where t.tgrelid = p.relation and t.tgname ~ '^kos_capture_' and t.tgenabled in ('O', 'A')) < 4 as lacks
      from kos.parts_of(target) with ordinality p (relation, number)
      join pg_class c on c.oid = p.relation
  ), outsider as (
    select distinct owner from parts where lacks and relowner <> 'kos_owner'::regrole and not has_schema_privilege(relowner, 'kos', 'USAGE')
  )
  select s.role, s.statement from (
    select 1, 0::bigint, 'kos_owner', format('grant usage on schema kos to %I', owner) from outsider
    union all
    select 2, number, 'kos_owner', format('grant execute on function kos.%I() to %I', capture, owner)
      from parts where lacks and relowner <> 'kos_owner'::regrole
    union all
    select 3, 0, pg_get_userbyid(n.nspowner)::text, format('grant usage on schema %I to kos_owner', n.nspname)
      from logged l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
     where l.opened and not has_schema_privilege('kos_owner', n.oid, 'USAGE')
    union all
    select 4, number, owner, format('lock table %s in %s mode', part,
                                    case when (select bool_or(hides) from parts) then 'access exclusive' else 'share row exclusive' end)
      from parts where part = target and (select bool_or(lacks or hides) from parts)
    union all
    select 5, number, owner, format('grant select on %s to kos_owner', part)
      from parts, logged l where part = any (l.lent) and not has_table_privilege('kos_owner', part, 'SELECT')
    union all
    select 6, number, owner, format('create policy kos_capture on %s for select to kos_owner using (true)', part) from parts where hides
    union all
    select 7, number, owner, t.statement from parts cross join kos.capture_triggers(part) t (statement) where lacks
    union all
    select 8, number, 'kos_owner', format('revoke execute on function kos.%I() from %I', capture, owner)
      from parts where lacks and relowner <> 'kos_owner'::regrole
    union all
    select 9, 0, 'kos_owner', format('revoke usage on schema kos from %I', owner) from outsider
  ) s (phase, number, role, statement)
  order by s.phase, s.number
$$;


ALTER FUNCTION kos.capture_script(target regclass) OWNER TO kos_owner;

--
-- Name: capture_statement(regclass, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_statement(target regclass, operation text, pending text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  root regclass := kos.root_of(target);
  logged kos.logged_tables := kos.logged(target);
  head text;
  nested boolean := kos.reads_rows_again(target, root, logged);
  new_tenant text := kos.tenant_expression(target, 'n');
  old_tenant text := kos.tenant_expression(target, 'o');
  key1 text;
  earlier text;
begin
  if logged.relation is null then
    return 'select';  -- nothing to write: it left the log, as a detached partition does, or lost its key
  end if;
  key1 := quote_ident(logged.key_columns[1]);
  earlier := case when logged.baseline = 'lazy' and operation <> 'INSERT'
    then kos.image_of(target, 'o', null, old_tenant) else 'null' end;
  head := format('insert into kos.%s (id, origin, transaction, tenant_id, shape_id, operation, key, image, before, context) '
                 'select nextval(''kos.pending_ids''), kos.origin(), pg_current_xact_id(), ', pending);
  if operation = 'TRUNCATE' and root = target then
    return head || format('d.tenant, %s, ''T'', ''{}'', null, null, kos_whoever from (select distinct %s as tenant from %s n) d',
                          kos.shape_of(target), new_tenant, target);
  elsif operation = 'TRUNCATE' then
    -- Of the whole table, whose own trigger came first: then its event is the newest of the tenant there, and says it all.
    return head || format('t.tenant, %1$s, ''D'', %2$s, null, null, kos_whoever from only %3$s n join (select d.tenant from (select distinct %4$s '
                          'as tenant from only %3$s n) d where (select p.operation from kos.pending p where p.tenant_id = d.tenant and '
                          'p.origin = kos.origin() and p.transaction = pg_current_xact_id() and p.shape_id in (select s.shape_id from kos.shapes s '
                          'where s.logged_id = %5$s) order by p.id desc limit 1) is distinct from ''T'') t on t.tenant = %4$s',
                          kos.shape_of(target), kos.key_expression(target, '{n}'), target, new_tenant, logged.logged_id);
  elsif operation = 'INSERT' and not nested then
    return head || format('%s, %s, ''I'', %s, %s, null, kos_whoever from new_rows n', new_tenant, kos.shape_of(target),
                          kos.key_expression(target, '{n}'), kos.image_of(target, 'n', null, new_tenant));
  elsif operation = 'UPDATE' and not nested then
    return head || format('coalesce(%1$s, %2$s), %3$s, case when n.%4$s is null then ''D'' when o.%4$s is null then ''I'' else ''U'' end, '
                          '%5$s, case when n.%4$s is not null then %6$s end, %7$s, kos_whoever from old_rows o full join new_rows n on %8$s',
                          case when logged.tenant_column is null then new_tenant else format('case when n.%s is not null then %s end', key1, new_tenant) end,
                          case when logged.tenant_column is null then old_tenant else format('case when o.%s is not null then %s end', key1, old_tenant) end,
                          kos.shape_of(target), key1, kos.key_expression(target, '{n,o}'),
                          kos.image_of(target, 'n', 'o', new_tenant),
                          case when earlier = 'null' then earlier else format('case when o.%s is not null then %s end', key1, earlier) end,
                          kos.same_key(target, 'o', 'n'));
  elsif operation = 'DELETE' and not nested then
    -- One statement can delete a key and insert it again, and its deletion is captured last.
    return head || format('%1$s, %2$s, case when n.%3$s is null then ''D'' else ''U'' end, %4$s, case when n.%3$s is not null then %5$s end, '
                          '%6$s, kos_whoever from old_rows o left join %7$s n on %8$s',
                          old_tenant, kos.shape_of(target), key1, kos.key_expression(target, '{o}'),
                          kos.image_of(target, 'n', null, old_tenant), earlier, root, kos.same_key(target, 'o', 'n'));
  end if;
  -- As it is now: what ran in between has been captured already, so the newest event tells the truth.
  return head || format('%1$s, %2$s, case when n.%3$s is null then ''D'' when %4$L = ''INSERT'' then ''I'' else ''U'' end, %5$s, '
                        'case when n.%3$s is not null then %6$s end, null, kos_whoever from (%7$s) o left join %8$s n on %9$s',
                        old_tenant, kos.shape_of(target), key1, operation, kos.key_expression(target, '{o}'),
                        kos.image_of(target, 'n', null, old_tenant),
                        (select string_agg(format('select %s, (%s) collate "C" as kos_key from %s', columns.list, kos.key_expression(target, array[side]), side), ' union ')
                           from (select string_agg(distinct quote_ident(k), ', ') as list
                                   from unnest(logged.key_columns || logged.tenant_column) k where k is not null) columns,
                                unnest(case operation when 'INSERT' then '{new_rows}' when 'DELETE' then '{old_rows}' else '{old_rows,new_rows}' end::text[]) side),
                        root, kos.same_key(target, 'o', 'n'));
end $_$;


ALTER FUNCTION kos.capture_statement(target regclass, operation text, pending text) OWNER TO kos_owner;

--
-- Name: capture_triggers(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.capture_triggers(part regclass) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select format('create or replace trigger kos_capture_%s %s execute function kos.%I()', t.kind, format(t.shape, part), kos.capture_name(part))
    from (values
      ('insert', 'after insert on %s referencing new table as new_rows for each statement'),
      ('update', 'after update on %s referencing old table as old_rows new table as new_rows for each statement'),
      ('delete', 'after delete on %s referencing old table as old_rows for each statement'),
      ('truncate', 'before truncate on %s for each statement')) t (kind, shape)
$$;


ALTER FUNCTION kos.capture_triggers(part regclass) OWNER TO kos_owner;

--
-- Name: columns_at(uuid, integer, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.columns_at(tenant uuid, logged_id integer, at bigint) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


ALTER FUNCTION kos.columns_at(tenant uuid, logged_id integer, at bigint) OWNER TO kos_owner;

--
-- Name: columns_in_log(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.columns_in_log(target regclass) RETURNS TABLE(column_name text, use text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select u.column_name, u.use
    from kos.logged(target) l
    cross join lateral (select k, 'key' from unnest(l.key_columns) k
                        union all select l.tenant_column, 'tenant' where l.tenant_column is not null
                        union all select s.key, s.value from jsonb_each_text(l.sensitive) s) u (column_name, use)
$$;


ALTER FUNCTION kos.columns_in_log(target regclass) OWNER TO kos_owner;

--
-- Name: compare_log(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.compare_log(target regclass) RETURNS TABLE(tenant_id uuid, key text[], fault text, logged jsonb, found jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET lc_monetary TO 'C'
    AS $_$
declare
  logged kos.logged_tables := kos.logged(target);
  tenant text := kos.tenant_expression(target, 'n');
  names text[];
  compared text;
  hidden jsonb;
  later text[];
  given text;
  filled text[];
  expected text;
begin
  select array_agg(c.name order by c.number),
         string_agg(kos.compared_value(c.name, c.type_oid, c.escapes, logged.sensitive ->> c.name, tenant), ', ' order by c.number),
         coalesce(jsonb_object_agg(c.name, '[encrypted]') filter (where logged.sensitive ->> c.name = 'encrypted'), '{}')
    into names, compared, hidden
    from kos.image_columns(target) c;
  -- Where the log began with what is its first shape: a table that came back can have rows that it never saw whole.
  select coalesce(array_agg(f.name), '{}'), coalesce(array_agg(f.name order by c.number) filter (where f.given = 'a constant'), '{}'),
         string_agg(kos.compared_value(c.name, c.type_oid, c.escapes, logged.sensitive ->> c.name, tenant), ', ' order by c.number)
           filter (where f.given = 'a constant'),
         concat_ws(', ', 'n.' || quote_ident(logged.tenant_column),
                   string_agg(format('%L::%s as %I', f.value, c.type, c.name), ', ') filter (where f.given = 'a constant'))
    into later, filled, expected, given
    from kos.later_columns(target, logged) f
    join kos.image_columns(target) c on c.name = f.name
   where f.since_it_began and f.given <> 'something' and not c.generated;
  -- Expressions of one query, and no function that takes a row's values: its parameters could be printed in the server's log.
  return query execute format($query$
    with there as (
      select %1$s as tenant_id, (%2$s) collate "default" as key, jsonb_object($1, array[%3$s]::text[]) as data,
             (select jsonb_object($5, array[%5$s]::text[]) from (select %6$s) n) as given
        from %4$s n
    ), known as (
      select t.tenant_id, l.key, kos.masked_data(l.data) as masked, kos.reveal(t.tenant_id, l.data) as data
        from (select distinct s.tenant_id from kos.seals s) t
        cross join lateral kos.stored_state(t.tenant_id, $2, 9223372036854775807) l
    ), common as (
      select coalesce(h.tenant_id, k.tenant_id) as tenant_id, coalesce(h.key, k.key) as key, k.data as logged, h.data as found, k.masked, h.given
        from there h full join known k using (tenant_id, key)
    )
    select c.tenant_id, c.key,
           case when c.found is null then 'it is gone, and the log has no deletion'
                when c.logged is null then 'the log has never seen it' else 'the log has other values' end, c.masked, c.found || $3
      from common c
     where c.found is null or c.logged is null
        or exists (select from jsonb_each(c.found) f
                    where case when c.logged ? f.key then c.logged -> f.key <> f.value and not (c.logged -> f.key = '"[erased]"' and $3 ? f.key)
                               when f.key = any ($4) then coalesce(c.given -> f.key, 'null') <> f.value end)
    $query$, tenant, kos.key_expression(target, '{n}'), compared, target, expected, given)
    using names, logged.logged_id, hidden, later, filled;
end $_$;


ALTER FUNCTION kos.compare_log(target regclass) OWNER TO kos_owner;

--
-- Name: compared_value(text, oid, boolean, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.compared_value(name text, type oid, escapes boolean, sensitive text, tenant text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return case when sensitive in ('digest', 'absent') then format('kos.masked(%s)', kos.image_value('n', name, type, escapes, sensitive, tenant))
              else kos.text_of(format('n.%I', name), type) end;
end $$;


ALTER FUNCTION kos.compared_value(name text, type oid, escapes boolean, sensitive text, tenant text) OWNER TO kos_owner;

--
-- Name: complete_baseline(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.complete_baseline(target regclass) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update kos.logged_tables set complete_at = clock_timestamp() where relation = target and complete_at is null
$$;


ALTER FUNCTION kos.complete_baseline(target regclass) OWNER TO kos_owner;

--
-- Name: conninfo_value(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.conninfo_value(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((''''::text || replace(replace(value, '\'::text, '\\'::text), ''''::text, '\'''::text)) || ''''::text);


ALTER FUNCTION kos.conninfo_value(value text) OWNER TO kos_owner;

--
-- Name: crossing(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.crossing() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select format('all tenants, access %s: %s', a.access_id, a.reason)
    from kos.cross_tenant_access a
   where a.access_id = nullif(current_setting('kos.crossing', true), '')::bigint
     and a.ended_at is null and a.role_name = session_user
$$;


ALTER FUNCTION kos.crossing() OWNER TO kos_owner;

--
-- Name: crossing_context(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.crossing_context() RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN CASE WHEN (kos.crossing() IS NOT NULL) THEN ARRAY[(SESSION_USER)::text, ''::text, ''::text, ''::text, ''::text, kos.crossing()] ELSE NULL::text[] END;


ALTER FUNCTION kos.crossing_context() OWNER TO kos_owner;

--
-- Name: current_incarnation(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.current_incarnation() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  here text := kos.identity();
  newest kos.incarnations;
begin
  select * into newest from kos.incarnations order by incarnation desc limit 1;
  if newest.identity is distinct from here then
    perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 1);
    select * into newest from kos.incarnations order by incarnation desc limit 1;
    if newest.identity is distinct from here then
      insert into kos.incarnations (identity, origin, reason)
      values (here, kos.origin(), case when newest.identity is null then 'installed' else 'restored or promoted' end)
      returning * into newest;
    end if;
  end if;
  return newest.incarnation;
end $$;


ALTER FUNCTION kos.current_incarnation() OWNER TO kos_owner;

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
-- Name: current_tenant_value(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.current_tenant_value() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select f.name from kos.fence f where f.tenant_id = kos.current_tenant_id() and f.adopted
$$;


ALTER FUNCTION kos.current_tenant_value() OWNER TO kos_owner;

--
-- Name: FUNCTION current_tenant_value(); Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON FUNCTION kos.current_tenant_value() IS 'The entered tenant as an adopted product names it; error KS001 where none is entered.';


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
-- Name: decrypt(uuid, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.decrypt(tenant uuid, column_name text, stored text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT
    AS $$
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


ALTER FUNCTION kos.decrypt(tenant uuid, column_name text, stored text) OWNER TO kos_owner;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: logged_tables; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.logged_tables (
    relation regclass NOT NULL,
    logged_id integer NOT NULL,
    tenant_column text,
    key_columns text[] NOT NULL,
    baseline text DEFAULT 'none'::text NOT NULL,
    fenced boolean DEFAULT false NOT NULL,
    sensitive jsonb DEFAULT '{}'::jsonb NOT NULL,
    numbers jsonb DEFAULT '{}'::jsonb NOT NULL,
    origin integer DEFAULT 0 NOT NULL,
    logged_since timestamp with time zone DEFAULT now() NOT NULL,
    complete_at timestamp with time zone,
    lent regclass[] DEFAULT '{}'::regclass[] NOT NULL,
    opened boolean DEFAULT false NOT NULL,
    column_ids jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT logged_tables_baseline_check CHECK ((baseline = ANY (ARRAY['full'::text, 'lazy'::text, 'none'::text])))
);


ALTER TABLE kos.logged_tables OWNER TO kos_owner;

--
-- Name: described_columns(regclass, kos.logged_tables); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.described_columns(target regclass, logged kos.logged_tables) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select jsonb_agg(jsonb_build_object('name', c.name, 'type', c.type, 'generated', c.generated,
                                      'sensitive', logged.sensitive -> c.name) order by c.number)
    from kos.image_columns(target) c
$$;


ALTER FUNCTION kos.described_columns(target regclass, logged kos.logged_tables) OWNER TO kos_owner;

--
-- Name: encrypt(uuid, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.encrypt(tenant uuid, column_name text, value text) RETURNS text
    LANGUAGE plpgsql STRICT
    AS $$
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


ALTER FUNCTION kos.encrypt(tenant uuid, column_name text, value text) OWNER TO kos_owner;

--
-- Name: end_cross_tenant_access(bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.end_cross_tenant_access(access_id bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update kos.cross_tenant_access a set ended_at = clock_timestamp()
   where a.access_id = end_cross_tenant_access.access_id and a.ended_at is null and a.role_name = session_user
$$;


ALTER FUNCTION kos.end_cross_tenant_access(access_id bigint) OWNER TO kos_owner;

--
-- Name: end_of_transaction(uuid, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.end_of_transaction(tenant uuid, first bigint) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce((select later.position - 1 from kos.knowledge_events later
                    where later.tenant_id = e.tenant_id and later.position > e.position and later.transaction <> e.transaction
                    order by later.position limit 1),
                  (select max(last.position) from kos.knowledge_events last where last.tenant_id = e.tenant_id))
    from kos.knowledge_events e
   where e.tenant_id = tenant and e.position = first
$$;


ALTER FUNCTION kos.end_of_transaction(tenant uuid, first bigint) OWNER TO kos_owner;

--
-- Name: ended_since(pg_snapshot); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.ended_since(seen pg_snapshot) RETURNS TABLE(first xid8, last xid8)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select (lag(r.edge, 1, pg_snapshot_xmax(seen)::text::bigint - 1) over (order by r.edge) + 1)::text::xid8, (r.edge - 1)::text::xid8
    from (select x::text::bigint as edge from pg_snapshot_xip(pg_current_snapshot()) x where x >= pg_snapshot_xmax(seen)
          union all
          select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) r
$$;


ALTER FUNCTION kos.ended_since(seen pg_snapshot) OWNER TO kos_owner;

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
  return pg_catalog.set_config('search_path', coalesce(path, pg_catalog.current_setting('search_path')), true);
end $$;


ALTER FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) OWNER TO kos_owner;

--
-- Name: erase_tenant_keys(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.erase_tenant_keys(tenant uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  erased bigint;
begin
  update kos.tenant_keys k set key = null, erased_at = clock_timestamp() where k.tenant_id = tenant and k.key is not null;
  get diagnostics erased = row_count;
  return erased;
end $$;


ALTER FUNCTION kos.erase_tenant_keys(tenant uuid) OWNER TO kos_owner;

--
-- Name: event_data(jsonb, text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.event_data(columns jsonb, image text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(jsonb_object_agg(c.description ->> 'name', kos.masked(v.value)), '{}')
    from jsonb_array_elements(columns) with ordinality c (description, number)
    join unnest(image) with ordinality v (value, number) using (number)
   where v.value is not null
$$;


ALTER FUNCTION kos.event_data(columns jsonb, image text[]) OWNER TO kos_owner;

--
-- Name: event_type(text, "char"); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.event_type(table_name text, operation "char") RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (table_name || CASE operation WHEN 'I'::"char" THEN '.created'::text WHEN 'U'::"char" THEN '.updated'::text WHEN 'D'::"char" THEN '.deleted'::text WHEN 'T'::"char" THEN '.truncated'::text ELSE '.found'::text END);


ALTER FUNCTION kos.event_type(table_name text, operation "char") OWNER TO kos_owner;

--
-- Name: feed_cursors; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.feed_cursors (
    feed text NOT NULL,
    tenant_id uuid NOT NULL,
    "position" bigint NOT NULL,
    leaf bytea,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT feed_cursors_check CHECK ((("position" = 0) = (leaf IS NULL))),
    CONSTRAINT feed_cursors_feed_check CHECK ((feed ~ '^[a-z0-9][a-z0-9._-]{0,62}$'::text)),
    CONSTRAINT feed_cursors_position_check CHECK (("position" >= 0))
);

ALTER TABLE ONLY kos.feed_cursors FORCE ROW LEVEL SECURITY;


ALTER TABLE kos.feed_cursors OWNER TO kos_owner;

--
-- Name: TABLE feed_cursors; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.feed_cursors IS 'How far each consumer of a tenant''s log is.';


--
-- Name: feed_cursor(text, uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feed_cursor(feed_name text, tenant uuid) RETURNS kos.feed_cursors
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  found_one kos.feed_cursors;
begin
  select * into found_one from kos.feed_cursors c where c.feed = feed_name and c.tenant_id = tenant;
  if not found then
    found_one := row(feed_name, tenant, 0, null, null)::kos.feed_cursors;
  end if;
  return found_one;
end $$;


ALTER FUNCTION kos.feed_cursor(feed_name text, tenant uuid) OWNER TO kos_owner;

--
-- Name: feed_done(text, uuid, bigint, bigint, bytea); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  there bytea := kos.feed_leaf(tenant, upto, case when upto > 0 then coalesce(seen_leaf, '') end);
begin
  if upto < at then
    raise exception 'position % is before %', upto, at using errcode = 'KS026', hint = 'kos.feed_seek() goes back';
  end if;
  if at = 0 then  -- Two that begin at once: the second waits here for the first.
    insert into kos.feed_cursors (feed, tenant_id, position) values (feed_name, tenant, 0) on conflict do nothing;
  end if;
  update kos.feed_cursors c set position = upto, leaf = there, moved_at = clock_timestamp()
   where c.feed = feed_name and c.tenant_id = tenant and c.position = at;
  if not found then
    raise exception 'feed % of % is at position %, not at %', feed_name, tenant, (kos.feed_cursor(feed_name, tenant)).position, at
      using errcode = 'KS026', hint = 'another consumer has moved it, or this was said already: ask for the next events again';
  end if;
end $$;


ALTER FUNCTION kos.feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea) OWNER TO kos_owner;

--
-- Name: feed_drop(text, uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feed_drop(feed_name text, tenant uuid DEFAULT NULL::uuid) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with dropped as (
    delete from kos.feed_cursors c where c.feed = feed_name and (tenant is null or c.tenant_id = tenant) returning 1)
  select count(*) from dropped
$$;


ALTER FUNCTION kos.feed_drop(feed_name text, tenant uuid) OWNER TO kos_owner;

--
-- Name: feed_leaf(uuid, bigint, bytea); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feed_leaf(tenant uuid, at bigint, seen_leaf bytea DEFAULT NULL::bytea) RETURNS bytea
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  there kos.knowledge_events;
begin
  select * into there from kos.knowledge_events e where e.tenant_id = tenant and e.position = at;
  if there.leaf is distinct from coalesce(seen_leaf, there.leaf) then
    raise exception 'the log of % has diverged at or before position %', tenant, at
      using errcode = 'KS021', detail = at, hint = 'begin again from a position before the restore or promotion';
  elsif at <> 0 and (there.leaf is null or exists (
      select from kos.knowledge_events e where e.tenant_id = tenant and e.position = at + 1 and e.transaction = there.transaction)) then
    raise exception 'no transaction ends at position % of %', at, tenant
      using errcode = 'KS027', detail = at, hint = 'cursors stand at the end of a transaction, so that none is seen in part';
  end if;
  return there.leaf;
end $$;


ALTER FUNCTION kos.feed_leaf(tenant uuid, at bigint, seen_leaf bytea) OWNER TO kos_owner;

--
-- Name: feed_next(text, uuid, integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feed_next(feed_name text, tenant uuid, at_most integer DEFAULT 1000) RETURNS TABLE("position" bigint, event_type text, schema_name text, table_name text, operation "char", key text[], event_data jsonb, incarnation integer, transaction xid8, ends_transaction boolean, leaf bytea, occurred_at timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  here kos.feed_cursors := kos.feed_cursor(feed_name, tenant);
  room bigint := greatest(at_most, 1);
  upto bigint;
  nothing bytea := kos.feed_leaf(tenant, here.position, here.leaf);
begin
  select max(t.position) into upto
    from (select e.position, lead(e.transaction) over (order by e.position) is distinct from e.transaction as ends
            from (select k.position, k.transaction from kos.knowledge_events k
                   where k.tenant_id = tenant and k.position > here.position order by k.position limit room + 1) e) t
   where t.ends and t.position <= here.position + room;  -- of one more it isn't known: nobody looked behind it
  upto := coalesce(upto, kos.end_of_transaction(tenant, here.position + 1), here.position);
  return query select * from kos.read_feed(tenant, here.position, null, (upto - here.position)::integer);
end $$;


ALTER FUNCTION kos.feed_next(feed_name text, tenant uuid, at_most integer) OWNER TO kos_owner;

--
-- Name: feed_seek(text, uuid, bigint, bytea); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feed_seek(feed_name text, tenant uuid, at bigint, seen_leaf bytea DEFAULT NULL::bytea) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  there bytea := kos.feed_leaf(tenant, at, seen_leaf);
begin
  insert into kos.feed_cursors as c (feed, tenant_id, position, leaf) values (feed_name, tenant, at, there)
      on conflict on constraint feed_cursors_pkey
      do update set position = excluded.position, leaf = excluded.leaf, moved_at = clock_timestamp();
end $$;


ALTER FUNCTION kos.feed_seek(feed_name text, tenant uuid, at bigint, seen_leaf bytea) OWNER TO kos_owner;

--
-- Name: feed_waiting(text, integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feed_waiting(feed_name text, max_tenants integer DEFAULT 1000) RETURNS TABLE(tenant_id uuid, "position" bigint, head bigint, since timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select l.tenant_id, c.position, h.position, e.occurred_at
    from kos.log_tenants() l (tenant_id)
   cross join lateral kos.feed_cursor(feed_name, l.tenant_id) c
   cross join lateral kos.newest_seal(l.tenant_id) h
   cross join lateral (select k.occurred_at from kos.knowledge_events k
                        where k.tenant_id = l.tenant_id and k.position = c.position + 1 offset 0) e
   order by e.occurred_at, l.tenant_id
   limit max_tenants
$$;


ALTER FUNCTION kos.feed_waiting(feed_name text, max_tenants integer) OWNER TO kos_owner;

--
-- Name: feeds(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.feeds() RETURNS TABLE(feed text, tenant_id uuid, "position" bigint, head bigint, since timestamp with time zone, moved_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select c.feed, c.tenant_id, c.position, h.position,
         (select e.occurred_at from kos.knowledge_events e where e.tenant_id = c.tenant_id and e.position = c.position + 1), c.moved_at
    from kos.feed_cursors c
   cross join lateral kos.newest_seal(c.tenant_id) h
   order by c.feed, c.tenant_id
$$;


ALTER FUNCTION kos.feeds() OWNER TO kos_owner;

--
-- Name: fence_again(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.fence_again(target regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select coalesce((
    select format($text$  if tg_op = 'INSERT' then
    perform kos.pass_fences(array(select distinct %1$s from new_rows n));
  elsif tg_op = 'DELETE' then
    perform kos.pass_fences(array(select distinct %2$s from old_rows o));
  elsif tg_op = 'UPDATE' then
    perform kos.pass_fences(array(select %1$s from new_rows n union select %2$s from old_rows o));
  end if;
$text$, kos.tenant_expression(target, 'n'), kos.tenant_expression(target, 'o'))
      from kos.logged(target) l
     where l.fenced), '')
$_$;


ALTER FUNCTION kos.fence_again(target regclass) OWNER TO kos_owner;

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
-- Name: forget_dropped_tables(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.forget_dropped_tables() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  capture text;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  delete from kos.logged_tables l where not exists (select from pg_class c where c.oid = l.relation);
  for capture in
    with without_trigger as materialized (
      select p.proname from pg_proc p
       where p.pronamespace = 'kos'::regnamespace and p.proname ~ '^capture_[0-9a-f]{32}$' and p.prorettype = 'trigger'::regtype
         and not exists (select from pg_trigger t where t.tgfoid = p.oid)
    )
    select w.proname from without_trigger w
     -- Of one that is noted: its triggers were dropped by somebody, and broken_captures() says so.
     where w.proname <> all (array(select kos.capture_name(coalesce(t.relid, l.relation))
                                     from kos.logged_tables l left join pg_partition_tree(l.relation) t on true))
  loop
    execute format('drop function kos.%I()', capture);
  end loop;
end $_$;


ALTER FUNCTION kos.forget_dropped_tables() OWNER TO kos_owner;

--
-- Name: forget_log(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.forget_log(tenant uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  perform pg_advisory_xact_lock_shared(kos.all_logs_key());
  perform pg_advisory_xact_lock(kos.log_key(tenant));
  -- Each that there is, for one that is being made just now has no cursor yet; and each that has one.
  insert into kos.projection_leavers (projection, tenant_id)
    select p.projection, forget_log.tenant from kos.projection_stores p
    union
    select substr(c.feed, 12), c.tenant_id from kos.feed_cursors c where c.tenant_id = tenant and starts_with(c.feed, 'projection.')
    on conflict do nothing;
  delete from kos.pending_1 where tenant_id = tenant;
  delete from kos.pending_2 where tenant_id = tenant;
  delete from kos.knowledge_events where tenant_id = tenant;
  delete from kos.seals where tenant_id = tenant;
  delete from kos.tenant_keys where tenant_id = tenant;
  delete from kos.feed_cursors where tenant_id = tenant;
  delete from kos.projection_parked where tenant_id = tenant;
  delete from kos.projection_made where tenant_id = tenant;
end $$;


ALTER FUNCTION kos.forget_log(tenant uuid) OWNER TO kos_owner;

--
-- Name: guard(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.guard() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  epoch bigint := nullif(current_setting('kos.epoch', true), '')::bigint;
  here kos.fence;
begin
  if epoch is null then
    -- The operator's work on all tenants: capture passes the fence of each whose rows it writes.
    if tg_op <> 'TRUNCATE' and kos.crossing() is not null then
      return null;
    end if;
    perform kos.no_tenant();
  end if;
  here := kos.pass_fence(kos.current_tenant_id(), epoch);
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
-- Name: guard_adopted(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.guard_adopted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


ALTER FUNCTION kos.guard_adopted() OWNER TO kos_owner;

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
-- Name: has_changed(regclass, regclass, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.has_changed(target regclass, root regclass, known text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  has_changed boolean := kos.layout(target, root) is distinct from known;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') and (
       kos.is_seen_otherwise(target)
       or has_changed and not exists (select from pg_proc f where f.proname = kos.capture_name(target)
                                         and f.pronamespace = 'kos'::regnamespace and strpos(f.prosrc, known) > 0)) then
    raise exception 'could not serialize access: % was changed after this transaction began', target
      using errcode = 'serialization_failure', hint = 'run the transaction again';
  end if;
  return has_changed;
end $$;


ALTER FUNCTION kos.has_changed(target regclass, root regclass, known text) OWNER TO kos_owner;

--
-- Name: has_nested_changes(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.has_nested_changes(target regclass) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return (
    with part as materialized (select target as relation union select relid from pg_partition_tree(target))
    select exists (
      select from part p
       cross join lateral (select from pg_trigger t
                            where t.tgrelid = p.relation and not t.tgisinternal and t.tgname !~ '^[!~]?kos_' and t.tgenabled <> 'D' offset 0) t
    ) or exists (
      select from part p
       cross join lateral kos.referring_keys(p.relation) f
       where (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd'))
         and (f.conrelid in (select relation from part)
              or exists (select from pg_trigger t where t.tgrelid = f.conrelid and not t.tgisinternal and t.tgname !~ '^[!~]?kos_')
              or exists (select from kos.referring_keys(f.conrelid) g
                          where g.confdeltype in ('c', 'n', 'd') or g.confupdtype in ('c', 'n', 'd')))
    ) or exists (
      -- One statement on the other table can change a row here more than once, and the transition tables are shared.
      select from part p
       cross join lateral (select from pg_constraint f
                            where f.conrelid = p.relation and f.contype = 'f'
                              and (f.confdeltype in ('n', 'd') or f.confupdtype in ('c', 'n', 'd')) offset 0) f
    ));
end $$;


ALTER FUNCTION kos.has_nested_changes(target regclass) OWNER TO kos_owner;

--
-- Name: hidden_columns(kos.logged_tables); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.hidden_columns(logged kos.logged_tables) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  missing text := (select min(s.value) from jsonb_each_text(logged.sensitive) s
                    where logged.origin <> kos.origin() and logged.numbers ? s.key and kos.present_name(logged, s.key) is null);
begin
  return (
    select coalesce(jsonb_object_agg(h.name, h.way), '{}')
      from (select e.name, min(e.way) as way  -- absent, digest, encrypted: the one that shows least
              from (select coalesce(kos.present_name(logged, s.key), s.key), s.value from jsonb_each_text(logged.sensitive) s
                    union all
                    select a.attname, missing from pg_attribute a
                     where missing is not null and a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped
                       and not logged.column_ids ? a.attname::text
                       and a.attname::text <> all (array_remove(logged.key_columns || logged.tenant_column, null))) e (name, way)
             group by e.name) h);
end $$;


ALTER FUNCTION kos.hidden_columns(logged kos.logged_tables) OWNER TO kos_owner;

--
-- Name: hmac(bytea, bytea); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.hmac(key bytea, message bytea) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return sha256(kos.hmac_pad(key, '5c') || sha256(kos.hmac_pad(key, '36') || message));
end $$;


ALTER FUNCTION kos.hmac(key bytea, message bytea) OWNER TO kos_owner;

--
-- Name: hmac_pad(bytea, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.hmac_pad(key bytea, filling text) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return substr(varbit_send(('x' || rpad(encode(case when octet_length(key) > 64 then sha256(key) else key end, 'hex'), 128, '0'))::varbit
                            # ('x' || repeat(filling, 64))::varbit), 5);
end $$;


ALTER FUNCTION kos.hmac_pad(key bytea, filling text) OWNER TO kos_owner;

--
-- Name: holds_key(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.holds_key() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended('kos.object_holds'::text, (1263489025)::bigint);


ALTER FUNCTION kos.holds_key() OWNER TO kos_owner;

--
-- Name: identify_rows(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.identify_rows() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
declare
  part regclass;
begin
  for part in select c.oid from pg_class c
               where c.oid in ('kos.pending_turn'::regclass, 'kos.pending_1'::regclass, 'kos.pending_2'::regclass) and c.relreplident = 'd' loop
    begin
      execute format('alter table %s replica identity full', part);
    exception when lock_not_available then null;
    end;
  end loop;
end $$;


ALTER FUNCTION kos.identify_rows() OWNER TO kos_owner;

--
-- Name: identity(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.identity() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select concat_ws(' ', (select system_identifier from pg_control_system()),
                   case when pg_is_in_recovery() then 'standby' else left(pg_walfile_name(pg_current_wal_lsn()), 8) end,
                   (select oid from pg_database where datname = current_database()))
$$;


ALTER FUNCTION kos.identity() OWNER TO kos_owner;

--
-- Name: image_columns(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.image_columns(target regclass) RETURNS TABLE(number integer, name text, type text, type_oid oid, varies boolean, generated boolean, escapes boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
begin
  return query
  select row_number() over (order by a.attnum)::integer, a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid,
         a.attlen = -1, a.attgenerated <> '',
         t.typcategory in ('S', 'U', 'E', 'X', 'Z') and a.atttypid <> all ('{uuid,json,jsonb}'::regtype[])
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
   where a.attrelid = target and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v';
end $$;


ALTER FUNCTION kos.image_columns(target regclass) OWNER TO kos_owner;

--
-- Name: image_of(regclass, text, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.image_of(target regclass, side text, earlier text, tenant text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $_$
begin
  return (
    select format('array[%s]::text[]', string_agg(
      case when earlier is not null and (c.varies or l.sensitive ->> c.name = 'encrypted') and c.name <> all (l.key_columns)
             and (f.given is null or f.given = 'a constant' and c.type_oid = any ('{text,varchar,bpchar,json,jsonb,bytea,text[],varchar[]}'::regtype[]))
        then format(case when c.type_oid in ('text'::regtype, 'varchar'::regtype)
                      then 'case when %1$s.%4$I is null or %2$s.%3$I collate "C" is distinct from %1$s.%3$I%6$s then %5$s end'
                      else 'case when %1$s.%4$I is null or record_image_ne(row(%2$s.%3$I), row(%1$s.%3$I))%6$s then %5$s end' end,
                    earlier, side, c.name, l.key_columns[1], v.value,
                    case when f.given is not null
                      then format(' or record_image_eq(row(%s.%I), row(%L::%s))', earlier, c.name, f.value, c.type) end)
        else v.value end, ', ' order by c.number))
      from kos.logged(target) l
      cross join kos.image_columns(target) c
      left join kos.later_columns(target, l) f on f.name = c.name and f.given <> 'nothing'
      cross join lateral (select kos.image_value(side, c.name, c.type_oid, c.escapes, l.sensitive ->> c.name, tenant) as value) v);
end $_$;


ALTER FUNCTION kos.image_of(target regclass, side text, earlier text, tenant text) OWNER TO kos_owner;

--
-- Name: image_value(text, text, oid, boolean, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.image_value(side text, name text, type oid, escapes boolean, sensitive text, tenant text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  value text := kos.text_of(format('%s.%I', side, name), type);
begin
  return case
    when sensitive = 'encrypted' then format('coalesce(kos.encrypt(%s, %L, %s), E''\\N'')', tenant, name, value)
    when sensitive = 'absent' then format('case when %1$s.%2$I is not distinct from null then E''\\N'' else E''\\A'' end', side, name)
    when sensitive = 'digest' then format('coalesce(E''\\H'' || encode(sha256(convert_to(%s::text || %s, ''UTF8'')), ''hex''), E''\\N'')', tenant, value)
    when escapes then
      format('coalesce(case when starts_with((%1$s) collate "C", E''\\'') then E''\\'' || (%1$s) else %1$s end, E''\\N'')', value)
    else format('coalesce(%s, E''\\N'')', value) end;
end $_$;


ALTER FUNCTION kos.image_value(side text, name text, type oid, escapes boolean, sensitive text, tenant text) OWNER TO kos_owner;

--
-- Name: incarnation(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.incarnation() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if pg_is_in_recovery() then
    return null;
  end if;
  return kos.current_incarnation();
end $$;


ALTER FUNCTION kos.incarnation() OWNER TO kos_owner;

--
-- Name: is_changed(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.is_changed(target regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select format('kos.has_changed(%L::regclass, %L::regclass, %L)',
                target::oid, kos.root_of(target)::oid, kos.layout(target, kos.root_of(target)))
$$;


ALTER FUNCTION kos.is_changed(target regclass) OWNER TO kos_owner;

--
-- Name: is_drained(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.is_drained(pending regclass) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  tenant uuid;
  newest kos.seals;
  waiting boolean;
begin
  perform kos.must_see_each_commit();
  loop
    execute format('select p.tenant_id from %s p where $1 is null or p.tenant_id > $1 order by p.tenant_id limit 1', pending)
      into tenant using tenant;
    exit when tenant is null;
    newest := kos.newest_seal(tenant);
    execute format('select exists (select from %s p where p.tenant_id = $1 and case when p.origin = $2
                      then not pg_visible_in_snapshot(p.transaction, $3) else p.id > $4 end)', pending)
      into waiting using tenant, newest.origin, newest.snapshot, newest.foreign_id;
    if waiting then
      return false;
    end if;
  end loop;
  return true;
end $_$;


ALTER FUNCTION kos.is_drained(pending regclass) OWNER TO kos_owner;

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
-- Name: is_replayable(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.is_replayable(target regclass) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce((select l.relation is not null and not exists (
           select from jsonb_each_text(l.sensitive) s join kos.image_columns(target) c on c.name = s.key
            where s.value <> 'encrypted') from kos.logged(target) l), false)
$$;


ALTER FUNCTION kos.is_replayable(target regclass) OWNER TO kos_owner;

--
-- Name: is_seen_otherwise(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.is_seen_otherwise(target regclass) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  names text[];
  types oid[];
  known text[];
  known_types oid[];
begin
  select array_agg(a.attname::text order by a.attnum), array_agg(a.atttypid order by a.attnum) into known, known_types
    from pg_attribute a where a.attrelid = target and a.attnum > 0 and not a.attisdropped;
  execute format('select array(select json_object_keys(row_to_json(r.*))) from (select (null::%s).*) r', target) into names;
  -- A privilege is asked of what the number means now, and is null where that is dropped.
  if names is distinct from known or exists (
       select from pg_attribute a where a.attrelid = target and a.attnum > 0 and not a.attisdropped
          and has_column_privilege(target, a.attnum, 'SELECT') is null) then
    return true;
  end if;
  execute format('select array[%s]::oid[] from (select (null::%s).*) r',
                 (select string_agg(format('pg_typeof(r.%I)', n), ', ' order by number) from unnest(names) with ordinality u (n, number)), target)
     into types;
  return types is distinct from known_types;
exception when insufficient_privilege then
  return false;  -- kos_owner has lost the schema: kos.broken_captures() says so
end $$;


ALTER FUNCTION kos.is_seen_otherwise(target regclass) OWNER TO kos_owner;

--
-- Name: keep_cross_tenant_access(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.keep_cross_tenant_access() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if tg_op = 'UPDATE' and old.ended_at is null and new.ended_at is not null
     and to_jsonb(old) - 'ended_at' = to_jsonb(new) - 'ended_at' then
    return new;
  end if;
  raise exception 'kos.cross_tenant_access only grows' using errcode = 'KS025', hint = 'what is written there stays';
end $$;


ALTER FUNCTION kos.keep_cross_tenant_access() OWNER TO kos_owner;

--
-- Name: keep_log(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.keep_log() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  noted integer;
  nothing text;
  truncated boolean := false;
begin
  -- A server that was restored or promoted is told apart at once, not with its next change; and here, where that is
  -- committed at once: a seal that begins an incarnation keeps all others waiting until it ends.
  noted := kos.current_incarnation();
  -- Each by itself: what fails for one table stops neither partitions nor the giving back of space, and is told every
  -- time in the server's log; kos.broken_captures() names the table.
  begin
    nothing := kos.forget_dropped_tables();
    noted := kos.refresh_captures((select count(*) / 200 + 1 from kos.logged_tables)::integer,
                                  (random() * 1000000)::bigint);
  exception
    when lock_not_available then null;  -- another time
    when others then raise warning 'captures can''t be made anew: % (%)', sqlerrm, sqlstate;
  end;
  begin
    noted := kos.make_log_partitions();
  exception when lock_not_available then null;
  end;
  begin
    truncated := kos.rotate_pending();
  exception when object_not_in_prerequisite_state then
    raise warning 'the log takes no turn: % (%)', sqlerrm, sqlstate;  -- it is published, and waits for what follows
  end;
  perform kos.identify_rows();  -- last: what it locks it keeps to the end
  return truncated;
end $$;


ALTER FUNCTION kos.keep_log() OWNER TO kos_owner;

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
-- Name: key_expression(regclass, text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.key_expression(target regclass, sides text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return (
    select format('array[%s]::text[]', string_agg(kos.text_of(
             case when cardinality(sides) = 1 then format('%s.%I', sides[1], k.name)
               else format('coalesce(%s.%I, %s.%I)', sides[1], k.name, sides[2], k.name) end, a.atttypid), ', ' order by k.number))
      from kos.logged(target) l
      cross join unnest(l.key_columns) with ordinality k (name, number)
      join pg_attribute a on a.attrelid = l.relation and a.attname = k.name);
end $$;


ALTER FUNCTION kos.key_expression(target regclass, sides text[]) OWNER TO kos_owner;

--
-- Name: key_of(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.key_of(target regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select array(select a.attname::text from unnest(i.indkey) with ordinality k (attnum, number)
                 join pg_attribute a on a.attrelid = target and a.attnum = k.attnum
                where k.number <= i.indnkeyatts order by k.number)
    from pg_index i
   where i.indrelid = target and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
     and not exists (select from pg_attribute a where a.attrelid = target and a.attnum = any (i.indkey[0:i.indnkeyatts - 1]) and not a.attnotnull)
   order by i.indisprimary desc, i.indnkeyatts, i.indexrelid
   limit 1
$$;


ALTER FUNCTION kos.key_of(target regclass) OWNER TO kos_owner;

--
-- Name: kinds_of(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.kinds_of(value text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select array_remove(array[
    case when kos.as_number(value) is not null then 'number' end,
    case when kos.as_uuid(value) is not null then 'uuid' end,
    case when value <> '' and length(value) <= 200 and (kos.as_uuid(lower(value)) is null or kos.as_uuid(value) is not null) then 'text' end], null)
$$;


ALTER FUNCTION kos.kinds_of(value text) OWNER TO kos_owner;

--
-- Name: known_columns(regclass, kos.logged_tables); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.known_columns(target regclass, logged kos.logged_tables) RETURNS TABLE(number integer, name text, id text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
  here constant integer := kos.origin();
begin
  return query
  select c.number, c.name,
         coalesce(case when logged.origin = here
                    then (select logged.column_ids ->> n.key from jsonb_each_text(logged.numbers) n where n.value::smallint = a.attnum)
                    else logged.column_ids ->> c.name end,
                  format('%s.%s.%s', here, logged.relation::oid, a.attnum))
    from kos.image_columns(target) c
    left join pg_attribute a on a.attrelid = logged.relation and a.attname = c.name;  -- a partition counts its own
end $$;


ALTER FUNCTION kos.known_columns(target regclass, logged kos.logged_tables) OWNER TO kos_owner;

--
-- Name: later_columns(regclass, kos.logged_tables); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.later_columns(target regclass, logged kos.logged_tables) RETURNS TABLE(name text, given text, value text, since_it_began boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return query
  select k.name, case when a.atthasmissing then 'a constant'
                      when a.atthasdef or exists (
                             select from kos.filled_columns f where f.logged_id = logged.logged_id and f.column_id = k.id) or exists (
                             select from pg_partition_tree(target) t join pg_attribute p on p.attrelid = t.relid
                              where p.attname = k.name and p.atthasmissing) then 'something'
                      else 'nothing' end,
         (a.attmissingval::text::text[])[1], first.made_at >= logged.logged_since
    from (select s.column_ids, s.made_at from kos.shapes s where s.logged_id = logged.logged_id order by s.shape_id limit 1) first
   cross join kos.known_columns(target, logged) k
    join pg_attribute a on a.attrelid = target and a.attname = k.name and not a.attisdropped
   where k.id <> all (first.column_ids);
end $$;


ALTER FUNCTION kos.later_columns(target regclass, logged kos.logged_tables) OWNER TO kos_owner;

--
-- Name: layout(regclass, regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.layout(target regclass, root regclass) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  logged kos.logged_tables := kos.logged(target);
  nested boolean := kos.reads_rows_again(target, root, logged);
  of_nobody text := (select 'some of no tenant' from pg_attribute a
                      where a.attrelid = logged.relation and a.attname = logged.tenant_column and not a.attnotnull
                        and a.atttypid = 'uuid'::regtype);
begin
  return (select md5(concat_ws(' ', target, root, logged.relation, logged.key_columns, logged.tenant_column, logged.sensitive, logged.baseline,
                               nested, string_agg(concat_ws(' ', c.name, c.type, c.generated, a.attnum), ',' order by c.number), of_nobody))
            from kos.image_columns(target) c
            join pg_attribute a on a.attrelid = target and a.attname = c.name);
end $$;


ALTER FUNCTION kos.layout(target regclass, root regclass) OWNER TO kos_owner;

--
-- Name: leaf(uuid, bigint, integer, xid8, timestamp with time zone, bytea, "char", text[], text[], text[], text[], uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.leaf(tenant uuid, at bigint, incarnation integer, transaction xid8, occurred timestamp with time zone, shape bytea, operation "char", key text[], image text[], before text[], context text[], salt uuid) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN sha256((convert_to(concat_ws(' '::text, (tenant)::text, (at)::text, (incarnation)::text, (transaction)::text, (((EXTRACT(epoch FROM occurred) * (1000000)::numeric))::bigint)::text, encode(shape, 'hex'::text), (operation)::text), 'UTF8'::name) || sha256((uuid_send(salt) || convert_to(concat_ws(' '::text, (key)::text, COALESCE((image)::text, '-'::text), COALESCE((before)::text, '-'::text), COALESCE((context)::text, '-'::text)), 'UTF8'::name)))));


ALTER FUNCTION kos.leaf(tenant uuid, at bigint, incarnation integer, transaction xid8, occurred timestamp with time zone, shape bytea, operation "char", key text[], image text[], before text[], context text[], salt uuid) OWNER TO kos_owner;

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
-- Name: local_column(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.local_column(target regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive part (number, name, shown, type) as (
    select i.number, i.name, i.type, i.type_oid from kos.image_columns(target) i
    union
    select p.number, p.name, p.shown, made.of
      from part p
      join pg_type t on t.oid = p.type
     cross join lateral (
       select t.typbasetype where t.typtype = 'd'
       union all select t.typelem where t.typelem <> 0 and t.typcategory = 'A'
       union all select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
       union all select a.atttypid from pg_attribute a
                  where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) made (of)
  )
  select format('%s (%s)', p.name, p.shown)
    from part p
    join pg_type t on t.oid = p.type
   where t.typtype = 'p' or t.typnamespace = 'pg_catalog'::regnamespace and t.typtype = 'b'
         and (t.typname ~ '^reg' or t.typname in ('oid', 'xid', 'xid8', 'cid', 'tid', 'pg_snapshot', 'txid_snapshot'))
   order by p.number limit 1
$$;


ALTER FUNCTION kos.local_column(target regclass) OWNER TO kos_owner;

--
-- Name: log_baseline(regclass, tid[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_baseline(part regclass, rows tid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET lc_monetary TO 'C'
    SET standard_conforming_strings TO 'on'
    AS $_$
declare
  logged kos.logged_tables := kos.logged(part);
  tenant text := kos.tenant_expression(part, 'n');
  written bigint;
begin
  execute format($insert$
    insert into kos.pending_%s (id, origin, transaction, tenant_id, shape_id, operation, key, image)
    select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), k.tenant_id, $1, 'B', k.key, %s
      from only %s n
      cross join lateral (select %s as tenant_id, %s as key) k
     where n.ctid = any ($2)
       and not exists (select from kos.knowledge_events e
                        where e.tenant_id = k.tenant_id and e.aggregate_id = kos.aggregate_of($3, k.key, array_remove(k.key, k.tenant_id::text))
                          and e.operation in ('I', 'B') and e.occurred_at > $4
                          and e.shape_id in (select s.shape_id from kos.shapes s where s.logged_id = $5))
    $insert$, (select t.number from kos.pending_turn t), kos.image_of(part, 'n', null, tenant), part, tenant, kos.key_expression(part, '{n}'))
    using kos.shape_of(part), rows, (select c.relname from pg_class c where c.oid = logged.relation), logged.logged_since, logged.logged_id;
  get diagnostics written = row_count;
  return written;
end $_$;


ALTER FUNCTION kos.log_baseline(part regclass, rows tid[]) OWNER TO kos_owner;

--
-- Name: log_head(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_head(OUT incarnation integer, OUT "position" bigint, OUT has_written boolean) RETURNS record
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select s.incarnation, s.position, pg_current_xact_id_if_assigned() is not null
    from kos.newest_seal(kos.current_tenant_id()) s
$$;


ALTER FUNCTION kos.log_head(OUT incarnation integer, OUT "position" bigint, OUT has_written boolean) OWNER TO kos_owner;

--
-- Name: log_state(uuid, integer, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_state(tenant uuid, logged_id integer, at bigint) RETURNS TABLE(key text[], data jsonb)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select s.key, kos.masked_data(s.data) from kos.stored_state(log_state.tenant, log_state.logged_id, log_state.at) s
$$;


ALTER FUNCTION kos.log_state(tenant uuid, logged_id integer, at bigint) OWNER TO kos_owner;

--
-- Name: log_state(uuid, text, text, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_state(tenant uuid, schema_name text, table_name text, at bigint) RETURNS TABLE(key text[], data jsonb)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select s.key, s.data from kos.log_state(tenant, kos.logged_id_of(schema_name, table_name), at) s
$$;


ALTER FUNCTION kos.log_state(tenant uuid, schema_name text, table_name text, at bigint) OWNER TO kos_owner;

--
-- Name: log_status(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_status() RETURNS TABLE(pending_bytes bigint, pending_rows bigint, waiting_tenants bigint, oldest_seconds double precision, sealed_events bigint, logged_tables bigint, broken_tables bigint, losing_tables bigint, incarnation integer, commit_times boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select pg_table_size('kos.pending_1') + pg_table_size('kos.pending_2'), u.waiting, u.tenants,
         case when u.tenants = 0 then 0 when u.oldest is not null then greatest(0, extract(epoch from clock_timestamp() - u.oldest)) end,
         kos.sealed_events(),
         (select count(*) from kos.logged_tables), b.broken, b.losing,
         (select max(i.incarnation) from kos.incarnations i), current_setting('track_commit_timestamp')::boolean
    from (select count(*) as tenants, coalesce(sum(w.waiting), 0)::bigint as waiting, case when count(w.oldest) = count(*) then min(w.oldest) end as oldest
            from kos.unsealed() w) u
    cross join (select count(distinct c.table_name) as broken, count(distinct c.table_name) filter (where c.loses) as losing
                  from kos.broken_captures() c) b
$$;


ALTER FUNCTION kos.log_status() OWNER TO kos_owner;

--
-- Name: log_table(regclass, text, text, jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_table(target regclass, tenant_column text DEFAULT NULL::text, baseline text DEFAULT 'none'::text, sensitive jsonb DEFAULT '{}'::jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  statement text;
begin
  perform kos.note_logged(target, tenant_column, baseline, sensitive);
  for statement in select s from kos.parts_of(target) p cross join kos.capture_triggers(p) s loop
    execute statement;
  end loop;
end $$;


ALTER FUNCTION kos.log_table(target regclass, tenant_column text, baseline text, sensitive jsonb) OWNER TO kos_owner;

--
-- Name: log_tenants(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.log_tenants() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive logs as (
    (select s.tenant_id from kos.seals s order by s.tenant_id limit 1)
    union all
    select (select s.tenant_id from kos.seals s where s.tenant_id > l.tenant_id order by s.tenant_id limit 1)
      from logs l where l.tenant_id is not null
  )
  select l.tenant_id from logs l where l.tenant_id is not null
$$;


ALTER FUNCTION kos.log_tenants() OWNER TO kos_owner;

--
-- Name: logged(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.logged(target regclass) RETURNS kos.logged_tables
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  found kos.logged_tables;
  present text[];
begin
  select * into found from kos.logged_tables l where l.relation = coalesce(pg_partition_root(target), target);
  if found.origin = kos.origin() and not exists (
       select from unnest(found.key_columns || found.tenant_column || array(select jsonb_object_keys(found.sensitive))) w (name)
        where w.name is not null and not exists (
          select from pg_attribute a where a.attrelid = found.relation and a.attname = w.name and not a.attisdropped
                                       and a.attnum = (found.numbers ->> w.name)::smallint)) then
    return found;
  end if;
  present := array(select kos.present_name(found, k.name) from unnest(found.key_columns) with ordinality k (name, number) order by k.number);
  present := case when array_position(present, null) is null then present else kos.key_of(found.relation) end;
  if present is null or (found.tenant_column is not null and kos.present_name(found, found.tenant_column) is null) then
    return null;
  end if;
  found.tenant_column := kos.present_name(found, found.tenant_column);
  found.key_columns := present;
  found.sensitive := kos.hidden_columns(found);
  return found;
end $$;


ALTER FUNCTION kos.logged(target regclass) OWNER TO kos_owner;

--
-- Name: logged_id_of(text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.logged_id_of(schema_name text, table_name text) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(
    (select l.logged_id
       from kos.logged_tables l
       join pg_class c on c.oid = l.relation
       join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = logged_id_of.schema_name and c.relname = logged_id_of.table_name),
    (select z.logged_id from kos.shapes z
      where z.schema_name = logged_id_of.schema_name and z.table_name = logged_id_of.table_name
      order by z.shape_id desc limit 1))
$$;


ALTER FUNCTION kos.logged_id_of(schema_name text, table_name text) OWNER TO kos_owner;

--
-- Name: make_capture(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.make_capture(target regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  branches text := '';
  numbers text := '';
  number integer := 0;
  operation text;
  statement text;
  body text;
begin
  -- One number says which statement it is: each expression that plpgsql has to make ready in a transaction costs as
  -- much as a column of the image.
  foreach operation in array array['UPDATE', 'INSERT', 'DELETE', 'TRUNCATE'] loop
    numbers := numbers || format(' when %L then %s', operation, number);
    statement := kos.capture_statement(target, operation, 'pending_1');
    for turn in 1..2 loop
      branches := branches || format(E'if kos_way = %s then\n    %s;\n  els', number + turn,
                                     regexp_replace(statement, '^insert into kos\.pending_1 ', format('insert into kos.pending_%s ', turn)));
    end loop;
    number := number + 2;
  end loop;
  body := format($body$
declare
  kos_way integer := case when current_setting('role') = 'kos_mover' then -1 when %1$s then 0
    else case tg_op%2$s end + kos.turn('kos.pending_turn'::regclass) end;
  kos_whoever text[] := case when current_setting('kos.tenant_id', true) <> '' then array[
    current_setting('kos.user_id', true), current_setting('kos.persona', true), current_setting('kos.request_id', true),
    current_setting('kos.address', true), current_setting('kos.agent', true)]
    when current_setting('kos.crossing', true) <> '' then kos.crossing_context() end;
  kos_settings text[];
begin
  %3$sif kos_way = 0 then
    kos_settings := kos.pin_text_settings();
    execute replace(kos.capture_statement(tg_relid, tg_op, 'pending_' || kos.turn('kos.pending_turn'::regclass)), 'kos_whoever', '$1')
      using kos_whoever;
    perform kos.pin_text_settings(kos_settings);
  else
    return null;
  end if;
%4$s  return null;
end $body$, kos.is_changed(target), numbers, branches, kos.fence_again(target));
  -- Quoted, for names of columns can hold whatever stands around the text of a function.
  execute format('create or replace function kos.%I() returns trigger language plpgsql volatile security definer '
                 'set search_path = pg_catalog, pg_temp%s as %L', kos.capture_name(target),
                 (select string_agg(format(' set %I = %L', s.name, s.value), '') from kos.text_settings(target) s), body);
end $_$;


ALTER FUNCTION kos.make_capture(target regclass) OWNER TO kos_owner;

--
-- Name: make_log_partitions(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.make_log_partitions() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '200ms'
    AS $_$
declare
  starts timestamptz;
  ends timestamptz;
  name text;
  made integer := 0;
begin
  for starts in select date_trunc('month', now(), 'UTC') + n * interval '1 month' from generate_series(0, 1) n loop
    ends := starts + interval '1 month';
    name := 'knowledge_events_' || to_char(starts at time zone 'UTC', 'YYYY_MM');
    continue when to_regclass('kos.' || name) is not null or not kos.are_few_by_default(starts, ends);
    -- Who seals there has ended then, and what he sealed is seen.
    lock table kos.knowledge_events_default in access exclusive mode;
    continue when not kos.are_few_by_default(starts, ends);
    execute format('create table kos.%I (like kos.knowledge_events including all)', name);
    execute format('with moved as (delete from kos.knowledge_events_default where occurred_at >= $1 and occurred_at < $2 returning *)
                    insert into kos.%I select * from moved', name) using starts, ends;
    execute format('alter table kos.knowledge_events attach partition kos.%I for values from (%L) to (%L)', name, starts, ends);
    perform kos.protect_log_partition(('kos.' || name)::regclass);
    made := made + 1;
  end loop;
  return made;
end $_$;


ALTER FUNCTION kos.make_log_partitions() OWNER TO kos_owner;

--
-- Name: tenant_keys; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.tenant_keys (
    tenant_id uuid NOT NULL,
    key_id uuid DEFAULT gen_random_uuid() NOT NULL,
    key bytea,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    erased_at timestamp with time zone,
    stream_inner bytea GENERATED ALWAYS AS (kos.hmac_pad(kos.hmac(key, '\x6b6f73206c6f672073747265616d'::bytea), '36'::text)) STORED,
    stream_outer bytea GENERATED ALWAYS AS (kos.hmac_pad(kos.hmac(key, '\x6b6f73206c6f672073747265616d'::bytea), '5c'::text)) STORED,
    tag_inner bytea GENERATED ALWAYS AS (kos.hmac_pad(kos.hmac(key, '\x6b6f73206c6f6720746167'::bytea), '36'::text)) STORED,
    tag_outer bytea GENERATED ALWAYS AS (kos.hmac_pad(kos.hmac(key, '\x6b6f73206c6f6720746167'::bytea), '5c'::text)) STORED,
    CONSTRAINT tenant_keys_check CHECK (((key IS NULL) = (erased_at IS NOT NULL)))
);


ALTER TABLE kos.tenant_keys OWNER TO kos_owner;

--
-- Name: make_tenant_key(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.make_tenant_key(tenant uuid) RETURNS kos.tenant_keys
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  made kos.tenant_keys;
begin
  insert into kos.tenant_keys (tenant_id, key, created_at)
  values (tenant, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
          greatest(clock_timestamp(), (select max(k.created_at) + interval '1 microsecond' from kos.tenant_keys k where k.tenant_id = tenant)))
  returning * into made;
  return made;
end $$;


ALTER FUNCTION kos.make_tenant_key(tenant uuid) OWNER TO kos_owner;

--
-- Name: mask_bytes(kos.tenant_keys, bytea, bytea); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.mask_bytes(k kos.tenant_keys, nonce bytea, data bytea) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE
    AS $$
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


ALTER FUNCTION kos.mask_bytes(k kos.tenant_keys, nonce bytea, data bytea) OWNER TO kos_owner;

--
-- Name: masked(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.masked(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (value <> '\N'::text) THEN CASE WHEN starts_with(value, '\\'::text) THEN substr(value, 2) WHEN starts_with(value, '\E'::text) THEN '[encrypted]'::text WHEN (value = '\A'::text) THEN '[absent]'::text WHEN starts_with(value, '\H'::text) THEN ('sha256:'::text || substr(value, 3)) ELSE value END ELSE NULL::text END;


ALTER FUNCTION kos.masked(value text) OWNER TO kos_owner;

--
-- Name: masked_data(jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.masked_data(stored jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(jsonb_object_agg(s.key, kos.masked(COALESCE((s.value ->> 'value'::text), (s.value #>> '{}'::text[])))), '{}'::jsonb) AS "coalesce" FROM jsonb_each(masked_data.stored) s(key, value));


ALTER FUNCTION kos.masked_data(stored jsonb) OWNER TO kos_owner;

--
-- Name: may_cross_tenants(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.may_cross_tenants() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select bool_or(pg_has_role(current_user, r, 'USAGE'))
    from unnest(array['kos_operator', 'kos_auditor', 'kos_owner', 'kos_mover']) r
$$;


ALTER FUNCTION kos.may_cross_tenants() OWNER TO kos_owner;

--
-- Name: must_see_each_commit(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.must_see_each_commit() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'the log is sealed under READ COMMITTED' using errcode = '25001',
      hint = 'begin isolation level read committed';
  end if;
end $$;


ALTER FUNCTION kos.must_see_each_commit() OWNER TO kos_owner;

--
-- Name: new_logged_id(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.new_logged_id(target regclass) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce((
    select s.logged_id
      from kos.shapes s
      join pg_class c on c.relname = s.table_name
      join pg_namespace n on n.oid = c.relnamespace and n.nspname = s.schema_name
     where c.oid = target and not exists (select from kos.logged_tables l where l.logged_id = s.logged_id)
     order by s.shape_id desc limit 1), nextval('kos.logged_ids')::integer)
$$;


ALTER FUNCTION kos.new_logged_id(target regclass) OWNER TO kos_owner;

--
-- Name: newest_foreign_id(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.newest_foreign_id(tenant uuid) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
  select coalesce(max(f.id), 0) from (
    select id from kos.pending where tenant_id = tenant and origin < kos.origin()
    union all
    select id from kos.pending where tenant_id = tenant and origin > kos.origin()) f
$$;


ALTER FUNCTION kos.newest_foreign_id(tenant uuid) OWNER TO kos_owner;

--
-- Name: seals; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.seals (
    tenant_id uuid NOT NULL,
    "position" bigint NOT NULL,
    events bigint NOT NULL,
    incarnation integer NOT NULL,
    origin integer NOT NULL,
    snapshot pg_snapshot NOT NULL,
    foreign_id bigint NOT NULL,
    committed_at timestamp with time zone NOT NULL,
    sealed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE kos.seals OWNER TO kos_owner;

--
-- Name: newest_seal(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.newest_seal(tenant uuid) RETURNS kos.seals
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  newest kos.seals;
begin
  select * into newest from kos.seals s where s.tenant_id = tenant order by s.position desc limit 1;
  if newest.tenant_id is null then
    newest := row(tenant, 0, 0, 0, kos.origin(), '1:1:'::pg_snapshot, 0, '-infinity', '-infinity')::kos.seals;
  end if;
  return newest;
end $$;


ALTER FUNCTION kos.newest_seal(tenant uuid) OWNER TO kos_owner;

--
-- Name: note_columns(kos.logged_tables); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.note_columns(logged kos.logged_tables) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update kos.logged_tables l
     set key_columns = logged.key_columns, tenant_column = logged.tenant_column, sensitive = logged.sensitive, origin = kos.origin(),
         numbers = (select jsonb_object_agg(a.attname, a.attnum) from pg_attribute a
                     where a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped),
         column_ids = (select jsonb_object_agg(k.name, k.id) from kos.known_columns(logged.relation, logged) k)
   where l.relation = logged.relation;
  insert into kos.filled_columns (logged_id, column_id)
  select logged.logged_id, k.id
    from kos.later_columns(logged.relation, logged) f
    join kos.known_columns(logged.relation, logged) k using (name)
   where f.given <> 'nothing'
  on conflict do nothing
$$;


ALTER FUNCTION kos.note_columns(logged kos.logged_tables) OWNER TO kos_owner;

--
-- Name: note_logged(regclass, text, text, jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.note_logged(target regclass, tenant_column text, baseline text, sensitive jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  asked jsonb := (select coalesce(jsonb_object_agg(s.key, s.value), '{}') from jsonb_each(sensitive) s
                   where exists (select from kos.image_columns(target) c where c.name = s.key)
                      or (kos.logged(target)).sensitive -> s.key is distinct from s.value);
  refusal text := kos.refusal_to_log(target, tenant_column, asked);
  noted kos.logged_tables;
  part regclass;
begin
  if refusal is not null then
    raise exception '% can''t be logged: %', target, refusal using errcode = 'KS020', hint = 'docs/log.md, Limits, says what a table needs';
  end if;
  insert into kos.logged_tables (relation, logged_id, tenant_column, key_columns, baseline, sensitive, fenced)
  values (target, kos.new_logged_id(target), tenant_column, kos.key_of(target), baseline, sensitive,
          exists (select from pg_trigger t where t.tgrelid = target and t.tgname = 'kos_guard'))
  on conflict (relation) do update
    set fenced = excluded.fenced, tenant_column = excluded.tenant_column, key_columns = excluded.key_columns, baseline = excluded.baseline,
        sensitive = excluded.sensitive
  returning * into noted;
  perform kos.note_columns(noted);
  for part in select kos.parts_of(target) loop
    perform kos.make_capture(part);
  end loop;
end $$;


ALTER FUNCTION kos.note_logged(target regclass, tenant_column text, baseline text, sensitive jsonb) OWNER TO kos_owner;

--
-- Name: object_key(uuid, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.object_key(tenant_id uuid, sha256 text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended((((tenant_id)::text || '/'::text) || sha256), (1263489025)::bigint);


ALTER FUNCTION kos.object_key(tenant_id uuid, sha256 text) OWNER TO kos_owner;

--
-- Name: origin(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.origin() RETURNS integer
    LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return hashtext(concat((select system_identifier from pg_control_system()), ' ',
                         (select oid from pg_database where datname = current_database())));
end $$;


ALTER FUNCTION kos.origin() OWNER TO kos_owner;

--
-- Name: overlay_step(jsonb, "char", jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.overlay_step(state jsonb, operation "char", data jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE operation WHEN 'D'::"char" THEN NULL::jsonb WHEN 'U'::"char" THEN (COALESCE(state, '{}'::jsonb) || data) ELSE data END;


ALTER FUNCTION kos.overlay_step(state jsonb, operation "char", data jsonb) OWNER TO kos_owner;

--
-- Name: parts_of(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.parts_of(target regclass) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(t.relid, target) from (select) one left join pg_partition_tree(target) t on true
$$;


ALTER FUNCTION kos.parts_of(target regclass) OWNER TO kos_owner;

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
    adopted boolean DEFAULT false NOT NULL,
    search_path text GENERATED ALWAYS AS (
CASE
    WHEN (NOT adopted) THEN (quote_ident(schema_name) || ', public, pg_temp'::text)
    ELSE NULL::text
END) STORED,
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
-- Name: pass_fences(uuid[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.pass_fences(tenants uuid[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  tenant uuid;
  noted kos.fence;
begin
  foreach tenant in array tenants loop
    noted := kos.pass_fence(tenant, case when tenant::text = current_setting('kos.tenant_id', true)
                                      then nullif(current_setting('kos.epoch', true), '')::bigint end);
  end loop;
end $$;


ALTER FUNCTION kos.pass_fences(tenants uuid[]) OWNER TO kos_owner;

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
-- Name: pin_text_settings(text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.pin_text_settings(given text[] DEFAULT ARRAY['ISO, YMD'::text, 'UTC'::text, 'postgres'::text, '1'::text, 'hex'::text, 'C'::text]) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  names constant text[] := array['DateStyle', 'TimeZone', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'lc_monetary'];
  found text[] := array(select current_setting(n.name) from unnest(names) with ordinality n (name, number) order by n.number);
begin
  perform set_config(n.name, n.value, true) from unnest(names, given) n (name, value);
  return found;
end $$;


ALTER FUNCTION kos.pin_text_settings(given text[]) OWNER TO kos_owner;

--
-- Name: present_name(kos.logged_tables, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.present_name(logged kos.logged_tables, column_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select a.attname::text
    from pg_attribute a
   where a.attrelid = logged.relation and a.attnum > 0 and not a.attisdropped
     and case when logged.origin = kos.origin() then a.attnum = (logged.numbers ->> column_name)::smallint
              else a.attname = column_name end
$$;


ALTER FUNCTION kos.present_name(logged kos.logged_tables, column_name text) OWNER TO kos_owner;

--
-- Name: projection_key(text, uuid, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.projection_key(projection text, tenant uuid, purpose text DEFAULT 'apply'::text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(concat_ws(' '::text, 'kos projection', projection, (tenant)::text, purpose), (0)::bigint);


ALTER FUNCTION kos.projection_key(projection text, tenant uuid, purpose text) OWNER TO kos_owner;

--
-- Name: projection_status(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.projection_status() RETURNS TABLE(projection text, tenants bigint, parked bigint, rebuilds bigint, making bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with followed as (
    select substr(c.feed, 12) as name, count(*) as tenants from kos.feed_cursors c where starts_with(c.feed, 'projection.') group by 1
  ), refused as (
    select p.projection as name, count(*) as parked from kos.projection_parked p group by 1
  ), made as (
    select m.projection as name, sum(m.times)::bigint as rebuilds from kos.projection_made m group by 1
  ), locked as materialized (
    select (l.classid::bigint << 32) | l.objid::bigint as key
      from pg_locks l
     where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
  ), tenant as materialized (
    select t.tenant_id from kos.log_tenants() t (tenant_id) where exists (select from locked)
  ), known as (
    select s.projection as name from kos.projection_stores s union select f.name from followed f union select m.name from made m
  )
  select k.name, coalesce(f.tenants, 0), coalesce(r.parked, 0), coalesce(m.rebuilds, 0),
         (select count(*) from tenant t where kos.projection_key(k.name, t.tenant_id, 'rebuild') in (select l.key from locked l))
    from (select name from known union select name from refused) k
    left join followed f using (name)
    left join refused r using (name)
    left join made m using (name)
   order by 1
$$;


ALTER FUNCTION kos.projection_status() OWNER TO kos_owner;

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
  execute format('create policy operator_access on %s as permissive for all to kos_operator, kos_mover
                    using (true) with check (true)', target);
  -- Capture runs as the owner, and reads a row again where what happened to it can't be told otherwise.
  execute format('drop policy if exists capture_access on %s', target);
  execute format('create policy capture_access on %s as permissive for select to kos_owner using (true)', target);
  execute format('drop trigger if exists kos_guard on %s', target);
  execute format('create trigger kos_guard before insert or update or delete on %s
                    for each statement execute function kos.guard()', target);
  execute format('drop trigger if exists kos_guard_truncate on %s', target);
  execute format('create trigger kos_guard_truncate before truncate on %s
                    for each statement execute function kos.guard()', target);
end $$;


ALTER FUNCTION kos.protect(target regclass) OWNER TO kos_owner;

--
-- Name: protect_log_partition(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.protect_log_partition(part regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  execute format('alter table %s enable row level security, force row level security', part);
  execute format('create policy operator_access on %s for all to kos_operator, kos_owner using (true)', part);
end $$;


ALTER FUNCTION kos.protect_log_partition(part regclass) OWNER TO kos_owner;

--
-- Name: read_feed(uuid, bigint, bytea, integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer) RETURNS TABLE("position" bigint, event_type text, schema_name text, table_name text, operation "char", key text[], event_data jsonb, incarnation integer, transaction xid8, ends_transaction boolean, leaf bytea, occurred_at timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  here bytea;
begin
  if seen_leaf is not null then
    select e.leaf into here from kos.knowledge_events e where e.tenant_id = tenant and e.position = after;
    if here is distinct from seen_leaf then
      raise exception 'the log of % has diverged at or before position %', tenant, after
        using errcode = 'KS021', hint = 'begin again from a position before the restore or promotion';
    end if;
  end if;
  return query
    select e.position, kos.event_type(s.table_name, e.operation), s.schema_name, s.table_name, e.operation, e.key,
           kos.event_data(s.columns, e.image), e.incarnation, e.transaction,
           lead(e.transaction) over (order by e.position) is distinct from e.transaction, e.leaf, e.occurred_at
      from (select * from kos.knowledge_events k where k.tenant_id = tenant and k.position > after
             order by k.position limit at_most + 1) e
      join kos.shapes s using (shape_id)
     order by e.position
     limit at_most;
end $$;


ALTER FUNCTION kos.read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer) OWNER TO kos_owner;

--
-- Name: reads_rows_again(regclass, regclass, kos.logged_tables); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.reads_rows_again(target regclass, root regclass, logged kos.logged_tables) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return kos.has_nested_changes(target) or (root <> target and kos.has_nested_changes(root))
         or not kos.tells_apart(logged.relation, logged.key_columns);
end $$;


ALTER FUNCTION kos.reads_rows_again(target regclass, root regclass, logged kos.logged_tables) OWNER TO kos_owner;

--
-- Name: rebuilt_state(uuid, text, text, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.rebuilt_state(tenant uuid, schema_name text, table_name text, at bigint) RETURNS TABLE(key text[], data jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select s.key, kos.reveal(tenant, s.data) from kos.stored_state(tenant, kos.logged_id_of(schema_name, table_name), at) s;
end $$;


ALTER FUNCTION kos.rebuilt_state(tenant uuid, schema_name text, table_name text, at bigint) OWNER TO kos_owner;

--
-- Name: referring_keys(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.referring_keys(target regclass) RETURNS SETOF pg_constraint
    LANGUAGE sql STABLE
    AS $$
  select f.*
    from (select distinct d.objid from pg_catalog.pg_depend d
           where d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = target
             and d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass offset 0) d
   cross join lateral (select c.* from pg_catalog.pg_constraint c where c.oid = d.objid offset 0) f
   where f.contype = 'f' and f.confrelid = target
$$;


ALTER FUNCTION kos.referring_keys(target regclass) OWNER TO kos_owner;

--
-- Name: refresh_captures(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.refresh_captures() RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select kos.refresh_captures(1, 0)
$$;


ALTER FUNCTION kos.refresh_captures() OWNER TO kos_owner;

--
-- Name: refresh_captures(integer, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.refresh_captures(shares integer, share bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  part record;
  made integer := 0;
begin
  perform pg_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 2);
  for part in
    select p.relation, p.is_changed
      from kos.logged_tables l
      left join pg_partition_tree(l.relation) t on true
      join pg_proc f on f.proname = kos.capture_name(coalesce(t.relid, l.relation)) and f.pronamespace = 'kos'::regnamespace
     cross join lateral (select coalesce(t.relid, l.relation) as relation,
                                strpos(f.prosrc, kos.is_changed(coalesce(t.relid, l.relation))) = 0 as is_changed) p
     where l.logged_id % shares = share % shares
       and (p.is_changed or l.origin <> kos.origin()) and (kos.logged(l.relation)).relation is not null
  loop
    perform kos.note_columns(kos.logged(part.relation));
    if part.is_changed then
      perform kos.make_capture(part.relation);
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;


ALTER FUNCTION kos.refresh_captures(shares integer, share bigint) OWNER TO kos_owner;

--
-- Name: refusal_to_log(regclass, text, jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.refusal_to_log(target regclass, tenant_column text, sensitive jsonb DEFAULT '{}'::jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case
    when c.relkind not in ('r', 'p') then 'it is no ordinary table'
    when c.relpersistence <> 'p' then 'it is temporary or unlogged: a crash empties it, and no log could say so'
    when c.relispartition then 'it is a partition: name its root, ' || pg_partition_root(target)::text
    when exists (select from pg_partition_tree(target) t join pg_class p on p.oid = t.relid where p.relkind = 'f' or p.relpersistence <> 'p')
      then 'a partition of it is foreign or unlogged'
    when exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                  where (i.inhparent = target or i.inhrelid = target) and p.relkind = 'r') then 'it inherits, or is inherited from'
    when kos.key_of(target) is null then 'it has no primary key, and no unique index without nulls'
    when tenant_column is not null and not exists (
      select from pg_attribute a where a.attrelid = target and a.attnum > 0 and a.attname = tenant_column and not a.attisdropped)
      then format('it has no column %s', tenant_column)
    when kos.local_column(target) is not null
      then format('the log cannot carry %s: it means something in this database only', kos.local_column(target))
    -- What is asked to be hidden must be: a name that is mistyped would be in the log for good.
    else (select case when s.value not in ('"encrypted"', '"digest"', '"absent"') then format('%s is sensitive as encrypted, digest or absent, not as %s', s.key, s.value)
                      when s.key = any (kos.key_of(target)) then format('the log knows rows by %s, so it can''t hide it', s.key)
                      else format('it has no column %s', s.key) end
            from jsonb_each(sensitive) s
           where s.value not in ('"encrypted"', '"digest"', '"absent"') or s.key = any (kos.key_of(target))
              or not exists (select from kos.image_columns(target) i where i.name = s.key)
           order by s.key limit 1)
    end
    from pg_class c where c.oid = target
$$;


ALTER FUNCTION kos.refusal_to_log(target regclass, tenant_column text, sensitive jsonb) OWNER TO kos_owner;

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
-- Name: register_tenant(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.register_tenant(value text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


ALTER FUNCTION kos.register_tenant(value text) OWNER TO kos_owner;

--
-- Name: release_script(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.release_script(target regclass) RETURNS TABLE(role text, statement text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with logged as (
    select * from kos.logged_tables l where l.relation = target
  ), parts as (
    select p.relation as part, p.number, pg_get_userbyid(c.relowner)::text as owner, kos.capture_name(p.relation) as capture
      from (select r, row_number() over (order by r <> target, r) from logged l
              cross join lateral (select kos.parts_of(l.relation) union select unnest(l.lent)) a (r)) p (relation, number)
      join pg_class c on c.oid = p.relation
  )
  select s.role, s.statement from (
    select 1, number, owner, format('lock table %s in access exclusive mode', part) from parts where part = target
    union all
    select 2, number, owner, format('drop trigger %I on %s', t.tgname, part)
      from parts join pg_trigger t on t.tgrelid = part and t.tgname ~ '^kos_capture_'
    union all
    select 3, number, owner, format('drop policy kos_capture on %s', part)
      from parts join pg_policy y on y.polrelid = part and y.polname = 'kos_capture'
    union all
    select 4, number, owner, format('revoke select on %s from kos_owner', part) from parts, logged l where part = any (l.lent)
    union all
    select 5, 0, pg_get_userbyid(n.nspowner)::text, format('revoke usage on schema %I from kos_owner', n.nspname)
      from logged l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
     where l.opened and not exists (select from kos.logged_tables o join pg_class x on x.oid = o.relation
                                     where o.relation <> target and x.relnamespace = n.oid)
    union all
    select 6, number, 'kos_owner', format('drop function if exists kos.%I()', capture) from parts
    union all
    select 7, 0, 'kos_owner', format('delete from kos.logged_tables where relation = %L::regclass', target::oid) from logged
  ) s (phase, number, role, statement)
  order by s.phase, s.number
$$;


ALTER FUNCTION kos.release_script(target regclass) OWNER TO kos_owner;

--
-- Name: renamed_data(text[], text[], text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.renamed_data(names text[], written text[], image text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(jsonb_object_agg(n.name, CASE WHEN ((n.name <> n.written) AND starts_with(n.value, '\E'::text)) THEN jsonb_build_object('column', n.written, 'value', n.value) ELSE to_jsonb(n.value) END), '{}'::jsonb) AS "coalesce" FROM UNNEST(renamed_data.names, renamed_data.written, renamed_data.image) n(name, written, value) WHERE ((n.name IS NOT NULL) AND (n.value IS NOT NULL)));


ALTER FUNCTION kos.renamed_data(names text[], written text[], image text[]) OWNER TO kos_owner;

--
-- Name: require_change(text, name); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.require_change(name text, schema_name name DEFAULT "current_schema"()) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if not exists (select from kos.changed_schemas c
                  where c.schema_name = require_change.schema_name and c.name = require_change.name and not c.left_out) then
    raise exception 'the change % is not there in schema %', require_change.name, require_change.schema_name
      using errcode = 'KS012', hint = 'kos change status';
  end if;
end $$;


ALTER FUNCTION kos.require_change(name text, schema_name name) OWNER TO kos_owner;

--
-- Name: reveal(uuid, jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.reveal(tenant uuid, stored jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return (select coalesce(jsonb_object_agg(s.key,
                   case when jsonb_typeof(s.value) = 'object' then kos.decrypt(tenant, s.value ->> 'column', s.value ->> 'value')
                        when starts_with(s.value #>> '{}', '\E') then kos.decrypt(tenant, s.key, s.value #>> '{}')
                        else kos.masked(s.value #>> '{}') end), '{}')
            from jsonb_each(stored) s);
end $$;


ALTER FUNCTION kos.reveal(tenant uuid, stored jsonb) OWNER TO kos_owner;

--
-- Name: root_of(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.root_of(target regclass) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(pg_partition_root(target), target)
$$;


ALTER FUNCTION kos.root_of(target regclass) OWNER TO kos_owner;

--
-- Name: rotate_pending(bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.rotate_pending(at_least_bytes bigint DEFAULT 8388608) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
declare
  taking integer;
  taking_now regclass;
  resting regclass;
  resting_empty boolean;
  truncated boolean := false;
begin
  if not pg_try_advisory_xact_lock(kos.log_key(kos.no_tenants_log()) + 3) then
    return false;
  end if;
  select number into taking from kos.pending_turn;
  taking_now := ('kos.pending_' || taking)::regclass;
  resting := ('kos.pending_' || 3 - taking)::regclass;
  resting_empty := pg_relation_size(resting) = 0;
  if not resting_empty then
    begin
      execute format('lock table %s in access exclusive mode', resting);
      -- In a statement after the lock: all who wrote have ended, and this sees what they committed.
      truncated := kos.is_drained(resting);
      if truncated then
        execute format('truncate %s', resting);
      end if;
    exception when lock_not_available then
      return false;
    end;
  end if;
  if (resting_empty or truncated) and pg_relation_size(taking_now) >= at_least_bytes then
    update kos.pending_turn set number = 3 - taking, since = now();
  elsif not truncated then
    return false;
  end if;
  -- Tells every session to plan its captures anew. After a truncation too: one that planned under a snapshot from before
  -- the turn would go on writing to the resting table, and keep it from ever being empty.
  alter table kos.pending_turn set (autovacuum_enabled = true);
  return truncated;
end $$;


ALTER FUNCTION kos.rotate_pending(at_least_bytes bigint) OWNER TO kos_owner;

--
-- Name: rotate_tenant_key(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.rotate_tenant_key(tenant uuid) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return (kos.make_tenant_key(tenant)).key_id;
end $$;


ALTER FUNCTION kos.rotate_tenant_key(tenant uuid) OWNER TO kos_owner;

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
-- Name: rows_at(uuid, bigint, text, text, jsonb); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.rows_at(tenant uuid, at bigint, schema_name text, table_name text, keys jsonb) RETURNS TABLE(key text[], data jsonb)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with logged as materialized (
    select kos.logged_id_of(rows_at.schema_name, rows_at.table_name) as id
  ), layout as materialized (
    select kos.columns_at(rows_at.tenant, l.id, 9223372036854775807) as names from logged l
  ), shape as materialized (
    select s.shape_id, s.table_name, array(select l.names ->> c.id from unnest(s.column_ids) with ordinality c (id, number) order by c.number) as names,
           array(select c.description ->> 'name' from jsonb_array_elements(s.columns) with ordinality c (description, number)
                  order by c.number) as written
      from kos.shapes s, layout l where s.logged_id = (select id from logged)
  ), called as materialized (
    select distinct s.table_name from shape s
  ), emptied as materialized (
    select coalesce(max(t.position), 0) as position
      from called c
      join kos.knowledge_events t on t.tenant_id = rows_at.tenant and t.aggregate_id = kos.aggregate_of(c.table_name, '{}', '{}')
     where t.operation = 'T' and t.position <= rows_at.at and t.shape_id in (select s.shape_id from shape s)
  ), asked as materialized (
    select k.key, c.table_name, kos.aggregate_of(c.table_name, k.key, array_remove(k.key, rows_at.tenant::text)) as aggregate_id
      from (select array(select jsonb_array_elements_text(e.key)) as key from jsonb_array_elements(rows_at.keys) e (key)) k
     cross join called c
  ), found as materialized (
    -- Row by row, by their index, whatever is known of how many events there are: else all of the log may be read. Tables
    -- of one name in several schemas share a row's events.
    select a.key, e.*
      from asked a
     cross join lateral (
       select e.position, e.operation, e.shape_id, e.before, e.image
         from kos.knowledge_events e
        where e.tenant_id = rows_at.tenant and e.aggregate_id = a.aggregate_id and e.key = a.key
          and e.position > (select position from emptied) and e.position <= rows_at.at
          and e.shape_id in (select s.shape_id from shape s where s.table_name = a.table_name)
       offset 0) e
  ), next as materialized (
    select distinct on (a.key) a.key, e.*
      from asked a
     cross join lateral (
       select e.position, e.shape_id, e.before
         from kos.knowledge_events e
        where e.tenant_id = rows_at.tenant and e.aggregate_id = a.aggregate_id and e.key = a.key
          and e.position > (select position from emptied) and e.position > rows_at.at
          and e.shape_id in (select s.shape_id from shape s where s.table_name = a.table_name)
        order by e.position
        limit 1) e
     where not exists (select from found f where f.key = a.key)
     order by a.key, e.position
  ), events as materialized (
    select e.key, e.position, e.operation,
           case when e.before is null then '{}' else kos.renamed_data(s.names, s.written, e.before) end
             || kos.renamed_data(s.names, s.written, e.image) as data
      from found e
      join shape s on s.shape_id = e.shape_id
  )
  select f.key, kos.masked_data(f.data)
    from (select e.key, kos.overlay(e.operation, e.data order by e.position) as data from events e group by e.key
          union all
          -- Of a row that has no event yet: what the first one says it was.
          select n.key, kos.renamed_data(s.names, s.written, n.before)
            from next n
            join shape s on s.shape_id = n.shape_id
           where n.before is not null) f
   where f.data is not null
$$;


ALTER FUNCTION kos.rows_at(tenant uuid, at bigint, schema_name text, table_name text, keys jsonb) OWNER TO kos_owner;

--
-- Name: rows_of(regclass, uuid, text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.rows_of(target regclass, tenant uuid, columns text[] DEFAULT NULL::text[]) RETURNS TABLE(key text[], data jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET lc_monetary TO 'C'
    AS $_$
declare
  logged kos.logged_tables := kos.logged(target);
  owner_of_row text := kos.tenant_expression(target, 'n');
  names text[];
  read text;
begin
  select coalesce(array_agg(c.name order by c.number), '{}'),
         coalesce(string_agg(case when logged.sensitive ->> c.name = 'encrypted' then format('case when n.%I is distinct from null then ''[encrypted]'' end', c.name)
                                  else kos.compared_value(c.name, c.type_oid, c.escapes, logged.sensitive ->> c.name, owner_of_row) end, ', ' order by c.number), '')
    into names, read
    from kos.image_columns(target) c
   where c.name = any (columns) or columns is null;
  return query execute format('select (%s) collate "default", jsonb_object($1, array[%s]::text[]) from %s n where %s = $2',
                              kos.key_expression(target, '{n}'), read, target, owner_of_row)
    using names, tenant;
end $_$;


ALTER FUNCTION kos.rows_of(target regclass, tenant uuid, columns text[]) OWNER TO kos_owner;

--
-- Name: same_key(regclass, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.same_key(target regclass, one text, other text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select concat_ws(' and ',
           (select string_agg(kos.same_value(l.relation, one, other, k), ' and ') from unnest(l.key_columns) k),
           case when l.tenant_column is not null and l.tenant_column <> all (l.key_columns)
             then format('%s = %s', kos.tenant_expression(target, one), kos.tenant_expression(target, other)) end)
    from kos.logged(target) l
$$;


ALTER FUNCTION kos.same_key(target regclass, one text, other text) OWNER TO kos_owner;

--
-- Name: same_value(regclass, text, text, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.same_value(of_table regclass, one text, other text, column_name text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  given record;
  base oid;
  equal_in text := 'pg_catalog';
  same_text text;
begin
  select a.atttypid as type, coalesce(c.collisdeterministic, true) as is_deterministic into given
    from pg_attribute a left join pg_collation c on c.oid = a.attcollation
   where a.attrelid = of_table and a.attname = column_name and not a.attisdropped;
  base := kos.base_type(given.type);
  one := format('%s.%I', one, column_name);
  other := format('%s.%I', other, column_name);
  same_text := format('(%s) collate "C" = (%s) collate "C"', kos.text_of(one, given.type), kos.text_of(other, given.type));
  if base >= 16384 and base <> given.type then
    return same_text;
  elsif base >= 16384 then
    equal_in := coalesce((
      select n.nspname
        from pg_opclass k
        join pg_amop m on m.amopfamily = k.opcfamily and m.amopstrategy = 3 and m.amoplefttype = k.opcintype and m.amoprighttype = k.opcintype
        join pg_operator o on o.oid = m.amopopr
        join pg_namespace n on n.oid = o.oprnamespace
       where k.opcdefault and k.opcintype = base and k.opcmethod = (select oid from pg_am where amname = 'btree')
         and o.oprname = '='), equal_in);
  end if;
  return format('%s operator(%I.=) %s', one, equal_in, other)
         || case when exists (select from pg_type t where t.oid = base and t.typtype = 'e')
                   or (base = any ('{bool,int2,int4,int8,uuid,date,timestamp,timestamptz,bytea,text,varchar,name}'::regtype[])
                       and given.is_deterministic)
              then '' else ' and ' || same_text end;
end $$;


ALTER FUNCTION kos.same_value(of_table regclass, one text, other text, column_name text) OWNER TO kos_owner;

--
-- Name: seal(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.seal(tenant uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  perform kos.must_see_each_commit();
  perform pg_advisory_xact_lock_shared(kos.all_logs_key());
  perform pg_advisory_xact_lock(kos.log_key(tenant));
  return kos.seal_locked(tenant);
end $$;


ALTER FUNCTION kos.seal(tenant uuid) OWNER TO kos_owner;

--
-- Name: seal_locked(uuid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.seal_locked(tenant uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  newest kos.seals := kos.newest_seal(tenant);
  now_in integer;
  -- Salts come of one secret, which is kept nowhere: a server's own source of chance can cost more than all the rest.
  secret bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
  timed boolean := current_setting('track_commit_timestamp')::boolean;
  sealed bigint;
begin
  if not exists (select from kos.unsealed_rows(tenant, newest, 1)) then
    return 0;
  end if;
  now_in := kos.current_incarnation();
  with found as materialized (
    select p.*, max(p.id) over (partition by p.origin, p.transaction) as last_id
      from kos.unsealed_rows(tenant, newest) p
  ), placed as (
    select f.*, s.digest, s.table_name, encode(substr(sha256(secret || int8send(f.id) || int4send(f.origin)), 1, 16), 'hex')::uuid as salt, array_remove(f.key, tenant::text) as key_within,
           newest.position + row_number() over (order by f.last_id, f.id) as position,
           -- By commit time a moment maps to a position; a running maximum, so that positions and times agree.
           greatest(newest.committed_at, max(
             case when timed and f.origin = kos.origin() then coalesce(pg_xact_commit_timestamp(f.transaction::xid), clock_timestamp())
               else now() end) over (order by f.last_id, f.id)) as committed_at
      from found f
      join kos.shapes s using (shape_id)
  ), written as (
    insert into kos.knowledge_events
    select tenant, position, now_in, transaction, shape_id, operation,
           kos.aggregate_of(table_name, key, key_within),
           key, image, before, context, salt,
           kos.leaf(tenant, position, now_in, transaction, committed_at, digest, operation, key, image, before, context, salt),
           committed_at
      from placed
    returning position, occurred_at
  ), counted as (
    select count(*) as events, max(occurred_at) as committed_at from written
  )
  insert into kos.seals (tenant_id, position, events, incarnation, origin, snapshot, foreign_id, committed_at)
  select tenant, newest.position + c.events, c.events, now_in, kos.origin(), kos.seen_by_seal(),
         greatest(newest.foreign_id, kos.newest_foreign_id(tenant)), c.committed_at
    from counted c
   where c.events > 0
  returning events into sealed;
  return coalesce(sealed, 0);
end $$;


ALTER FUNCTION kos.seal_locked(tenant uuid) OWNER TO kos_owner;

--
-- Name: sealed_events(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.sealed_events() RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive newest as (
    (select s.tenant_id, s.position from kos.seals s order by s.tenant_id desc, s.position desc limit 1)
    union all
    select s.tenant_id, s.position
      from newest n
      cross join lateral (select e.tenant_id, e.position from kos.seals e where e.tenant_id < n.tenant_id
                           order by e.tenant_id desc, e.position desc limit 1) s
  )
  select coalesce(sum(position), 0)::bigint from newest
$$;


ALTER FUNCTION kos.sealed_events() OWNER TO kos_owner;

--
-- Name: seen_by_seal(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.seen_by_seal() RETURNS pg_snapshot
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when pg_current_xact_id_if_assigned() < pg_snapshot_xmax(s)
           then (select format('%s:%s:%s', min(x), pg_snapshot_xmax(s), string_agg(x::text, ',' order by x))::pg_snapshot
                   from (select pg_snapshot_xip(s) union select pg_current_xact_id_if_assigned()) running (x))
           else s end
    from pg_current_snapshot() s
$$;


ALTER FUNCTION kos.seen_by_seal() OWNER TO kos_owner;

--
-- Name: shape_identity(bytea, text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.shape_identity(digest bytea, column_ids text[]) RETURNS bytea
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select sha256(digest || convert_to(column_ids::text, 'UTF8'))
$$;


ALTER FUNCTION kos.shape_identity(digest bytea, column_ids text[]) OWNER TO kos_owner;

--
-- Name: shape_of(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.shape_of(target regclass) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


ALTER FUNCTION kos.shape_of(target regclass) OWNER TO kos_owner;

--
-- Name: stored_data(jsonb, text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.stored_data(columns jsonb, image text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(jsonb_object_agg((c.description ->> 'name'::text), v.value), '{}'::jsonb) AS "coalesce" FROM (jsonb_array_elements(stored_data.columns) WITH ORDINALITY c(description, number) JOIN unnest(stored_data.image) WITH ORDINALITY v(value, number) USING (number)) WHERE (v.value IS NOT NULL));


ALTER FUNCTION kos.stored_data(columns jsonb, image text[]) OWNER TO kos_owner;

--
-- Name: stored_state(uuid, integer, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.stored_state(tenant uuid, logged_id integer, at bigint) RETURNS TABLE(key text[], data jsonb)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


ALTER FUNCTION kos.stored_state(tenant uuid, logged_id integer, at bigint) OWNER TO kos_owner;

--
-- Name: tag_of(kos.tenant_keys, text, bytea); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tag_of(k kos.tenant_keys, column_name text, masked bytea) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE
    AS $$
declare
  name bytea := convert_to(column_name, 'UTF8');
begin
  return sha256(k.tag_outer || sha256(k.tag_inner || uuid_send(k.tenant_id) || uuid_send(k.key_id)
                                      || int4send(octet_length(name)) || name || masked));
end $$;


ALTER FUNCTION kos.tag_of(k kos.tenant_keys, column_name text, masked bytea) OWNER TO kos_owner;

--
-- Name: tells_apart(regclass, text[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tells_apart(target regclass, columns text[]) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return exists (
    select from pg_index i
     where i.indrelid = target and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
       and not exists (select from unnest(i.indkey) with ordinality k (attnum, number)
                         join pg_attribute a on a.attrelid = target and a.attnum = k.attnum
                        where k.number <= i.indnkeyatts and (not a.attnotnull or a.attname <> all (columns))));
end $$;


ALTER FUNCTION kos.tells_apart(target regclass, columns text[]) OWNER TO kos_owner;

--
-- Name: tenant_as_text(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tenant_as_text() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if pg_has_role(current_user, 'kos_app', 'USAGE') or pg_has_role(current_user, 'kos_persona', 'USAGE') then
    return kos.current_tenant_value();
  end if;
  return null;
end $$;


ALTER FUNCTION kos.tenant_as_text() OWNER TO kos_owner;

--
-- Name: tenant_as_number(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tenant_as_number() RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT kos.as_number(v.value) AS as_number
    FROM ( SELECT kos.tenant_as_text() AS value
          OFFSET 0) v;
END;


ALTER FUNCTION kos.tenant_as_number() OWNER TO kos_owner;

--
-- Name: tenant_as_uuid(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tenant_as_uuid() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT kos.as_uuid(v.value) AS as_uuid
    FROM ( SELECT kos.tenant_as_text() AS value
          OFFSET 0) v;
END;


ALTER FUNCTION kos.tenant_as_uuid() OWNER TO kos_owner;

--
-- Name: tenant_expression(regclass, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tenant_expression(target regclass, side text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return (
    select case
      when l.tenant_column is null then 'kos.no_tenants_log()'
      when a.atttypid = 'uuid'::regtype then format('coalesce(%s.%I, kos.no_tenants_log())', side, l.tenant_column)
      else format('kos.tenant_of(%s)', kos.text_of(format('%s.%I', side, l.tenant_column), a.atttypid)) end
      from kos.logged(target) l
      left join pg_attribute a on a.attrelid = l.relation and a.attname = l.tenant_column);
end $$;


ALTER FUNCTION kos.tenant_expression(target regclass, side text) OWNER TO kos_owner;

--
-- Name: tenant_kind(regclass, text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tenant_kind(target regclass, column_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


ALTER FUNCTION kos.tenant_kind(target regclass, column_name text) OWNER TO kos_owner;

--
-- Name: tenant_of(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.tenant_of(value text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (value ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'::text) THEN (value)::uuid ELSE COALESCE((md5(('kos tenant '::text || value)))::uuid, kos.no_tenants_log()) END;


ALTER FUNCTION kos.tenant_of(value text) OWNER TO kos_owner;

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
-- Name: text_of(text, oid); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.text_of(value text, type oid) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
  -- "is null" would be true of a composite value whose fields all are.
  return case when kos.base_type(type) < 16384 then value || '::text'
              else format('case when %1$s is not distinct from null then null else pg_catalog.format(''%%s'', %1$s) end', value) end;
end $_$;


ALTER FUNCTION kos.text_of(value text, type oid) OWNER TO kos_owner;

--
-- Name: text_settings(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.text_settings(target regclass) RETURNS TABLE(name text, value text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with settings (name, value, types) as (
    values ('DateStyle', 'ISO, YMD', '{date,timestamp,timestamptz}'::regtype[]), ('TimeZone', 'UTC', '{timestamptz}'),
           ('IntervalStyle', 'postgres', '{interval}'), ('extra_float_digits', '1', '{float4,float8}'),
           ('bytea_output', 'hex', '{bytea}'), ('lc_monetary', 'C', '{money}')
  ), types as (
    select distinct c.type_oid as type, t.typtype = 'e' as is_enum
      from kos.image_columns(target) c join pg_type t on t.oid = c.type_oid
  )
  select s.name, s.value
    from settings s
   where exists (
     select from types t
      where t.type = any (s.types)
         or not t.is_enum
            and t.type <> all ('{bool,int2,int4,int8,numeric,uuid,text,varchar,bpchar,name,json,jsonb,time,timetz}'::regtype[])
            and not exists (select from settings k where t.type = any (k.types)))
$$;


ALTER FUNCTION kos.text_settings(target regclass) OWNER TO kos_owner;

--
-- Name: turn(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.turn(switch regclass) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return (select number from kos.pending_turn);
end $$;


ALTER FUNCTION kos.turn(switch regclass) OWNER TO kos_owner;

--
-- Name: unlog_table(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.unlog_table(target regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
declare
  part regclass;
  name text;
begin
  for part in select kos.parts_of(target) loop
    name := kos.capture_name(part);
    execute format('drop trigger if exists kos_capture_insert on %s', part);
    execute format('drop trigger if exists kos_capture_update on %s', part);
    execute format('drop trigger if exists kos_capture_delete on %s', part);
    execute format('drop trigger if exists kos_capture_truncate on %s', part);
    execute format('drop function if exists kos.%I()', name);
  end loop;
  delete from kos.logged_tables l where l.relation = target;
end $$;


ALTER FUNCTION kos.unlog_table(target regclass) OWNER TO kos_owner;

--
-- Name: unregister_tenant(text); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.unregister_tenant(value text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  id uuid := kos.tenant_of(value);
begin
  perform pg_advisory_xact_lock(kos.fence_key(id));
  delete from kos.fence f where f.tenant_id = id and f.adopted;
  delete from kos.tenants t where t.tenant_id = id and t.adopted;
end $$;


ALTER FUNCTION kos.unregister_tenant(value text) OWNER TO kos_owner;

--
-- Name: unsealed(integer); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.unsealed(max_tenants integer DEFAULT 1000) RETURNS TABLE(tenant_id uuid, waiting bigint, oldest timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive first_table as (
    (select p.tenant_id from kos.pending_1 p order by p.tenant_id limit 1)
    union all
    select (select p.tenant_id from kos.pending_1 p where p.tenant_id > f.tenant_id order by p.tenant_id limit 1)
      from first_table f where f.tenant_id is not null
  ), second_table as (
    (select p.tenant_id from kos.pending_2 p order by p.tenant_id limit 1)
    union all
    select (select p.tenant_id from kos.pending_2 p where p.tenant_id > s.tenant_id order by p.tenant_id limit 1)
      from second_table s where s.tenant_id is not null
  )
  select u.*
    from kos.unsealed_among(array(
      select f.tenant_id from first_table f where f.tenant_id is not null
      union select s.tenant_id from second_table s where s.tenant_id is not null)) u
   order by u.oldest nulls first, u.tenant_id
   limit max_tenants
$$;


ALTER FUNCTION kos.unsealed(max_tenants integer) OWNER TO kos_owner;

--
-- Name: unsealed_among(uuid[]); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.unsealed_among(tenants uuid[]) RETURNS TABLE(tenant_id uuid, waiting bigint, oldest timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select t.tenant_id, u.waiting,
         case when current_setting('track_commit_timestamp')::boolean and u.origin = kos.origin()
           then pg_xact_commit_timestamp(u.transaction::xid) end as oldest
    from unnest(tenants) t (tenant_id)
    cross join lateral (
      -- Counted up to a limit: a huge transaction is not read twice.
      select count(*) as waiting, min(r.transaction) as transaction, min(r.origin) as origin
        from kos.unsealed_rows(t.tenant_id, kos.newest_seal(t.tenant_id), 1000) r) u
   where u.waiting > 0
$$;


ALTER FUNCTION kos.unsealed_among(tenants uuid[]) OWNER TO kos_owner;

--
-- Name: pending_1; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.pending_1 (
    id bigint NOT NULL,
    origin integer NOT NULL,
    transaction xid8 NOT NULL,
    tenant_id uuid NOT NULL,
    shape_id integer NOT NULL,
    operation "char" NOT NULL,
    key text[] NOT NULL,
    image text[],
    before text[],
    context text[]
)
WITH (autovacuum_analyze_scale_factor='0.5');

ALTER TABLE ONLY kos.pending_1 REPLICA IDENTITY FULL;


ALTER TABLE kos.pending_1 OWNER TO kos_owner;

--
-- Name: pending_2; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.pending_2 (
    id bigint CONSTRAINT pending_1_id_not_null NOT NULL,
    origin integer CONSTRAINT pending_1_origin_not_null NOT NULL,
    transaction xid8 CONSTRAINT pending_1_transaction_not_null NOT NULL,
    tenant_id uuid CONSTRAINT pending_1_tenant_id_not_null NOT NULL,
    shape_id integer CONSTRAINT pending_1_shape_id_not_null NOT NULL,
    operation "char" CONSTRAINT pending_1_operation_not_null NOT NULL,
    key text[] CONSTRAINT pending_1_key_not_null NOT NULL,
    image text[],
    before text[],
    context text[]
)
WITH (autovacuum_analyze_scale_factor='0.5');

ALTER TABLE ONLY kos.pending_2 REPLICA IDENTITY FULL;


ALTER TABLE kos.pending_2 OWNER TO kos_owner;

--
-- Name: pending; Type: VIEW; Schema: kos; Owner: kos_owner
--

CREATE VIEW kos.pending AS
 SELECT pending_1.id,
    pending_1.origin,
    pending_1.transaction,
    pending_1.tenant_id,
    pending_1.shape_id,
    pending_1.operation,
    pending_1.key,
    pending_1.image,
    pending_1.before,
    pending_1.context
   FROM kos.pending_1
UNION ALL
 SELECT pending_2.id,
    pending_2.origin,
    pending_2.transaction,
    pending_2.tenant_id,
    pending_2.shape_id,
    pending_2.operation,
    pending_2.key,
    pending_2.image,
    pending_2.before,
    pending_2.context
   FROM kos.pending_2;


ALTER VIEW kos.pending OWNER TO kos_owner;

--
-- Name: unsealed_rows(uuid, kos.seals, bigint); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.unsealed_rows(tenant uuid, newest kos.seals, at_most bigint DEFAULT NULL::bigint) RETURNS SETOF kos.pending
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
  select u.* from (
    select p.* from kos.ended_since(newest.snapshot) e
     cross join lateral (select * from kos.pending where tenant_id = tenant and origin = newest.origin
                            and transaction >= e.first and transaction <= e.last
                         offset 0) p
     where newest.origin = kos.origin()
    union all
    select * from kos.pending where tenant_id = tenant and origin = newest.origin and newest.origin = kos.origin() and transaction = any (array(
      select pg_snapshot_xip(newest.snapshot) except select pg_snapshot_xip(pg_current_snapshot())))
    union all
    select * from kos.pending where tenant_id = tenant and origin = newest.origin and newest.origin <> kos.origin()
       and not pg_visible_in_snapshot(transaction, newest.snapshot)
    union all
    select * from kos.pending where tenant_id = tenant and origin < newest.origin and id > newest.foreign_id
    union all
    select * from kos.pending where tenant_id = tenant and origin > newest.origin and id > newest.foreign_id
  ) u
   where u.transaction is distinct from pg_current_xact_id_if_assigned()
   limit at_most
$$;


ALTER FUNCTION kos.unsealed_rows(tenant uuid, newest kos.seals, at_most bigint) OWNER TO kos_owner;

--
-- Name: uuid_v7(); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.uuid_v7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    RETURN uuidv7();


ALTER FUNCTION kos.uuid_v7() OWNER TO kos_owner;

--
-- Name: void_log(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.void_log(target regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  number integer := (select t.number from kos.pending_turn t);
begin
  execute format($insert$
    insert into kos.pending_%s (id, origin, transaction, tenant_id, shape_id, operation, key)
    select nextval('kos.pending_ids'), kos.origin(), pg_current_xact_id(), t.tenant_id, $2, 'T', '{}'
      from (select distinct e.tenant_id from kos.knowledge_events e join kos.shapes s using (shape_id)
             where s.logged_id = (select l.logged_id from kos.logged_tables l where l.relation = $1)) t
    $insert$, number)
    using target, kos.shape_of(target);
end $_$;


ALTER FUNCTION kos.void_log(target regclass) OWNER TO kos_owner;

--
-- Name: was_logged(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.was_logged(target regclass) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select not exists (select from kos.logged_tables l where l.relation = target)
     and exists (select from kos.shapes s join pg_namespace n on n.nspname = s.schema_name
                   join pg_class c on c.relnamespace = n.oid and c.relname = s.table_name where c.oid = target)
$$;


ALTER FUNCTION kos.was_logged(target regclass) OWNER TO kos_owner;

--
-- Name: what_hides_rows(regclass); Type: FUNCTION; Schema: kos; Owner: kos_owner
--

CREATE FUNCTION kos.what_hides_rows(part regclass) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case
    when not exists (select from pg_policy y where y.polrelid = part and y.polpermissive and y.polcmd in ('r', '*')
                        and 'kos_owner'::regrole = any (y.polroles)) then 'its rows are hidden from kos_owner'
    else (select format('its restrictive policy %s hides rows from kos_owner', string_agg(quote_ident(y.polname), ', ' order by y.polname))
            from pg_policy y
           where y.polrelid = part and not y.polpermissive and y.polcmd in ('r', '*')
             and not (y.polname = 'kos_tenant_isolation' and exists (select from kos.enforced_tables e where e.relation = part))
             and exists (select from unnest(y.polroles) r (oid) where r.oid = 0 or pg_has_role('kos_owner', r.oid, 'USAGE'))
           having count(*) > 0) end
    from pg_class c
   where c.oid = part and c.relrowsecurity and c.relowner <> 'kos_owner'::regrole
$$;


ALTER FUNCTION kos.what_hides_rows(part regclass) OWNER TO kos_owner;

--
-- Name: overlay("char", jsonb); Type: AGGREGATE; Schema: kos; Owner: kos_owner
--

CREATE AGGREGATE kos."overlay"("char", jsonb) (
    SFUNC = kos.overlay_step,
    STYPE = jsonb
);


ALTER AGGREGATE kos."overlay"("char", jsonb) OWNER TO kos_owner;

--
-- Name: knowledge_events; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.knowledge_events (
    tenant_id uuid NOT NULL,
    "position" bigint NOT NULL,
    incarnation integer NOT NULL,
    transaction xid8 NOT NULL,
    shape_id integer NOT NULL,
    operation "char" NOT NULL,
    aggregate_id uuid NOT NULL,
    key text[] NOT NULL,
    image text[],
    before text[],
    context text[],
    salt uuid,
    leaf bytea NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    CONSTRAINT knowledge_events_operation_check CHECK ((operation = ANY (ARRAY['I'::"char", 'U'::"char", 'D'::"char", 'T'::"char", 'B'::"char"]))),
    CONSTRAINT knowledge_events_position_check CHECK (("position" > 0))
)
PARTITION BY RANGE (occurred_at);

ALTER TABLE ONLY kos.knowledge_events FORCE ROW LEVEL SECURITY;


ALTER TABLE kos.knowledge_events OWNER TO kos_owner;

--
-- Name: TABLE knowledge_events; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.knowledge_events IS 'Every change of a logged table, by position: per tenant, without gaps.';


--
-- Name: COLUMN knowledge_events.operation; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON COLUMN kos.knowledge_events.operation IS 'Inserted, updated, deleted, truncated, or found there when logging began (B).';


--
-- Name: COLUMN knowledge_events.aggregate_id; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON COLUMN kos.knowledge_events.aggregate_id IS 'The row''s id, where its key is one uuid, or that and the tenant''s; else made of its table and key.';


--
-- Name: shapes; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.shapes (
    shape_id integer NOT NULL,
    logged_id integer NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key_columns text[] NOT NULL,
    columns jsonb NOT NULL,
    digest bytea NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    column_ids text[] NOT NULL,
    identity bytea NOT NULL
);


ALTER TABLE kos.shapes OWNER TO kos_owner;

--
-- Name: COLUMN shapes.column_ids; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON COLUMN kos.shapes.column_ids IS 'Of `columns`, in their order: a column that is renamed keeps its id, and another one of its name has another.';


--
-- Name: COLUMN shapes.identity; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON COLUMN kos.shapes.identity IS 'sha256 over digest and column_ids.';


--
-- Name: adopted_product; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.adopted_product (
    only_one boolean DEFAULT true NOT NULL,
    shard_name text NOT NULL,
    schema_name text NOT NULL,
    kinds text[] NOT NULL,
    CONSTRAINT adopted_product_only_one_check CHECK (only_one)
);


ALTER TABLE kos.adopted_product OWNER TO kos_owner;

--
-- Name: change_actions; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.change_actions (
    operation uuid NOT NULL,
    schema_name text NOT NULL,
    action text NOT NULL,
    done_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE kos.change_actions OWNER TO kos_owner;

--
-- Name: change_fills; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.change_fills (
    operation uuid NOT NULL,
    schema_name text NOT NULL,
    fill text NOT NULL,
    part text NOT NULL,
    next_page bigint NOT NULL,
    pages bigint NOT NULL,
    rows bigint NOT NULL,
    filenode bigint NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    up_to_key text[] DEFAULT '{}'::text[] NOT NULL
);


ALTER TABLE kos.change_fills OWNER TO kos_owner;

--
-- Name: COLUMN change_fills.next_page; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON COLUMN kos.change_fills.next_page IS 'All pages before it are done; by key, in proportion to the rows.';


--
-- Name: COLUMN change_fills.filenode; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON COLUMN kos.change_fills.filenode IS 'Of the part, when it was begun: another one has other pages. By key the oid of the index: another one has other keys.';


--
-- Name: change_placements; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.change_placements (
    operation uuid NOT NULL,
    schema_name text NOT NULL,
    recipe integer NOT NULL,
    phase text NOT NULL,
    state text NOT NULL,
    doing text,
    error text,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT change_placements_phase_check CHECK ((phase = ANY (ARRAY['expand'::text, 'fill'::text, 'build'::text, 'tighten'::text, 'contract'::text]))),
    CONSTRAINT change_placements_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'failed'::text, 'left out'::text])))
);


ALTER TABLE kos.change_placements OWNER TO kos_owner;

--
-- Name: changed_schemas; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.changed_schemas (
    operation uuid NOT NULL,
    schema_name text NOT NULL,
    name text NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    left_out boolean DEFAULT false NOT NULL
);


ALTER TABLE kos.changed_schemas OWNER TO kos_owner;

--
-- Name: changes; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.changes (
    operation uuid NOT NULL,
    name text NOT NULL,
    sql text NOT NULL,
    shipped boolean NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    max_rate double precision,
    max_lag_ms double precision,
    max_latency_ms double precision,
    stopping bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    latency_query text,
    CONSTRAINT changes_max_lag_ms_check CHECK ((max_lag_ms > (0)::double precision)),
    CONSTRAINT changes_max_latency_ms_check CHECK ((max_latency_ms > (0)::double precision)),
    CONSTRAINT changes_max_rate_check CHECK ((max_rate > (0)::double precision))
);


ALTER TABLE kos.changes OWNER TO kos_owner;

--
-- Name: TABLE changes; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.changes IS 'Changes of schema: their SQL, and the limits that hold while they run.';


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
-- Name: cross_tenant_access; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.cross_tenant_access (
    access_id bigint NOT NULL,
    role_name text DEFAULT SESSION_USER NOT NULL,
    database_name text DEFAULT current_database() NOT NULL,
    reason text NOT NULL,
    began_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT cross_tenant_access_reason_check CHECK ((reason ~ '\S'::text))
);


ALTER TABLE kos.cross_tenant_access OWNER TO kos_owner;

--
-- Name: TABLE cross_tenant_access; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.cross_tenant_access IS 'Who has worked on all tenants of this database, when, and why.';


--
-- Name: cross_tenant_access_access_id_seq; Type: SEQUENCE; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.cross_tenant_access ALTER COLUMN access_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME kos.cross_tenant_access_access_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: enforced_tables; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.enforced_tables (
    relation regclass NOT NULL,
    root regclass NOT NULL,
    tenant_column text NOT NULL,
    row_security boolean NOT NULL,
    forced boolean NOT NULL,
    granted jsonb DEFAULT '[]'::jsonb NOT NULL,
    schema_granted jsonb DEFAULT '[]'::jsonb NOT NULL,
    enforced_at timestamp with time zone DEFAULT now() NOT NULL,
    policies text[] DEFAULT '{}'::text[] NOT NULL
);


ALTER TABLE kos.enforced_tables OWNER TO kos_owner;

--
-- Name: filled_columns; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.filled_columns (
    logged_id integer NOT NULL,
    column_id text NOT NULL
);


ALTER TABLE kos.filled_columns OWNER TO kos_owner;

--
-- Name: incarnations; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.incarnations (
    incarnation integer NOT NULL,
    identity text NOT NULL,
    origin integer NOT NULL,
    reason text NOT NULL,
    began_at timestamp with time zone DEFAULT now() NOT NULL
);


ALTER TABLE kos.incarnations OWNER TO kos_owner;

--
-- Name: incarnations_incarnation_seq; Type: SEQUENCE; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.incarnations ALTER COLUMN incarnation ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME kos.incarnations_incarnation_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: knowledge_events_default; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.knowledge_events_default (
    tenant_id uuid CONSTRAINT knowledge_events_tenant_id_not_null NOT NULL,
    "position" bigint CONSTRAINT knowledge_events_position_not_null NOT NULL,
    incarnation integer CONSTRAINT knowledge_events_incarnation_not_null NOT NULL,
    transaction xid8 CONSTRAINT knowledge_events_transaction_not_null NOT NULL,
    shape_id integer CONSTRAINT knowledge_events_shape_id_not_null NOT NULL,
    operation "char" CONSTRAINT knowledge_events_operation_not_null NOT NULL,
    aggregate_id uuid CONSTRAINT knowledge_events_aggregate_id_not_null NOT NULL,
    key text[] CONSTRAINT knowledge_events_key_not_null NOT NULL,
    image text[],
    before text[],
    context text[],
    salt uuid,
    leaf bytea CONSTRAINT knowledge_events_leaf_not_null NOT NULL,
    occurred_at timestamp with time zone CONSTRAINT knowledge_events_occurred_at_not_null NOT NULL,
    CONSTRAINT knowledge_events_operation_check CHECK ((operation = ANY (ARRAY['I'::"char", 'U'::"char", 'D'::"char", 'T'::"char", 'B'::"char"]))),
    CONSTRAINT knowledge_events_position_check CHECK (("position" > 0))
);

ALTER TABLE ONLY kos.knowledge_events_default FORCE ROW LEVEL SECURITY;


ALTER TABLE kos.knowledge_events_default OWNER TO kos_owner;

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
-- Name: logged_ids; Type: SEQUENCE; Schema: kos; Owner: kos_owner
--

CREATE SEQUENCE kos.logged_ids
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE kos.logged_ids OWNER TO kos_owner;

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
    CONSTRAINT operation_events_check CHECK (((step IS NULL) = (what = ANY (ARRAY['waiting'::text, 'finished'::text, 'rollback_started'::text, 'rolled_back'::text])))),
    CONSTRAINT operation_events_sequence_check CHECK ((sequence > 0)),
    CONSTRAINT operation_events_what_check CHECK ((what = ANY (ARRAY['started'::text, 'done'::text, 'failed'::text, 'waiting'::text, 'finished'::text, 'rollback_started'::text, 'undo_started'::text, 'undone'::text, 'undo_failed'::text, 'rolled_back'::text])))
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
    CONSTRAINT operations_state_check CHECK ((state = ANY (ARRAY['planned'::text, 'running'::text, 'waiting'::text, 'failed'::text, 'finished'::text, 'rolling_back'::text, 'rollback_failed'::text, 'rolled_back'::text]))),
    CONSTRAINT operations_subject_check CHECK ((subject <> ''::text))
);


ALTER TABLE kos.operations OWNER TO kos_owner;

--
-- Name: TABLE operations; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.operations IS 'One row per operation: its plan, stored before its first step, and its state, which is the fold of its events.';


--
-- Name: pending_ids; Type: SEQUENCE; Schema: kos; Owner: kos_owner
--

CREATE SEQUENCE kos.pending_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE kos.pending_ids OWNER TO kos_owner;

--
-- Name: pending_turn; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.pending_turn (
    number integer NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pending_turn_number_check CHECK ((number = ANY (ARRAY[1, 2])))
);

ALTER TABLE ONLY kos.pending_turn REPLICA IDENTITY FULL;


ALTER TABLE kos.pending_turn OWNER TO kos_owner;

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
-- Name: projection_leavers; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.projection_leavers (
    projection text NOT NULL,
    tenant_id uuid NOT NULL,
    left_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY kos.projection_leavers FORCE ROW LEVEL SECURITY;


ALTER TABLE kos.projection_leavers OWNER TO kos_owner;

--
-- Name: projection_made; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.projection_made (
    projection text NOT NULL,
    tenant_id uuid NOT NULL,
    tables text NOT NULL,
    times bigint DEFAULT 1 NOT NULL,
    made_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY kos.projection_made FORCE ROW LEVEL SECURITY;


ALTER TABLE kos.projection_made OWNER TO kos_owner;

--
-- Name: projection_parked; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.projection_parked (
    projection text NOT NULL,
    tenant_id uuid NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key text[] NOT NULL,
    "position" bigint NOT NULL,
    reason text NOT NULL,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    tried_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY kos.projection_parked FORCE ROW LEVEL SECURITY;


ALTER TABLE kos.projection_parked OWNER TO kos_owner;

--
-- Name: TABLE projection_parked; Type: COMMENT; Schema: kos; Owner: kos_owner
--

COMMENT ON TABLE kos.projection_parked IS 'Rows that a projection leaves as they were, since its store refuses their changes.';


--
-- Name: projection_stores; Type: TABLE; Schema: kos; Owner: kos_owner
--

CREATE TABLE kos.projection_stores (
    projection text NOT NULL,
    identity text NOT NULL,
    noted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT projection_stores_projection_check CHECK ((projection ~ '^[a-z0-9][a-z0-9._-]{0,50}$'::text))
);

ALTER TABLE ONLY kos.projection_stores FORCE ROW LEVEL SECURITY;


ALTER TABLE kos.projection_stores OWNER TO kos_owner;

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
-- Name: shapes_shape_id_seq; Type: SEQUENCE; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.shapes ALTER COLUMN shape_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME kos.shapes_shape_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


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
    adopted boolean DEFAULT false NOT NULL,
    CONSTRAINT tenants_check CHECK ((adopted OR ((name ~ '^[a-z][a-z0-9]*(-[a-z0-9]+)*$'::text) AND (length(name) <= 40)))),
    CONSTRAINT tenants_state_check CHECK ((state = ANY (ARRAY['creating'::text, 'importing'::text, 'removing'::text, 'active'::text])))
);


ALTER TABLE kos.tenants OWNER TO kos_owner;

--
-- Name: knowledge_events_default; Type: TABLE ATTACH; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.knowledge_events ATTACH PARTITION kos.knowledge_events_default DEFAULT;


--
-- Name: adopted_product adopted_product_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.adopted_product
    ADD CONSTRAINT adopted_product_pkey PRIMARY KEY (only_one);


--
-- Name: change_actions change_actions_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.change_actions
    ADD CONSTRAINT change_actions_pkey PRIMARY KEY (operation, schema_name, action);


--
-- Name: change_fills change_fills_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.change_fills
    ADD CONSTRAINT change_fills_pkey PRIMARY KEY (operation, schema_name, fill, part);


--
-- Name: change_placements change_placements_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.change_placements
    ADD CONSTRAINT change_placements_pkey PRIMARY KEY (operation, schema_name);


--
-- Name: changed_schemas changed_schemas_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.changed_schemas
    ADD CONSTRAINT changed_schemas_pkey PRIMARY KEY (operation, schema_name);


--
-- Name: changes changes_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (operation);


--
-- Name: checkpoints checkpoints_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (operation_id, step);


--
-- Name: cross_tenant_access cross_tenant_access_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.cross_tenant_access
    ADD CONSTRAINT cross_tenant_access_pkey PRIMARY KEY (access_id);


--
-- Name: enforced_tables enforced_tables_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.enforced_tables
    ADD CONSTRAINT enforced_tables_pkey PRIMARY KEY (relation);


--
-- Name: feed_cursors feed_cursors_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.feed_cursors
    ADD CONSTRAINT feed_cursors_pkey PRIMARY KEY (feed, tenant_id);


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
-- Name: filled_columns filled_columns_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.filled_columns
    ADD CONSTRAINT filled_columns_pkey PRIMARY KEY (logged_id, column_id);


--
-- Name: incarnations incarnations_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.incarnations
    ADD CONSTRAINT incarnations_pkey PRIMARY KEY (incarnation);


--
-- Name: knowledge_events knowledge_events_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.knowledge_events
    ADD CONSTRAINT knowledge_events_pkey PRIMARY KEY (tenant_id, "position", occurred_at);


--
-- Name: knowledge_events_default knowledge_events_default_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.knowledge_events_default
    ADD CONSTRAINT knowledge_events_default_pkey PRIMARY KEY (tenant_id, "position", occurred_at);


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
-- Name: logged_tables logged_tables_logged_id_key; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.logged_tables
    ADD CONSTRAINT logged_tables_logged_id_key UNIQUE (logged_id);


--
-- Name: logged_tables logged_tables_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.logged_tables
    ADD CONSTRAINT logged_tables_pkey PRIMARY KEY (relation);


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
-- Name: projection_leavers projection_leavers_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.projection_leavers
    ADD CONSTRAINT projection_leavers_pkey PRIMARY KEY (projection, tenant_id);


--
-- Name: projection_made projection_made_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.projection_made
    ADD CONSTRAINT projection_made_pkey PRIMARY KEY (projection, tenant_id);


--
-- Name: projection_parked projection_parked_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.projection_parked
    ADD CONSTRAINT projection_parked_pkey PRIMARY KEY (projection, tenant_id, schema_name, table_name, key);


--
-- Name: projection_stores projection_stores_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.projection_stores
    ADD CONSTRAINT projection_stores_pkey PRIMARY KEY (projection);


--
-- Name: schema_versions schema_versions_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.schema_versions
    ADD CONSTRAINT schema_versions_pkey PRIMARY KEY (schema_name, version);


--
-- Name: seals seals_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.seals
    ADD CONSTRAINT seals_pkey PRIMARY KEY (tenant_id, "position");


--
-- Name: shapes shapes_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.shapes
    ADD CONSTRAINT shapes_pkey PRIMARY KEY (shape_id);


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
-- Name: tenant_keys tenant_keys_pkey; Type: CONSTRAINT; Schema: kos; Owner: kos_owner
--

ALTER TABLE ONLY kos.tenant_keys
    ADD CONSTRAINT tenant_keys_pkey PRIMARY KEY (tenant_id, key_id);


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
-- Name: knowledge_events_by_aggregate; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX knowledge_events_by_aggregate ON ONLY kos.knowledge_events USING btree (tenant_id, aggregate_id, "position");


--
-- Name: knowledge_events_default_tenant_id_aggregate_id_position_idx; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX knowledge_events_default_tenant_id_aggregate_id_position_idx ON kos.knowledge_events_default USING btree (tenant_id, aggregate_id, "position");


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
-- Name: pending_1_by_tenant; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX pending_1_by_tenant ON kos.pending_1 USING btree (tenant_id, origin, transaction);


--
-- Name: pending_2_by_tenant; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX pending_2_by_tenant ON kos.pending_2 USING btree (tenant_id, origin, transaction);


--
-- Name: placements_by_shard; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX placements_by_shard ON kos.placements USING btree (shard_id, database_name);


--
-- Name: seals_by_time; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX seals_by_time ON kos.seals USING btree (tenant_id, committed_at);


--
-- Name: shapes_by_identity; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX shapes_by_identity ON kos.shapes USING btree (identity, logged_id);


--
-- Name: shapes_by_table; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX shapes_by_table ON kos.shapes USING btree (logged_id);


--
-- Name: tenant_keys_current; Type: INDEX; Schema: kos; Owner: kos_owner
--

CREATE INDEX tenant_keys_current ON kos.tenant_keys USING btree (tenant_id, created_at) WHERE (key IS NOT NULL);


--
-- Name: knowledge_events_default_pkey; Type: INDEX ATTACH; Schema: kos; Owner: kos_owner
--

ALTER INDEX kos.knowledge_events_pkey ATTACH PARTITION kos.knowledge_events_default_pkey;


--
-- Name: knowledge_events_default_tenant_id_aggregate_id_position_idx; Type: INDEX ATTACH; Schema: kos; Owner: kos_owner
--

ALTER INDEX kos.knowledge_events_by_aggregate ATTACH PARTITION kos.knowledge_events_default_tenant_id_aggregate_id_position_idx;


--
-- Name: cross_tenant_access keep_rows; Type: TRIGGER; Schema: kos; Owner: kos_owner
--

CREATE TRIGGER keep_rows BEFORE DELETE OR UPDATE ON kos.cross_tenant_access FOR EACH ROW EXECUTE FUNCTION kos.keep_cross_tenant_access();


--
-- Name: cross_tenant_access keep_table; Type: TRIGGER; Schema: kos; Owner: kos_owner
--

CREATE TRIGGER keep_table BEFORE TRUNCATE ON kos.cross_tenant_access FOR EACH STATEMENT EXECUTE FUNCTION kos.keep_cross_tenant_access();


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
-- Name: feed_cursors application_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY application_access ON kos.feed_cursors TO kos_app USING (true);


--
-- Name: knowledge_events application_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY application_access ON kos.knowledge_events FOR SELECT TO kos_app USING (true);


--
-- Name: knowledge_events_default application_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY application_access ON kos.knowledge_events_default FOR SELECT TO kos_app USING (true);


--
-- Name: feed_cursors auditor_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY auditor_access ON kos.feed_cursors FOR SELECT TO kos_auditor USING (true);


--
-- Name: knowledge_events auditor_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY auditor_access ON kos.knowledge_events FOR SELECT TO kos_auditor USING (true);


--
-- Name: knowledge_events_default auditor_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY auditor_access ON kos.knowledge_events_default FOR SELECT TO kos_auditor USING (true);


--
-- Name: projection_leavers auditor_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY auditor_access ON kos.projection_leavers FOR SELECT TO kos_auditor USING (true);


--
-- Name: projection_made auditor_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY auditor_access ON kos.projection_made FOR SELECT TO kos_auditor USING (true);


--
-- Name: projection_parked auditor_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY auditor_access ON kos.projection_parked FOR SELECT TO kos_auditor USING (true);


--
-- Name: projection_stores auditor_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY auditor_access ON kos.projection_stores FOR SELECT TO kos_auditor USING (true);


--
-- Name: feed_cursors; Type: ROW SECURITY; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.feed_cursors ENABLE ROW LEVEL SECURITY;

--
-- Name: knowledge_events; Type: ROW SECURITY; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.knowledge_events ENABLE ROW LEVEL SECURITY;

--
-- Name: knowledge_events_default; Type: ROW SECURITY; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.knowledge_events_default ENABLE ROW LEVEL SECURITY;

--
-- Name: feed_cursors of_projections_delete; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY of_projections_delete ON kos.feed_cursors AS RESTRICTIVE FOR DELETE TO kos_app USING ((NOT starts_with(feed, 'projection.'::text)));


--
-- Name: feed_cursors of_projections_insert; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY of_projections_insert ON kos.feed_cursors AS RESTRICTIVE FOR INSERT TO kos_app WITH CHECK ((NOT starts_with(feed, 'projection.'::text)));


--
-- Name: feed_cursors of_projections_update; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY of_projections_update ON kos.feed_cursors AS RESTRICTIVE FOR UPDATE TO kos_app USING ((NOT starts_with(feed, 'projection.'::text)));


--
-- Name: feed_cursors operator_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY operator_access ON kos.feed_cursors TO kos_owner, kos_operator USING (true);


--
-- Name: knowledge_events operator_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY operator_access ON kos.knowledge_events TO kos_owner, kos_operator USING (true);


--
-- Name: knowledge_events_default operator_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY operator_access ON kos.knowledge_events_default TO kos_owner, kos_operator USING (true);


--
-- Name: projection_leavers operator_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY operator_access ON kos.projection_leavers TO kos_owner, kos_operator USING (true);


--
-- Name: projection_made operator_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY operator_access ON kos.projection_made TO kos_owner, kos_operator USING (true);


--
-- Name: projection_parked operator_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY operator_access ON kos.projection_parked TO kos_owner, kos_operator USING (true);


--
-- Name: projection_stores operator_access; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY operator_access ON kos.projection_stores TO kos_owner, kos_operator USING (true);


--
-- Name: projection_leavers; Type: ROW SECURITY; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.projection_leavers ENABLE ROW LEVEL SECURITY;

--
-- Name: projection_made; Type: ROW SECURITY; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.projection_made ENABLE ROW LEVEL SECURITY;

--
-- Name: projection_parked; Type: ROW SECURITY; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.projection_parked ENABLE ROW LEVEL SECURITY;

--
-- Name: projection_stores; Type: ROW SECURITY; Schema: kos; Owner: kos_owner
--

ALTER TABLE kos.projection_stores ENABLE ROW LEVEL SECURITY;

--
-- Name: feed_cursors tenant_isolation; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON kos.feed_cursors AS RESTRICTIVE TO kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: knowledge_events tenant_isolation; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON kos.knowledge_events AS RESTRICTIVE TO kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: knowledge_events_default tenant_isolation; Type: POLICY; Schema: kos; Owner: kos_owner
--

CREATE POLICY tenant_isolation ON kos.knowledge_events_default AS RESTRICTIVE TO kos_app USING ((tenant_id = ( SELECT kos.current_tenant_id() AS current_tenant_id)));


--
-- Name: SCHEMA kos; Type: ACL; Schema: -; Owner: kos_owner
--

GRANT USAGE ON SCHEMA kos TO kos_app;
GRANT USAGE ON SCHEMA kos TO kos_persona;
GRANT USAGE ON SCHEMA kos TO kos_operator;
GRANT USAGE ON SCHEMA kos TO kos_auditor;
GRANT USAGE ON SCHEMA kos TO kos_mover;


--
-- Name: FUNCTION admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_app;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_persona;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.admit(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_auditor;


--
-- Name: FUNCTION adopt_table(target regclass, tenant_column text, baseline text, sensitive jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.adopt_table(target regclass, tenant_column text, baseline text, sensitive jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.adopt_table(target regclass, tenant_column text, baseline text, sensitive jsonb) TO kos_operator;


--
-- Name: FUNCTION adopted_tables(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.adopted_tables() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.adopted_tables() TO kos_operator;
GRANT ALL ON FUNCTION kos.adopted_tables() TO kos_auditor;


--
-- Name: FUNCTION advance_epoch(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.advance_epoch(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.advance_epoch(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION aggregate_of(table_name text, key text[], within text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.aggregate_of(table_name text, key text[], within text[]) FROM PUBLIC;


--
-- Name: FUNCTION log_key(tenant_id uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_key(tenant_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.log_key(tenant_id uuid) TO kos_operator;


--
-- Name: FUNCTION no_tenants_log(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.no_tenants_log() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.no_tenants_log() TO kos_app;
GRANT ALL ON FUNCTION kos.no_tenants_log() TO kos_persona;
GRANT ALL ON FUNCTION kos.no_tenants_log() TO kos_operator;
GRANT ALL ON FUNCTION kos.no_tenants_log() TO kos_auditor;


--
-- Name: FUNCTION all_logs_key(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.all_logs_key() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.all_logs_key() TO kos_operator;


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
-- Name: FUNCTION are_few_by_default(starts timestamp with time zone, ends timestamp with time zone); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.are_few_by_default(starts timestamp with time zone, ends timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION base_type(type oid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.base_type(type oid) FROM PUBLIC;


--
-- Name: FUNCTION baseline_query(target regclass, after text[], upto text[], at_most integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.baseline_query(target regclass, after text[], upto text[], at_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.baseline_query(target regclass, after text[], upto text[], at_most integer) TO kos_operator;


--
-- Name: FUNCTION begin_cross_tenant_access(reason text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.begin_cross_tenant_access(reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.begin_cross_tenant_access(reason text) TO kos_operator;


--
-- Name: FUNCTION begin_incarnation(reason text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.begin_incarnation(reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.begin_incarnation(reason text) TO kos_operator;


--
-- Name: FUNCTION begin_incarnation(reason text, after integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.begin_incarnation(reason text, after integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.begin_incarnation(reason text, after integer) TO kos_operator;


--
-- Name: FUNCTION bookmark_position(counted_in integer, written xid8); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.bookmark_position(counted_in integer, written xid8) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.bookmark_position(counted_in integer, written xid8) TO kos_app;
GRANT ALL ON FUNCTION kos.bookmark_position(counted_in integer, written xid8) TO kos_persona;
GRANT ALL ON FUNCTION kos.bookmark_position(counted_in integer, written xid8) TO kos_operator;


--
-- Name: FUNCTION bookmark_position(tenant uuid, counted_in integer, written xid8); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.bookmark_position(tenant uuid, counted_in integer, written xid8) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.bookmark_position(tenant uuid, counted_in integer, written xid8) TO kos_operator;


--
-- Name: FUNCTION broken_captures(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.broken_captures() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.broken_captures() TO kos_operator;


--
-- Name: FUNCTION capture_13ba0c856014f188d45c8461bb9ab3b9(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_13ba0c856014f188d45c8461bb9ab3b9() FROM PUBLIC;


--
-- Name: FUNCTION capture_2a5e5fcb760c435101ef10fa45753876(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_2a5e5fcb760c435101ef10fa45753876() FROM PUBLIC;


--
-- Name: FUNCTION capture_6278fcf21078f5fb9556ac81378c6dbf(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_6278fcf21078f5fb9556ac81378c6dbf() FROM PUBLIC;


--
-- Name: FUNCTION capture_7c8dc460d1fd50cea200b2c00c961c66(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_7c8dc460d1fd50cea200b2c00c961c66() FROM PUBLIC;


--
-- Name: FUNCTION capture_98c740c0bdeb6c3080dd300b690d4ccd(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_98c740c0bdeb6c3080dd300b690d4ccd() FROM PUBLIC;


--
-- Name: FUNCTION capture_b8df113a68e8e19a574952bfc93949d9(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_b8df113a68e8e19a574952bfc93949d9() FROM PUBLIC;


--
-- Name: FUNCTION capture_c60e28cdc4df474c98e086126898aad2(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_c60e28cdc4df474c98e086126898aad2() FROM PUBLIC;


--
-- Name: FUNCTION capture_cf4fff11d5be919c5e57ff2323eca247(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_cf4fff11d5be919c5e57ff2323eca247() FROM PUBLIC;


--
-- Name: FUNCTION capture_e614d76f0143a6e39a9429007817e26e(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_e614d76f0143a6e39a9429007817e26e() FROM PUBLIC;


--
-- Name: FUNCTION capture_faults(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_faults() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.capture_faults() TO kos_operator;


--
-- Name: FUNCTION capture_name(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_name(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION capture_script(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_script(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.capture_script(target regclass) TO kos_operator;


--
-- Name: FUNCTION capture_statement(target regclass, operation text, pending text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_statement(target regclass, operation text, pending text) FROM PUBLIC;


--
-- Name: FUNCTION capture_triggers(part regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.capture_triggers(part regclass) FROM PUBLIC;


--
-- Name: FUNCTION columns_at(tenant uuid, logged_id integer, at bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.columns_at(tenant uuid, logged_id integer, at bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.columns_at(tenant uuid, logged_id integer, at bigint) TO kos_operator;
GRANT ALL ON FUNCTION kos.columns_at(tenant uuid, logged_id integer, at bigint) TO kos_auditor;


--
-- Name: FUNCTION columns_in_log(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.columns_in_log(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.columns_in_log(target regclass) TO kos_operator;


--
-- Name: FUNCTION compare_log(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.compare_log(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.compare_log(target regclass) TO kos_operator;


--
-- Name: FUNCTION compared_value(name text, type oid, escapes boolean, sensitive text, tenant text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.compared_value(name text, type oid, escapes boolean, sensitive text, tenant text) FROM PUBLIC;


--
-- Name: FUNCTION complete_baseline(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.complete_baseline(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.complete_baseline(target regclass) TO kos_operator;


--
-- Name: FUNCTION conninfo_value(value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.conninfo_value(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.conninfo_value(value text) TO kos_app;
GRANT ALL ON FUNCTION kos.conninfo_value(value text) TO kos_operator;
GRANT ALL ON FUNCTION kos.conninfo_value(value text) TO kos_auditor;


--
-- Name: FUNCTION crossing(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.crossing() FROM PUBLIC;


--
-- Name: FUNCTION crossing_context(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.crossing_context() FROM PUBLIC;


--
-- Name: FUNCTION current_incarnation(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_incarnation() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_incarnation() TO kos_operator;


--
-- Name: FUNCTION current_persona(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_persona() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_app;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_persona;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_operator;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_auditor;
GRANT ALL ON FUNCTION kos.current_persona() TO kos_mover;


--
-- Name: FUNCTION no_tenant(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.no_tenant() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_app;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_persona;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_operator;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_auditor;
GRANT ALL ON FUNCTION kos.no_tenant() TO kos_mover;


--
-- Name: FUNCTION current_tenant_id(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_tenant_id() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_app;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_persona;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_operator;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_auditor;
GRANT ALL ON FUNCTION kos.current_tenant_id() TO kos_mover;


--
-- Name: FUNCTION current_tenant_value(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_tenant_value() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_tenant_value() TO kos_app;
GRANT ALL ON FUNCTION kos.current_tenant_value() TO kos_persona;
GRANT ALL ON FUNCTION kos.current_tenant_value() TO kos_operator;
GRANT ALL ON FUNCTION kos.current_tenant_value() TO kos_auditor;


--
-- Name: FUNCTION current_user_id(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.current_user_id() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_app;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_persona;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_operator;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_auditor;
GRANT ALL ON FUNCTION kos.current_user_id() TO kos_mover;


--
-- Name: FUNCTION decrypt(tenant uuid, column_name text, stored text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.decrypt(tenant uuid, column_name text, stored text) FROM PUBLIC;


--
-- Name: TABLE logged_tables; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.logged_tables TO kos_operator;
GRANT SELECT ON TABLE kos.logged_tables TO kos_auditor;


--
-- Name: FUNCTION described_columns(target regclass, logged kos.logged_tables); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.described_columns(target regclass, logged kos.logged_tables) FROM PUBLIC;


--
-- Name: FUNCTION encrypt(tenant uuid, column_name text, value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.encrypt(tenant uuid, column_name text, value text) FROM PUBLIC;


--
-- Name: FUNCTION end_cross_tenant_access(access_id bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.end_cross_tenant_access(access_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.end_cross_tenant_access(access_id bigint) TO kos_operator;


--
-- Name: FUNCTION end_of_transaction(tenant uuid, first bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.end_of_transaction(tenant uuid, first bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.end_of_transaction(tenant uuid, first bigint) TO kos_app;
GRANT ALL ON FUNCTION kos.end_of_transaction(tenant uuid, first bigint) TO kos_operator;


--
-- Name: FUNCTION ended_since(seen pg_snapshot); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.ended_since(seen pg_snapshot) FROM PUBLIC;


--
-- Name: FUNCTION enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_app;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_persona;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.enter(tenant text, epoch bigint, persona text, user_id text, request_id text, address inet, agent text, timeout_ms integer) TO kos_auditor;


--
-- Name: FUNCTION erase_tenant_keys(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.erase_tenant_keys(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.erase_tenant_keys(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION event_data(columns jsonb, image text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.event_data(columns jsonb, image text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.event_data(columns jsonb, image text[]) TO kos_app;
GRANT ALL ON FUNCTION kos.event_data(columns jsonb, image text[]) TO kos_operator;
GRANT ALL ON FUNCTION kos.event_data(columns jsonb, image text[]) TO kos_auditor;


--
-- Name: FUNCTION event_type(table_name text, operation "char"); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.event_type(table_name text, operation "char") FROM PUBLIC;
GRANT ALL ON FUNCTION kos.event_type(table_name text, operation "char") TO kos_app;
GRANT ALL ON FUNCTION kos.event_type(table_name text, operation "char") TO kos_operator;
GRANT ALL ON FUNCTION kos.event_type(table_name text, operation "char") TO kos_auditor;


--
-- Name: TABLE feed_cursors; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.feed_cursors TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.feed_cursors TO kos_operator;
GRANT SELECT ON TABLE kos.feed_cursors TO kos_auditor;


--
-- Name: FUNCTION feed_cursor(feed_name text, tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feed_cursor(feed_name text, tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feed_cursor(feed_name text, tenant uuid) TO kos_app;
GRANT ALL ON FUNCTION kos.feed_cursor(feed_name text, tenant uuid) TO kos_operator;


--
-- Name: FUNCTION feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea) TO kos_app;
GRANT ALL ON FUNCTION kos.feed_done(feed_name text, tenant uuid, at bigint, upto bigint, seen_leaf bytea) TO kos_operator;


--
-- Name: FUNCTION feed_drop(feed_name text, tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feed_drop(feed_name text, tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feed_drop(feed_name text, tenant uuid) TO kos_app;
GRANT ALL ON FUNCTION kos.feed_drop(feed_name text, tenant uuid) TO kos_operator;


--
-- Name: FUNCTION feed_leaf(tenant uuid, at bigint, seen_leaf bytea); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feed_leaf(tenant uuid, at bigint, seen_leaf bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feed_leaf(tenant uuid, at bigint, seen_leaf bytea) TO kos_app;
GRANT ALL ON FUNCTION kos.feed_leaf(tenant uuid, at bigint, seen_leaf bytea) TO kos_operator;


--
-- Name: FUNCTION feed_next(feed_name text, tenant uuid, at_most integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feed_next(feed_name text, tenant uuid, at_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feed_next(feed_name text, tenant uuid, at_most integer) TO kos_app;
GRANT ALL ON FUNCTION kos.feed_next(feed_name text, tenant uuid, at_most integer) TO kos_operator;


--
-- Name: FUNCTION feed_seek(feed_name text, tenant uuid, at bigint, seen_leaf bytea); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feed_seek(feed_name text, tenant uuid, at bigint, seen_leaf bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feed_seek(feed_name text, tenant uuid, at bigint, seen_leaf bytea) TO kos_app;
GRANT ALL ON FUNCTION kos.feed_seek(feed_name text, tenant uuid, at bigint, seen_leaf bytea) TO kos_operator;


--
-- Name: FUNCTION feed_waiting(feed_name text, max_tenants integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feed_waiting(feed_name text, max_tenants integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feed_waiting(feed_name text, max_tenants integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.feed_waiting(feed_name text, max_tenants integer) TO kos_auditor;


--
-- Name: FUNCTION feeds(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.feeds() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.feeds() TO kos_operator;
GRANT ALL ON FUNCTION kos.feeds() TO kos_auditor;


--
-- Name: FUNCTION fence_again(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.fence_again(target regclass) FROM PUBLIC;


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
-- Name: FUNCTION forget_dropped_tables(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.forget_dropped_tables() FROM PUBLIC;


--
-- Name: FUNCTION forget_log(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.forget_log(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.forget_log(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION guard(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.guard() FROM PUBLIC;


--
-- Name: FUNCTION guard_adopted(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.guard_adopted() FROM PUBLIC;


--
-- Name: FUNCTION handshake(library integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.handshake(library integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_app;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_persona;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.handshake(library integer) TO kos_auditor;


--
-- Name: FUNCTION has_changed(target regclass, root regclass, known text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.has_changed(target regclass, root regclass, known text) FROM PUBLIC;


--
-- Name: FUNCTION has_nested_changes(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.has_nested_changes(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.has_nested_changes(target regclass) TO kos_operator;


--
-- Name: FUNCTION hidden_columns(logged kos.logged_tables); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.hidden_columns(logged kos.logged_tables) FROM PUBLIC;


--
-- Name: FUNCTION hmac(key bytea, message bytea); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.hmac(key bytea, message bytea) FROM PUBLIC;


--
-- Name: FUNCTION hmac_pad(key bytea, filling text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.hmac_pad(key bytea, filling text) FROM PUBLIC;


--
-- Name: FUNCTION holds_key(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.holds_key() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.holds_key() TO kos_operator;


--
-- Name: FUNCTION identify_rows(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.identify_rows() FROM PUBLIC;


--
-- Name: FUNCTION identity(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.identity() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.identity() TO kos_operator;


--
-- Name: FUNCTION image_columns(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.image_columns(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION image_of(target regclass, side text, earlier text, tenant text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.image_of(target regclass, side text, earlier text, tenant text) FROM PUBLIC;


--
-- Name: FUNCTION image_value(side text, name text, type oid, escapes boolean, sensitive text, tenant text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.image_value(side text, name text, type oid, escapes boolean, sensitive text, tenant text) FROM PUBLIC;


--
-- Name: FUNCTION incarnation(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.incarnation() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.incarnation() TO kos_app;
GRANT ALL ON FUNCTION kos.incarnation() TO kos_persona;
GRANT ALL ON FUNCTION kos.incarnation() TO kos_operator;


--
-- Name: FUNCTION is_changed(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.is_changed(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION is_drained(pending regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.is_drained(pending regclass) FROM PUBLIC;


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
-- Name: FUNCTION is_replayable(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.is_replayable(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.is_replayable(target regclass) TO kos_operator;
GRANT ALL ON FUNCTION kos.is_replayable(target regclass) TO kos_auditor;
GRANT ALL ON FUNCTION kos.is_replayable(target regclass) TO kos_mover;


--
-- Name: FUNCTION is_seen_otherwise(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.is_seen_otherwise(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION keep_cross_tenant_access(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.keep_cross_tenant_access() FROM PUBLIC;


--
-- Name: FUNCTION keep_log(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.keep_log() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.keep_log() TO kos_operator;


--
-- Name: FUNCTION kept_tables(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.kept_tables() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.kept_tables() TO kos_operator;
GRANT ALL ON FUNCTION kos.kept_tables() TO kos_auditor;


--
-- Name: FUNCTION key_expression(target regclass, sides text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.key_expression(target regclass, sides text[]) FROM PUBLIC;


--
-- Name: FUNCTION key_of(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.key_of(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION kinds_of(value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.kinds_of(value text) FROM PUBLIC;


--
-- Name: FUNCTION known_columns(target regclass, logged kos.logged_tables); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.known_columns(target regclass, logged kos.logged_tables) FROM PUBLIC;


--
-- Name: FUNCTION later_columns(target regclass, logged kos.logged_tables); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.later_columns(target regclass, logged kos.logged_tables) FROM PUBLIC;


--
-- Name: FUNCTION layout(target regclass, root regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.layout(target regclass, root regclass) FROM PUBLIC;


--
-- Name: FUNCTION leaf(tenant uuid, at bigint, incarnation integer, transaction xid8, occurred timestamp with time zone, shape bytea, operation "char", key text[], image text[], before text[], context text[], salt uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.leaf(tenant uuid, at bigint, incarnation integer, transaction xid8, occurred timestamp with time zone, shape bytea, operation "char", key text[], image text[], before text[], context text[], salt uuid) FROM PUBLIC;


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
-- Name: FUNCTION local_column(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.local_column(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION log_baseline(part regclass, rows tid[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_baseline(part regclass, rows tid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.log_baseline(part regclass, rows tid[]) TO kos_operator;


--
-- Name: FUNCTION log_head(OUT incarnation integer, OUT "position" bigint, OUT has_written boolean); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_head(OUT incarnation integer, OUT "position" bigint, OUT has_written boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.log_head(OUT incarnation integer, OUT "position" bigint, OUT has_written boolean) TO kos_app;
GRANT ALL ON FUNCTION kos.log_head(OUT incarnation integer, OUT "position" bigint, OUT has_written boolean) TO kos_persona;
GRANT ALL ON FUNCTION kos.log_head(OUT incarnation integer, OUT "position" bigint, OUT has_written boolean) TO kos_operator;


--
-- Name: FUNCTION log_state(tenant uuid, logged_id integer, at bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_state(tenant uuid, logged_id integer, at bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.log_state(tenant uuid, logged_id integer, at bigint) TO kos_operator;
GRANT ALL ON FUNCTION kos.log_state(tenant uuid, logged_id integer, at bigint) TO kos_auditor;


--
-- Name: FUNCTION log_state(tenant uuid, schema_name text, table_name text, at bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_state(tenant uuid, schema_name text, table_name text, at bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.log_state(tenant uuid, schema_name text, table_name text, at bigint) TO kos_operator;
GRANT ALL ON FUNCTION kos.log_state(tenant uuid, schema_name text, table_name text, at bigint) TO kos_auditor;


--
-- Name: FUNCTION log_status(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_status() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.log_status() TO kos_operator;


--
-- Name: FUNCTION log_table(target regclass, tenant_column text, baseline text, sensitive jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_table(target regclass, tenant_column text, baseline text, sensitive jsonb) FROM PUBLIC;


--
-- Name: FUNCTION log_tenants(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.log_tenants() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.log_tenants() TO kos_operator;
GRANT ALL ON FUNCTION kos.log_tenants() TO kos_auditor;


--
-- Name: FUNCTION logged(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.logged(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION logged_id_of(schema_name text, table_name text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.logged_id_of(schema_name text, table_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.logged_id_of(schema_name text, table_name text) TO kos_operator;
GRANT ALL ON FUNCTION kos.logged_id_of(schema_name text, table_name text) TO kos_auditor;


--
-- Name: FUNCTION make_capture(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.make_capture(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION make_log_partitions(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.make_log_partitions() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.make_log_partitions() TO kos_operator;


--
-- Name: FUNCTION make_tenant_key(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.make_tenant_key(tenant uuid) FROM PUBLIC;


--
-- Name: FUNCTION mask_bytes(k kos.tenant_keys, nonce bytea, data bytea); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.mask_bytes(k kos.tenant_keys, nonce bytea, data bytea) FROM PUBLIC;


--
-- Name: FUNCTION masked(value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.masked(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.masked(value text) TO kos_app;
GRANT ALL ON FUNCTION kos.masked(value text) TO kos_operator;
GRANT ALL ON FUNCTION kos.masked(value text) TO kos_auditor;


--
-- Name: FUNCTION masked_data(stored jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.masked_data(stored jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.masked_data(stored jsonb) TO kos_operator;
GRANT ALL ON FUNCTION kos.masked_data(stored jsonb) TO kos_auditor;
GRANT ALL ON FUNCTION kos.masked_data(stored jsonb) TO kos_mover;


--
-- Name: FUNCTION must_see_each_commit(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.must_see_each_commit() FROM PUBLIC;


--
-- Name: FUNCTION new_logged_id(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.new_logged_id(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION newest_foreign_id(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.newest_foreign_id(tenant uuid) FROM PUBLIC;


--
-- Name: TABLE seals; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.seals TO kos_operator;
GRANT SELECT ON TABLE kos.seals TO kos_auditor;


--
-- Name: FUNCTION newest_seal(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.newest_seal(tenant uuid) FROM PUBLIC;


--
-- Name: FUNCTION note_columns(logged kos.logged_tables); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.note_columns(logged kos.logged_tables) FROM PUBLIC;


--
-- Name: FUNCTION note_logged(target regclass, tenant_column text, baseline text, sensitive jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.note_logged(target regclass, tenant_column text, baseline text, sensitive jsonb) FROM PUBLIC;


--
-- Name: FUNCTION object_key(tenant_id uuid, sha256 text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) TO kos_app;
GRANT ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) TO kos_persona;
GRANT ALL ON FUNCTION kos.object_key(tenant_id uuid, sha256 text) TO kos_operator;


--
-- Name: FUNCTION origin(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.origin() FROM PUBLIC;


--
-- Name: FUNCTION overlay_step(state jsonb, operation "char", data jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.overlay_step(state jsonb, operation "char", data jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.overlay_step(state jsonb, operation "char", data jsonb) TO kos_operator;
GRANT ALL ON FUNCTION kos.overlay_step(state jsonb, operation "char", data jsonb) TO kos_auditor;


--
-- Name: FUNCTION parts_of(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.parts_of(target regclass) FROM PUBLIC;


--
-- Name: TABLE fence; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.fence TO kos_operator;


--
-- Name: FUNCTION pass_fence(tenant uuid, wanted_epoch bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.pass_fence(tenant uuid, wanted_epoch bigint) FROM PUBLIC;


--
-- Name: FUNCTION pass_fences(tenants uuid[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.pass_fences(tenants uuid[]) FROM PUBLIC;


--
-- Name: FUNCTION pass_lease(subject text, token bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.pass_lease(subject text, token bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.pass_lease(subject text, token bigint) TO kos_operator;


--
-- Name: FUNCTION pin_text_settings(given text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.pin_text_settings(given text[]) FROM PUBLIC;


--
-- Name: FUNCTION present_name(logged kos.logged_tables, column_name text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.present_name(logged kos.logged_tables, column_name text) FROM PUBLIC;


--
-- Name: FUNCTION projection_key(projection text, tenant uuid, purpose text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.projection_key(projection text, tenant uuid, purpose text) FROM PUBLIC;


--
-- Name: FUNCTION projection_status(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.projection_status() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.projection_status() TO kos_operator;
GRANT ALL ON FUNCTION kos.projection_status() TO kos_auditor;


--
-- Name: FUNCTION protect(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.protect(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION protect_log_partition(part regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.protect_log_partition(part regclass) FROM PUBLIC;


--
-- Name: FUNCTION read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer) TO kos_app;
GRANT ALL ON FUNCTION kos.read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer) TO kos_operator;
GRANT ALL ON FUNCTION kos.read_feed(tenant uuid, after bigint, seen_leaf bytea, at_most integer) TO kos_auditor;


--
-- Name: FUNCTION reads_rows_again(target regclass, root regclass, logged kos.logged_tables); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.reads_rows_again(target regclass, root regclass, logged kos.logged_tables) FROM PUBLIC;


--
-- Name: FUNCTION rebuilt_state(tenant uuid, schema_name text, table_name text, at bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.rebuilt_state(tenant uuid, schema_name text, table_name text, at bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.rebuilt_state(tenant uuid, schema_name text, table_name text, at bigint) TO kos_mover;


--
-- Name: FUNCTION referring_keys(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.referring_keys(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.referring_keys(target regclass) TO kos_operator;


--
-- Name: FUNCTION refresh_captures(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.refresh_captures() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.refresh_captures() TO kos_operator;


--
-- Name: FUNCTION refresh_captures(shares integer, share bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.refresh_captures(shares integer, share bigint) FROM PUBLIC;


--
-- Name: FUNCTION refusal_to_log(target regclass, tenant_column text, sensitive jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.refusal_to_log(target regclass, tenant_column text, sensitive jsonb) FROM PUBLIC;


--
-- Name: FUNCTION refuse_move(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.refuse_move() FROM PUBLIC;


--
-- Name: FUNCTION refuse_rewriting(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.refuse_rewriting() FROM PUBLIC;


--
-- Name: FUNCTION register_tenant(value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.register_tenant(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.register_tenant(value text) TO kos_app;
GRANT ALL ON FUNCTION kos.register_tenant(value text) TO kos_operator;


--
-- Name: FUNCTION release_script(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.release_script(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.release_script(target regclass) TO kos_operator;


--
-- Name: FUNCTION renamed_data(names text[], written text[], image text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.renamed_data(names text[], written text[], image text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.renamed_data(names text[], written text[], image text[]) TO kos_operator;
GRANT ALL ON FUNCTION kos.renamed_data(names text[], written text[], image text[]) TO kos_auditor;


--
-- Name: FUNCTION require_change(name text, schema_name name); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.require_change(name text, schema_name name) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.require_change(name text, schema_name name) TO kos_app;
GRANT ALL ON FUNCTION kos.require_change(name text, schema_name name) TO kos_persona;
GRANT ALL ON FUNCTION kos.require_change(name text, schema_name name) TO kos_operator;


--
-- Name: FUNCTION reveal(tenant uuid, stored jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.reveal(tenant uuid, stored jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.reveal(tenant uuid, stored jsonb) TO kos_mover;


--
-- Name: FUNCTION root_of(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.root_of(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.root_of(target regclass) TO kos_operator;


--
-- Name: FUNCTION rotate_pending(at_least_bytes bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.rotate_pending(at_least_bytes bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.rotate_pending(at_least_bytes bigint) TO kos_operator;


--
-- Name: FUNCTION rotate_tenant_key(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.rotate_tenant_key(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.rotate_tenant_key(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION route_to_shard(tenant_id uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) TO kos_app;
GRANT ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) TO kos_operator;
GRANT ALL ON FUNCTION kos.route_to_shard(tenant_id uuid) TO kos_auditor;


--
-- Name: FUNCTION rows_at(tenant uuid, at bigint, schema_name text, table_name text, keys jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.rows_at(tenant uuid, at bigint, schema_name text, table_name text, keys jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.rows_at(tenant uuid, at bigint, schema_name text, table_name text, keys jsonb) TO kos_operator;


--
-- Name: FUNCTION rows_of(target regclass, tenant uuid, columns text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.rows_of(target regclass, tenant uuid, columns text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.rows_of(target regclass, tenant uuid, columns text[]) TO kos_operator;


--
-- Name: FUNCTION same_key(target regclass, one text, other text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.same_key(target regclass, one text, other text) FROM PUBLIC;


--
-- Name: FUNCTION same_value(of_table regclass, one text, other text, column_name text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.same_value(of_table regclass, one text, other text, column_name text) FROM PUBLIC;


--
-- Name: FUNCTION seal(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.seal(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.seal(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION seal_locked(tenant uuid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.seal_locked(tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.seal_locked(tenant uuid) TO kos_operator;


--
-- Name: FUNCTION sealed_events(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.sealed_events() FROM PUBLIC;


--
-- Name: FUNCTION seen_by_seal(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.seen_by_seal() FROM PUBLIC;


--
-- Name: FUNCTION shape_identity(digest bytea, column_ids text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.shape_identity(digest bytea, column_ids text[]) FROM PUBLIC;


--
-- Name: FUNCTION shape_of(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.shape_of(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION stored_data(columns jsonb, image text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.stored_data(columns jsonb, image text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.stored_data(columns jsonb, image text[]) TO kos_operator;
GRANT ALL ON FUNCTION kos.stored_data(columns jsonb, image text[]) TO kos_auditor;
GRANT ALL ON FUNCTION kos.stored_data(columns jsonb, image text[]) TO kos_mover;


--
-- Name: FUNCTION stored_state(tenant uuid, logged_id integer, at bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.stored_state(tenant uuid, logged_id integer, at bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.stored_state(tenant uuid, logged_id integer, at bigint) TO kos_operator;
GRANT ALL ON FUNCTION kos.stored_state(tenant uuid, logged_id integer, at bigint) TO kos_auditor;


--
-- Name: FUNCTION tag_of(k kos.tenant_keys, column_name text, masked bytea); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.tag_of(k kos.tenant_keys, column_name text, masked bytea) FROM PUBLIC;


--
-- Name: FUNCTION tells_apart(target regclass, columns text[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.tells_apart(target regclass, columns text[]) FROM PUBLIC;


--
-- Name: FUNCTION tenant_expression(target regclass, side text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.tenant_expression(target regclass, side text) FROM PUBLIC;


--
-- Name: FUNCTION tenant_kind(target regclass, column_name text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.tenant_kind(target regclass, column_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.tenant_kind(target regclass, column_name text) TO kos_operator;


--
-- Name: FUNCTION tenant_of(value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.tenant_of(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.tenant_of(value text) TO kos_app;
GRANT ALL ON FUNCTION kos.tenant_of(value text) TO kos_persona;
GRANT ALL ON FUNCTION kos.tenant_of(value text) TO kos_operator;
GRANT ALL ON FUNCTION kos.tenant_of(value text) TO kos_auditor;


--
-- Name: FUNCTION tenant_tables(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.tenant_tables() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.tenant_tables() TO kos_operator;
GRANT ALL ON FUNCTION kos.tenant_tables() TO kos_auditor;


--
-- Name: FUNCTION text_of(value text, type oid); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.text_of(value text, type oid) FROM PUBLIC;


--
-- Name: FUNCTION text_settings(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.text_settings(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION turn(switch regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.turn(switch regclass) FROM PUBLIC;


--
-- Name: FUNCTION unlog_table(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.unlog_table(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION unregister_tenant(value text); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.unregister_tenant(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.unregister_tenant(value text) TO kos_operator;


--
-- Name: FUNCTION unsealed(max_tenants integer); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.unsealed(max_tenants integer) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.unsealed(max_tenants integer) TO kos_operator;


--
-- Name: FUNCTION unsealed_among(tenants uuid[]); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.unsealed_among(tenants uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.unsealed_among(tenants uuid[]) TO kos_operator;


--
-- Name: TABLE pending_1; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.pending_1 TO kos_operator;


--
-- Name: TABLE pending_2; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.pending_2 TO kos_operator;


--
-- Name: FUNCTION unsealed_rows(tenant uuid, newest kos.seals, at_most bigint); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.unsealed_rows(tenant uuid, newest kos.seals, at_most bigint) FROM PUBLIC;


--
-- Name: FUNCTION uuid_v7(); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.uuid_v7() FROM PUBLIC;
GRANT ALL ON FUNCTION kos.uuid_v7() TO kos_app;
GRANT ALL ON FUNCTION kos.uuid_v7() TO kos_persona;
GRANT ALL ON FUNCTION kos.uuid_v7() TO kos_operator;
GRANT ALL ON FUNCTION kos.uuid_v7() TO kos_mover;


--
-- Name: FUNCTION void_log(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.void_log(target regclass) FROM PUBLIC;


--
-- Name: FUNCTION was_logged(target regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.was_logged(target regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.was_logged(target regclass) TO kos_operator;


--
-- Name: FUNCTION what_hides_rows(part regclass); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos.what_hides_rows(part regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION kos.what_hides_rows(part regclass) TO kos_operator;


--
-- Name: FUNCTION "overlay"("char", jsonb); Type: ACL; Schema: kos; Owner: kos_owner
--

REVOKE ALL ON FUNCTION kos."overlay"("char", jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION kos."overlay"("char", jsonb) TO kos_operator;
GRANT ALL ON FUNCTION kos."overlay"("char", jsonb) TO kos_auditor;


--
-- Name: TABLE knowledge_events; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.knowledge_events TO kos_app;
GRANT SELECT ON TABLE kos.knowledge_events TO kos_operator;
GRANT SELECT ON TABLE kos.knowledge_events TO kos_auditor;


--
-- Name: TABLE shapes; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.shapes TO kos_app;
GRANT SELECT ON TABLE kos.shapes TO kos_operator;
GRANT SELECT ON TABLE kos.shapes TO kos_auditor;


--
-- Name: TABLE adopted_product; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.adopted_product TO kos_operator;
GRANT SELECT ON TABLE kos.adopted_product TO kos_auditor;


--
-- Name: TABLE change_actions; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.change_actions TO kos_operator;
GRANT SELECT ON TABLE kos.change_actions TO kos_auditor;


--
-- Name: TABLE change_fills; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.change_fills TO kos_operator;
GRANT SELECT ON TABLE kos.change_fills TO kos_auditor;


--
-- Name: TABLE change_placements; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.change_placements TO kos_operator;
GRANT SELECT ON TABLE kos.change_placements TO kos_auditor;


--
-- Name: TABLE changed_schemas; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.changed_schemas TO kos_operator;
GRANT SELECT ON TABLE kos.changed_schemas TO kos_auditor;


--
-- Name: TABLE changes; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.changes TO kos_operator;
GRANT SELECT ON TABLE kos.changes TO kos_auditor;


--
-- Name: TABLE checkpoints; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.checkpoints TO kos_operator;
GRANT SELECT ON TABLE kos.checkpoints TO kos_auditor;


--
-- Name: TABLE cross_tenant_access; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.cross_tenant_access TO kos_operator;
GRANT SELECT ON TABLE kos.cross_tenant_access TO kos_auditor;


--
-- Name: TABLE enforced_tables; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.enforced_tables TO kos_operator;
GRANT SELECT ON TABLE kos.enforced_tables TO kos_auditor;


--
-- Name: TABLE filled_columns; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.filled_columns TO kos_operator;
GRANT SELECT ON TABLE kos.filled_columns TO kos_auditor;


--
-- Name: TABLE incarnations; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.incarnations TO kos_operator;
GRANT SELECT ON TABLE kos.incarnations TO kos_auditor;


--
-- Name: TABLE knowledge_events_default; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.knowledge_events_default TO kos_app;
GRANT SELECT ON TABLE kos.knowledge_events_default TO kos_operator;
GRANT SELECT ON TABLE kos.knowledge_events_default TO kos_auditor;


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
-- Name: TABLE pending_turn; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.pending_turn TO kos_operator;
GRANT SELECT ON TABLE kos.pending_turn TO kos_auditor;


--
-- Name: TABLE placements; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT ON TABLE kos.placements TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.placements TO kos_operator;
GRANT SELECT ON TABLE kos.placements TO kos_auditor;


--
-- Name: TABLE projection_leavers; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.projection_leavers TO kos_operator;
GRANT SELECT ON TABLE kos.projection_leavers TO kos_auditor;


--
-- Name: TABLE projection_made; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.projection_made TO kos_operator;
GRANT SELECT ON TABLE kos.projection_made TO kos_auditor;


--
-- Name: TABLE projection_parked; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.projection_parked TO kos_operator;
GRANT SELECT ON TABLE kos.projection_parked TO kos_auditor;


--
-- Name: TABLE projection_stores; Type: ACL; Schema: kos; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE kos.projection_stores TO kos_operator;
GRANT SELECT ON TABLE kos.projection_stores TO kos_auditor;


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
-- Name: knowledge_events; Type: VIEW; Schema: knowledge; Owner: kos_owner
--

CREATE VIEW knowledge.knowledge_events WITH (security_invoker='true') AS
 SELECT e.tenant_id,
    e."position",
    kos.event_type(s.table_name, e.operation) AS event_type,
    kos.event_data(s.columns, e.image) AS event_data,
    e.aggregate_id,
    e.occurred_at
   FROM (kos.knowledge_events e
     JOIN kos.shapes s USING (shape_id));


ALTER VIEW knowledge.knowledge_events OWNER TO kos_owner;

--
-- Name: VIEW knowledge_events; Type: COMMENT; Schema: knowledge; Owner: kos_owner
--

COMMENT ON VIEW knowledge.knowledge_events IS 'The log of a tenant''s changes, by position.';


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
-- Name: annotations kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.annotations REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_13ba0c856014f188d45c8461bb9ab3b9();


--
-- Name: atoms kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.atoms REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_c60e28cdc4df474c98e086126898aad2();


--
-- Name: capability_mappings kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.capability_mappings REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_98c740c0bdeb6c3080dd300b690d4ccd();


--
-- Name: documents kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.documents REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_b8df113a68e8e19a574952bfc93949d9();


--
-- Name: implementations kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.implementations REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_2a5e5fcb760c435101ef10fa45753876();


--
-- Name: molecule_atoms kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.molecule_atoms REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_e614d76f0143a6e39a9429007817e26e();


--
-- Name: molecules kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.molecules REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_7c8dc460d1fd50cea200b2c00c961c66();


--
-- Name: relations kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.relations REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_cf4fff11d5be919c5e57ff2323eca247();


--
-- Name: sensitive_atoms kos_capture_delete; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_delete AFTER DELETE ON knowledge.sensitive_atoms REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_6278fcf21078f5fb9556ac81378c6dbf();


--
-- Name: annotations kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.annotations REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_13ba0c856014f188d45c8461bb9ab3b9();


--
-- Name: atoms kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.atoms REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_c60e28cdc4df474c98e086126898aad2();


--
-- Name: capability_mappings kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.capability_mappings REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_98c740c0bdeb6c3080dd300b690d4ccd();


--
-- Name: documents kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.documents REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_b8df113a68e8e19a574952bfc93949d9();


--
-- Name: implementations kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.implementations REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_2a5e5fcb760c435101ef10fa45753876();


--
-- Name: molecule_atoms kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.molecule_atoms REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_e614d76f0143a6e39a9429007817e26e();


--
-- Name: molecules kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.molecules REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_7c8dc460d1fd50cea200b2c00c961c66();


--
-- Name: relations kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.relations REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_cf4fff11d5be919c5e57ff2323eca247();


--
-- Name: sensitive_atoms kos_capture_insert; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_insert AFTER INSERT ON knowledge.sensitive_atoms REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_6278fcf21078f5fb9556ac81378c6dbf();


--
-- Name: annotations kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.annotations FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_13ba0c856014f188d45c8461bb9ab3b9();


--
-- Name: atoms kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_c60e28cdc4df474c98e086126898aad2();


--
-- Name: capability_mappings kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.capability_mappings FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_98c740c0bdeb6c3080dd300b690d4ccd();


--
-- Name: documents kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.documents FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_b8df113a68e8e19a574952bfc93949d9();


--
-- Name: implementations kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.implementations FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_2a5e5fcb760c435101ef10fa45753876();


--
-- Name: molecule_atoms kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.molecule_atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_e614d76f0143a6e39a9429007817e26e();


--
-- Name: molecules kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.molecules FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_7c8dc460d1fd50cea200b2c00c961c66();


--
-- Name: relations kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.relations FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_cf4fff11d5be919c5e57ff2323eca247();


--
-- Name: sensitive_atoms kos_capture_truncate; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_truncate BEFORE TRUNCATE ON knowledge.sensitive_atoms FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_6278fcf21078f5fb9556ac81378c6dbf();


--
-- Name: annotations kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.annotations REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_13ba0c856014f188d45c8461bb9ab3b9();


--
-- Name: atoms kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.atoms REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_c60e28cdc4df474c98e086126898aad2();


--
-- Name: capability_mappings kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.capability_mappings REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_98c740c0bdeb6c3080dd300b690d4ccd();


--
-- Name: documents kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.documents REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_b8df113a68e8e19a574952bfc93949d9();


--
-- Name: implementations kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.implementations REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_2a5e5fcb760c435101ef10fa45753876();


--
-- Name: molecule_atoms kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.molecule_atoms REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_e614d76f0143a6e39a9429007817e26e();


--
-- Name: molecules kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.molecules REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_7c8dc460d1fd50cea200b2c00c961c66();


--
-- Name: relations kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.relations REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_cf4fff11d5be919c5e57ff2323eca247();


--
-- Name: sensitive_atoms kos_capture_update; Type: TRIGGER; Schema: knowledge; Owner: kos_owner
--

CREATE TRIGGER kos_capture_update AFTER UPDATE ON knowledge.sensitive_atoms REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kos.capture_6278fcf21078f5fb9556ac81378c6dbf();


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
-- Name: capability_mappings; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.capability_mappings ENABLE ROW LEVEL SECURITY;

--
-- Name: annotations capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.annotations FOR SELECT TO kos_owner USING (true);


--
-- Name: atoms capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.atoms FOR SELECT TO kos_owner USING (true);


--
-- Name: capability_mappings capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.capability_mappings FOR SELECT TO kos_owner USING (true);


--
-- Name: documents capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.documents FOR SELECT TO kos_owner USING (true);


--
-- Name: implementations capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.implementations FOR SELECT TO kos_owner USING (true);


--
-- Name: molecule_atoms capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.molecule_atoms FOR SELECT TO kos_owner USING (true);


--
-- Name: molecules capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.molecules FOR SELECT TO kos_owner USING (true);


--
-- Name: relations capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.relations FOR SELECT TO kos_owner USING (true);


--
-- Name: sensitive_atoms capture_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY capture_access ON knowledge.sensitive_atoms FOR SELECT TO kos_owner USING (true);


--
-- Name: documents; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.documents ENABLE ROW LEVEL SECURITY;

--
-- Name: implementations; Type: ROW SECURITY; Schema: knowledge; Owner: kos_owner
--

ALTER TABLE knowledge.implementations ENABLE ROW LEVEL SECURITY;

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

CREATE POLICY operator_access ON knowledge.annotations TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: atoms operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.atoms TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: capability_mappings operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.capability_mappings TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: documents operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.documents TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: implementations operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.implementations TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: molecule_atoms operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.molecule_atoms TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: molecules operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.molecules TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: relations operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.relations TO kos_mover, kos_operator USING (true) WITH CHECK (true);


--
-- Name: sensitive_atoms operator_access; Type: POLICY; Schema: knowledge; Owner: kos_owner
--

CREATE POLICY operator_access ON knowledge.sensitive_atoms TO kos_mover, kos_operator USING (true) WITH CHECK (true);


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
GRANT USAGE ON SCHEMA knowledge TO kos_mover;


--
-- Name: TABLE annotations; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.annotations TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.annotations TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.annotations TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.annotations TO kos_mover;


--
-- Name: TABLE atoms; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.atoms TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.atoms TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.atoms TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.atoms TO kos_mover;


--
-- Name: TABLE capability_mappings; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.capability_mappings TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.capability_mappings TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.capability_mappings TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.capability_mappings TO kos_mover;


--
-- Name: TABLE documents; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.documents TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.documents TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.documents TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.documents TO kos_mover;


--
-- Name: TABLE implementations; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.implementations TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.implementations TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.implementations TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.implementations TO kos_mover;


--
-- Name: TABLE knowledge_events; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT ON TABLE knowledge.knowledge_events TO kos_app;
GRANT SELECT ON TABLE knowledge.knowledge_events TO kos_operator;
GRANT SELECT ON TABLE knowledge.knowledge_events TO kos_auditor;


--
-- Name: TABLE molecule_atoms; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecule_atoms TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecule_atoms TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecule_atoms TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecule_atoms TO kos_mover;


--
-- Name: TABLE molecules; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecules TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecules TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecules TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.molecules TO kos_mover;


--
-- Name: TABLE relations; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.relations TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.relations TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.relations TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.relations TO kos_mover;


--
-- Name: TABLE sensitive_atoms; Type: ACL; Schema: knowledge; Owner: kos_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.sensitive_atoms TO kos_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.sensitive_atoms TO kos_persona;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.sensitive_atoms TO kos_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE knowledge.sensitive_atoms TO kos_mover;


--
-- PostgreSQL database dump complete
--



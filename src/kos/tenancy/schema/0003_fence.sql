-- The fence: which tenants this database serves, and at which epoch.
-- oldest library: 1
--
-- A session enters a tenant under a shared advisory lock that lasts as long as its transaction; a cutover takes the
-- exclusive lock, so it starts after everyone who is inside has left, and raises the epoch before it lets anyone in.

create table kos.fence (
  tenant_id   uuid primary key,
  name        text not null unique,
  tier        text not null check (tier in ('row', 'schema', 'database')),
  schema_name text not null,
  epoch       bigint not null check (epoch > 0),
  serving     boolean not null default true,
  adopted     boolean not null default false,
  -- Null where the tables are a product's, in schemas that only its own path knows.
  search_path text generated always as (case when not adopted then quote_ident(schema_name) || ', public, pg_temp' end) stored
);
revoke all on kos.fence from public;
grant select, insert, update, delete on kos.fence to kos_operator;

create function kos.fence_key(tenant_id uuid) returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended(tenant_id::text, 1263489024);

-- Waits for a closed fence, then gives the tenant's row, or raises.
--   KS002 unknown here   KS003 another epoch, or served elsewhere now (retry after looking the placement up again)
-- Assignments instead of PERFORM, here and below: plpgsql evaluates them without a query of their own.
-- The lock and the check are two statements on purpose: a statement's snapshot is taken before it waits, so a check in
-- the locking statement would still see the epoch from before the cutover.
-- Called by enter() and guard() only, under the search path that they pin.
create function kos.pass_fence(tenant uuid, wanted_epoch bigint) returns kos.fence
language plpgsql volatile as $$
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

-- No session may hold a fence for ever: a client that is frozen inside a transaction is ended by the server.
-- A limit that the role has already, if tighter, stays. Called by enter() only.
create function kos.limit_transaction(milliseconds integer) returns text
language plpgsql volatile as $$
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

-- Is this transaction inside that tenant? Its locks say so, which no setting can: an identity that somebody has left in
-- the connection with session scope is no entry, and keeps nobody out. Called by enter() only, where the two differ.
create function kos.is_inside(tenant text) returns boolean
language plpgsql stable as $$
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

-- What kos.enter() does with its owner's rights: pass the fence, and say who is at work. Called by enter() only.
create function kos.admit(
  tenant text,
  epoch bigint,
  persona text,
  user_id text,
  request_id text,
  address inet,
  agent text,
  timeout_ms integer
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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

-- Enter a tenant for the rest of this transaction. The contract for every language:
--
--   begin;
--   select kos.enter('acme');
--
-- `tenant` is a name or an id. `epoch` is what the caller believes; null believes this database. Sets the search path
-- of the tenant's tier for this transaction, and returns it; a tenant of an adopted product keeps the session's own.
-- Errors: KS001 no tenant named, KS002 unknown here, KS003 moved, KS004 this transaction is in another tenant.
-- Who comes with a persona goes on as kos_persona: its policies narrow what is seen, and the application itself never
-- pays for them. That is why this runs with its caller's rights and pins nothing: a role can't be taken on under
-- another's, and what a function pins is undone when it returns.
create function kos.enter(
  tenant text,
  epoch bigint default null,
  persona text default null,
  user_id text default null,
  request_id text default null,
  address inet default null,
  agent text default null,
  timeout_ms integer default 60000
) returns text
language plpgsql volatile as $$
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
grant execute on function
  kos.admit(text, bigint, text, text, text, inet, text, integer),
  kos.enter(text, bigint, text, text, text, inet, text, integer)
  to kos_app, kos_persona, kos_operator, kos_auditor;

-- Nothing forces an application to call enter(), and settings can be set by hand: so every statement that writes to
-- a tenant's table passes the fence again. The lock is held already after enter(), which makes this cheap.
-- An identity without an epoch was not made by enter(), and believes nothing that could be checked: it is none.
create function kos.guard() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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

-- Who is inside a tenant now: the sessions that hold its fence. How long each has been there is hidden from roles
-- without pg_read_all_stats; its transaction's id is not, so whoever looks twice can tell.
-- What PREPARE TRANSACTION has left belongs to no process: its pid is 0.
create function kos.fence_holders(tenant uuid)
returns table (pid integer, transaction text, role_name text, application text, state text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
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

-- Close the fence for the rest of this transaction (waits; the caller sets lock_timeout) and raise the epoch.
create function kos.advance_epoch(tenant uuid) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
grant execute on function kos.fence_holders(uuid), kos.advance_epoch(uuid) to kos_operator;

-- What keeps the rows of a table of tenants apart: row security that also binds its owner, the tenant policy for the
-- application's roles (restrictive: no other policy can widen it), the operator's own policy, and the guard.
-- Repeatable: what differs from that is made anew, so it mends what `kos doctor` finds. It grants nothing, or else a
-- mend could give back what was taken away.
-- The identity is read through a scalar subselect, so it is evaluated once per statement and not once per row.
create function kos.protect(target regclass) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
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

-- What the checks of `kos doctor` ask about: the tables, the roles of applications, and what these may do.

-- Every table in the schemas that kos keeps at a version; and, wherever they are, the tables that hold a part of their
-- rows (partitions, children) or show them (parents: row security asks the policies of the table that is named).
create function kos.kept_tables() returns table (oid oid)
language sql stable set search_path = pg_catalog, pg_temp as $$
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

-- Those of them that row security can bind to a tenant. `kos doctor` lets applications use no other.
create function kos.tenant_tables() returns table (oid oid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select c.oid
    from kos.kept_tables() k
    join pg_class c on c.oid = k.oid
   where c.relkind in ('r', 'p')
     and exists (select from pg_attribute a
                  where a.attrelid = c.oid and a.attname = 'tenant_id' and a.attnum > 0 and not a.attisdropped)
$$;

-- The roles whose rights are an application's: `acts` for kos_app and whoever can act as kos_app, false for what these
-- are members of and for PUBLIC (0). `name` is ready for use in SQL. Not those that stand above tenants: that an
-- application reaches one is a fault by itself (check 7).
-- Before PostgreSQL 16 every membership could be acted on; since then it may be administered only, and who made a
-- role is such a member.
create function kos.application_roles() returns table (oid oid, name text, acts boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
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

-- What those roles were granted on tables and views, as a whole or on columns. Owners are not listed.
create function kos.application_rights() returns table (relation oid, role text, privilege text)
language sql stable set search_path = pg_catalog, pg_temp as $$
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
grant execute on function kos.kept_tables(), kos.tenant_tables(), kos.application_roles(), kos.application_rights()
  to kos_operator, kos_auditor;

-- Work of the operator on all tenants of a database: each has a reason, which is written down first.
-- oldest library: 1

create table kos.cross_tenant_access (
  access_id     bigint generated always as identity primary key,
  role_name     text not null default session_user,
  database_name text not null default current_database(),
  reason        text not null check (reason ~ '\S'),
  began_at      timestamptz not null default clock_timestamp(),
  ended_at      timestamptz  -- null: it goes on, or its session was lost
);
comment on table kos.cross_tenant_access is 'Who has worked on all tenants of this database, when, and why.';
grant select on kos.cross_tenant_access to kos_operator, kos_auditor;

-- The operator is a member of the table's owner, so what it may do is limited by a trigger, and not by grants.
create function kos.keep_cross_tenant_access() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and old.ended_at is null and new.ended_at is not null
     and to_jsonb(old) - 'ended_at' = to_jsonb(new) - 'ended_at' then
    return new;
  end if;
  raise exception 'kos.cross_tenant_access only grows' using errcode = 'KS025', hint = 'what is written there stays';
end $$;
create trigger keep_rows before update or delete on kos.cross_tenant_access
  for each row execute function kos.keep_cross_tenant_access();
create trigger keep_table before truncate on kos.cross_tenant_access
  for each statement execute function kos.keep_cross_tenant_access();

-- Write down who is going to work on all tenants. To be committed before the work begins.
create function kos.begin_cross_tenant_access(reason text) returns bigint
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  insert into kos.cross_tenant_access (reason) values (begin_cross_tenant_access.reason) returning access_id
$$;

-- Once.
create function kos.end_cross_tenant_access(access_id bigint) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update kos.cross_tenant_access a set ended_at = clock_timestamp()
   where a.access_id = end_cross_tenant_access.access_id and a.ended_at is null and a.role_name = session_user
$$;
grant execute on function kos.begin_cross_tenant_access(text), kos.end_cross_tenant_access(bigint) to kos_operator;

-- What this transaction was begun for, by `kos.crossing`; null where that names nothing of this very login: anybody can
-- set a setting. Called by guards and capture.
create function kos.crossing() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('all tenants, access %s: %s', a.access_id, a.reason)
    from kos.cross_tenant_access a
   where a.access_id = nullif(current_setting('kos.crossing', true), '')::bigint
     and a.ended_at is null and a.role_name = session_user
$$;

-- What its events say: who, and why.
create function kos.crossing_context() returns text[]
language sql stable set search_path = pg_catalog, pg_temp
return case when kos.crossing() is not null then array[session_user, '', '', '', '', kos.crossing()] end;

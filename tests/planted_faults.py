"""What breaks the isolation of tenants: the checks that must find it (all of them, and no other), on what, and the SQL.

The SQL is run by a superuser in a transaction of test_isolation_checks.py that is rolled back.
"""

from __future__ import annotations

OWNER = "set role kos_owner; "
BOUND = "tenant_id = (select kos.current_tenant_id())"
DISGUISED = (
    "create schema planted; grant usage on schema planted to public; "
    "create function planted.agree(uuid, uuid) returns boolean language sql immutable return true; "
    "create operator planted.= (function = planted.agree, leftarg = uuid, rightarg = uuid); "
    "set local search_path = planted, kos, pg_catalog; "
)

PLANTED = [
    # row security
    ("row_security", "knowledge.atoms", "alter table knowledge.atoms disable row level security"),
    ("row_security", "knowledge.molecules", "alter table knowledge.molecules no force row level security"),
    ("row_security", "tenant_of_schema.atoms", "alter table tenant_of_schema.atoms disable row level security"),
    # the tenant policy
    ("tenant_policy", "knowledge.relations", "drop policy tenant_isolation on knowledge.relations"),
    ("tenant_policy", "knowledge.atoms", "alter policy tenant_isolation on knowledge.atoms using (true)"),
    ("tenant_policy", "knowledge.atoms", "alter policy tenant_isolation on knowledge.atoms with check (true)"),
    (
        "tenant_policy",
        "knowledge.atoms",
        f"alter policy tenant_isolation on knowledge.atoms using ({BOUND} or true) with check ({BOUND})",
    ),
    (
        "tenant_policy",
        "knowledge.atoms",
        f"alter policy tenant_isolation on knowledge.atoms using ({BOUND}) with check ({BOUND} or true)",
    ),
    (
        "tenant_policy",  # a persona is not bound
        "knowledge.atoms",
        f"drop policy tenant_isolation on knowledge.atoms; "
        f"create policy tenant_isolation on knowledge.atoms as restrictive to kos_app using ({BOUND})",
    ),
    (
        "tenant_policy",
        "knowledge.atoms",
        f"drop policy tenant_isolation on knowledge.atoms; "
        f"create policy tenant_isolation on knowledge.atoms to kos_app using ({BOUND})",
    ),
    (
        "tenant_policy",
        "knowledge.atoms",
        f"drop policy tenant_isolation on knowledge.atoms; "
        f"create policy tenant_isolation on knowledge.atoms as restrictive for select to kos_app using ({BOUND})",
    ),
    ("tenant_policy", "knowledge.atoms", "alter policy tenant_isolation on knowledge.atoms to kos_auditor"),
    (
        "tenant_policy",
        "knowledge.atoms",
        f"{DISGUISED} alter policy tenant_isolation on knowledge.atoms "
        "using (tenant_id operator(planted.=) (select kos.current_tenant_id()))",
    ),
    (
        "tenant_policy",
        "knowledge.atoms",
        "create schema planted; "
        "create function planted.current_tenant_id() returns uuid language sql return null::uuid; "
        "alter policy tenant_isolation on knowledge.atoms using (tenant_id = (select planted.current_tenant_id()))",
    ),
    # other policies
    (
        "wide_policies",
        "knowledge.atoms",
        "create policy planted on knowledge.atoms for select using (true)",
    ),
    ("wide_policies", "knowledge.atoms", "create policy planted on knowledge.atoms to kos_owner using (true)"),
    (
        "wide_policies",
        "knowledge.atoms",
        "create role planted_web noinherit; grant kos_app to planted_web; "
        "create policy planted on knowledge.atoms to planted_web using (true)",
    ),
    # the guard
    ("guard", "knowledge.documents", "alter table knowledge.documents disable trigger kos_guard"),
    ("guard", "knowledge.documents", "alter table knowledge.documents enable replica trigger kos_guard"),
    ("guard", "knowledge.documents", "alter table knowledge.documents disable trigger kos_guard_truncate"),
    ("guard", "knowledge.documents", "drop trigger kos_guard on knowledge.documents"),
    ("guard", "knowledge.documents", "drop trigger kos_guard_truncate on knowledge.documents"),
    *(
        (
            "guard",
            table,
            f"create or replace trigger kos_guard {fires} on {table} {each} execute function kos.guard()",
        )
        for table in ("knowledge.documents", "knowledge.relations")
        for fires, each in (
            ("before insert or update or delete", "when (current_user = 'nobody')"),
            ("before insert or update", ""),
            ("before insert or delete", ""),
            ("before update or delete", ""),
            ("before insert or update of tenant_id or delete", ""),
            ("after insert or update or delete", ""),
            ("before insert or update or delete", "for each row"),
        )
    ),
    (
        "guard",
        "knowledge.documents",
        "create or replace trigger kos_guard_truncate after truncate on knowledge.documents "
        "execute function kos.guard()",
    ),
    (
        "guard",
        "knowledge.documents",
        "create function public.planted() returns trigger language plpgsql as 'begin return null; end'; "
        "create or replace trigger kos_guard before insert or update or delete on knowledge.documents "
        "execute function public.planted()",
    ),
    # keys
    ("tenant_in_keys", "knowledge.documents", "create unique index planted on knowledge.documents (title)"),
    (
        "tenant_in_keys",
        "knowledge.documents",
        "create unique index planted on knowledge.documents (title) include (tenant_id)",
    ),
    (
        "tenant_in_keys",
        "knowledge.documents",
        "alter table knowledge.documents add constraint planted exclude using btree (title with =)",
    ),
    (
        "tenant_in_keys",
        "knowledge.annotations",
        "alter table knowledge.atoms add column by uuid, add unique (tenant_id, by); "
        "alter table knowledge.annotations add column other uuid, add constraint planted "
        "foreign key (other, tenant_id) references knowledge.atoms (tenant_id, by)",
    ),
    (
        "tenant_in_keys",
        "public.planted",
        "create table public.planted (tenant_id uuid, atom uuid, foreign key (tenant_id, atom) references "
        "knowledge.atoms); grant insert on public.planted to public",
    ),
    # views
    ("views", "public.planted", "create view public.planted as select * from knowledge.atoms"),
    (
        "views",
        "public.planted",
        "create view public.planted with (security_invoker = false, check_option = local) as "
        "select * from knowledge.atoms",
    ),
    (
        "views",
        "public.planted",
        "create view public.inner_one with (security_invoker = yes) as select * from knowledge.atoms; "
        "create view public.planted as select * from public.inner_one",
    ),
    (
        "views",
        "public.planted",
        "create materialized view public.copied as select * from knowledge.atoms; "
        "create view public.planted as select * from public.copied; grant select on public.planted to kos_app",
    ),
    (
        "views",
        "public.planted",
        "create materialized view public.planted as select * from knowledge.atoms; "
        "grant select on public.planted to kos_app, public",
    ),
    (
        "views",
        "public.planted",
        "create view public.inner_one with (security_invoker) as select * from knowledge.atoms; "
        "create materialized view public.planted as select * from public.inner_one; "
        "grant select (name) on public.planted to kos_app",
    ),
    (
        "rules",
        "knowledge.atoms",
        "create rule planted as on delete to knowledge.atoms do instead nothing",
    ),
    # functions
    (
        "definer_functions",
        "public.planted()",
        "create function public.planted() returns int language sql security definer return 1",
    ),
    # tables that can't be protected
    (
        "unprotected_tables",
        "knowledge.planted",
        "create table knowledge.planted (name text); grant select on knowledge.planted to kos_app",
    ),
    (
        "unprotected_tables",
        "tenant_of_schema.planted",
        "create table tenant_of_schema.planted (name text); grant insert on tenant_of_schema.planted to public",
    ),
    (
        "unprotected_tables",
        "knowledge.planted",
        "create table knowledge.planted (name text); grant update (name) on knowledge.planted to kos_app",
    ),
    (
        "unprotected_tables",
        "knowledge.planted",
        "create role planted_web; grant kos_app to planted_web; create role planted_readers; "
        "grant planted_readers to planted_web; "
        "create table knowledge.planted (name text); grant select on knowledge.planted to planted_readers",
    ),
    (
        "unprotected_tables",
        "public.planted",
        "create table public.planted (name text not null); alter table knowledge.atoms inherit public.planted; "
        "grant select on public.planted to kos_app",
    ),
    (
        "unprotected_tables",
        "public.planted",
        "create foreign data wrapper planted; create server planted foreign data wrapper planted; "
        "create foreign table public.planted () inherits (knowledge.atoms) server planted; "
        "grant select on public.planted to kos_app",
    ),
    (
        "unprotected_tables",
        "knowledge.planted",
        "create foreign data wrapper planted; create server planted foreign data wrapper planted; "
        "create foreign table knowledge.planted (tenant_id uuid) server planted; "
        "grant select on knowledge.planted to public",
    ),
    # tables that could be, and are not
    (
        "row_security tenant_policy guard",
        "knowledge.planted",
        f"{OWNER} create table knowledge.planted (tenant_id uuid, name text)",
    ),
    (
        "row_security tenant_policy guard",
        "public.planted",
        "create table public.planted () inherits (knowledge.atoms); alter table public.planted owner to kos_owner",
    ),
    (
        "row_security tenant_policy guard",
        "public.planted",
        "create table public.planted (tenant_id uuid not null); alter table knowledge.atoms inherit public.planted; "
        "alter table public.planted owner to kos_owner",
    ),
    # rights
    *(
        ("table_rights", "knowledge.atoms", f"grant {right} on knowledge.atoms to {role}")
        for right in ("truncate", "trigger", "references", "references (id)")
        for role in ("kos_app", "public")
    ),
    (
        "table_rights",
        "knowledge.atoms",
        "grant all on knowledge.atoms to kos_app",
    ),
    (
        "table_rights",
        "knowledge.atoms",
        "create role planted_web; grant kos_app to planted_web; grant truncate on knowledge.atoms to planted_web",
    ),
    *(
        ("control_tables", f"kos.{table}", f"grant {right} on kos.{table} to {role}")
        for table, right, role in (
            ("fence", "update", "kos_app"),
            ("fence", "select", "kos_app"),
            ("fence", "update (epoch)", "public"),
            ("tenants", "insert", "kos_app"),
            ("tenants", "update (state)", "kos_app"),
            ("placements", "delete", "public"),
            ("schema_versions", "delete", "kos_app"),
            ("object_holds", "all", "kos_app"),
            ("feed_cursors", "truncate", "kos_app"),
            ("feed_cursors", "update", "public"),
        )
    ),
    (
        "control_functions",
        "kos.advance_epoch(tenant uuid)",
        "grant execute on function kos.advance_epoch to kos_app",
    ),
    (
        "control_functions",
        "kos.fence_holders(tenant uuid)",
        "grant execute on function kos.fence_holders to kos_app, public",
    ),
    (
        "control_functions",
        "kos.enter(planted integer)",
        f"{OWNER} create function kos.enter(planted integer) returns int language sql security definer "
        "set search_path = pg_catalog, pg_temp return 1; grant execute on function kos.enter(integer) to kos_app",
    ),
    ("schema_rights", "kos", "grant create on schema kos to kos_app"),
    ("schema_rights", "knowledge", "grant create on schema knowledge to public"),
    (
        "schema_rights",
        "tenant_of_schema",
        "grant all on schema tenant_of_schema to kos_app with grant option; set role kos_app; "
        "grant create on schema tenant_of_schema to kos_auditor, public",
    ),
    # owners
    ("owners", "knowledge.atoms", "alter table knowledge.atoms owner to kos_app"),
    ("owners", "knowledge", "alter schema knowledge owner to kos_app"),
    ("owners", "kos.fence", "alter table kos.fence owner to kos_app"),
    ("owners", "kos.tenant_shards", "alter view kos.tenant_shards owner to kos_operator"),
    (
        "owners",
        "kos.current_tenant_id()",
        "create role planted; alter function kos.current_tenant_id owner to planted",
    ),
    (
        "owners",
        "knowledge.atoms",
        "create role planted_web; grant kos_app to planted_web; alter table knowledge.atoms owner to planted_web",
    ),
    # roles
    ("roles", "kos_auditor", "alter role kos_auditor bypassrls"),
    *(
        ("roles", "kos_app", f"alter role kos_app {power}")
        for power in ("superuser", "bypassrls", "createrole", "replication")
    ),
    ("roles", "planted_web", "create role planted_web bypassrls; grant kos_app to planted_web"),
    (
        "roles",
        "planted_web",
        "create role planted_web bypassrls; create role planted_team; grant kos_app to planted_team; "
        "grant planted_team to planted_web",
    ),
    *(("roles", "kos_app", f"grant {role} to kos_app") for role in ("kos_owner", "kos_operator", "kos_auditor")),
    ("roles", "kos_app", "grant pg_write_all_data to kos_app"),
    ("roles", "kos_app", "create role planted_web; grant kos_app to planted_web; grant kos_owner to kos_app"),
    ("roles", "kos_app", "create role planted superuser; grant planted to kos_app"),
    (
        "roles",
        "kos_app",
        "create role planted noinherit; grant kos_owner to planted; grant planted to kos_app",
    ),
    (
        "roles",
        "planted_web",
        "create role planted_web; grant kos_app to planted_web; create role planted; grant kos_operator to planted; "
        "create role planted_far; grant planted to planted_far; grant planted_far to planted_web",
    ),
    ("roles", "planted_web", "create role planted_web noinherit; grant kos_app, kos_owner to planted_web"),
    (
        "roles",
        "kos_app",
        "create role planted; grant kos_owner to planted with admin option; "
        "grant kos_owner to kos_app with admin option granted by planted; "
        "create role planted_more; grant kos_owner to planted_more granted by kos_app",
    ),
    # switches
    (
        "triggers_off",
        "kos_app in product",
        "alter role kos_app in database product set session_replication_role = replica",
    ),
    ("triggers_off", "every role in product", "alter database product set session_replication_role = replica"),
    ("triggers_off", "kos_app", "alter role kos_app set session_replication_role = replica"),
    ("triggers_off", "kos_app", "grant set on parameter session_replication_role to kos_app"),
    # versions
    (
        "placements_behind",
        "tenant_of_schema",
        "delete from kos.schema_versions where schema_name = 'tenant_of_schema' and version > 1",
    ),
    # what is gone
    ("tables_missing", "of-schema", "drop schema tenant_of_schema cascade"),
    # adopted tables
    (
        "enforced_tables",
        "public.planted",
        "create table public.planted (account_id bigint); insert into kos.enforced_tables (relation, root, "
        "tenant_column, row_security, forced) values ('public.planted', 'public.planted', 'account_id', false, false)",
    ),
    (
        "enforced_tables",
        "public.planted",
        "create table public.planted (account_id bigint); "
        "alter table public.planted enable row level security, force row level security; "
        "create policy kos_tenant_isolation on public.planted as restrictive using (true); "
        "create policy kos_access on public.planted using (true); "
        "create policy before on public.planted using (true); create policy later on public.planted using (true); "
        "create trigger kos_guard before insert or update or delete on public.planted "
        "execute function kos.guard_adopted(); "
        "insert into kos.enforced_tables (relation, root, tenant_column, row_security, forced, policies) "
        "values ('public.planted', 'public.planted', 'account_id', false, false, '{before}')",
    ),
]
SINCE_16 = [
    ("roles", "kos_app", f"grant kos_owner to kos_app with {options}")
    for options in ("inherit true, set false", "inherit false, set true", "inherit false, set false, admin true")
]
SINCE_17 = [("table_rights", "knowledge.atoms", "grant maintain on knowledge.atoms to kos_app")]

HARMLESS = [
    "create policy planted on knowledge.atoms as restrictive to kos_app using (name <> 'secret') with check (true)",
    "create policy planted on knowledge.atoms for select to kos_auditor using (true)",
    "create view public.planted with (security_invoker = on, check_option = cascaded) as "
    "select * from knowledge.atoms; "
    "create view public.planted_more with (security_invoker) as select * from public.planted; "
    "grant select on public.planted, public.planted_more to kos_app",
    "create materialized view public.planted as select * from knowledge.atoms; "
    "grant select on public.planted to kos_operator",
    "create table knowledge.planted (name text); grant all on knowledge.planted to kos_operator",
    "create table public.planted (tenant_id uuid, atom uuid, foreign key (tenant_id, atom) references knowledge.atoms)",
    "create table public.planted (name text); grant all on public.planted to kos_app",
    "grant truncate, references on knowledge.atoms to kos_operator; grant select (name), update (name) on "
    "knowledge.atoms to kos_app with grant option",
    "create unique index planted on knowledge.documents (title, tenant_id)",
    "create role planted_web; grant kos_app to planted_web; create policy planted on knowledge.atoms to planted_web "
    "using (true)",
    "create role planted_ops; grant kos_operator, pg_read_all_data to planted_ops; grant update on kos.fence to "
    "planted_ops",
    "create role planted; grant planted to kos_app; grant pg_signal_backend to planted",
    "alter role kos_operator in database product set session_replication_role = replica",
    "set local search_path = kos, public",
    "alter table knowledge.atoms enable always trigger kos_guard",
]
HARMLESS_SINCE_16 = [
    "create role planted createrole; grant kos_owner to planted; "
    "grant kos_app to planted with admin true, inherit false, set false",
    "grant kos_owner to kos_app with admin false, inherit false, set false",
]

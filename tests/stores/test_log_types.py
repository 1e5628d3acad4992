"""Images: every value comes back from the log as it is stored, whatever the writing session's settings."""

from __future__ import annotations

import psycopg
import pytest
from logged_table import ACME, Connection, assert_exact, differences, events, log, make, seal

from suites import short

TYPES = """
create type mood as enum ('\\sad', 'ok', '');
create type pair as (a text, b integer);
create domain slashes as text check (value like '\\\\%');
create domain many as integer[]
"""
VALUES: dict[str, list[str]] = {
    "real": ["'NaN'", "'-Infinity'", "'-0'", "'0'", "1.1", "3.4028235e38", "1e-45"],
    "double precision": ["'NaN'", "'Infinity'", "'-0'", "'0'", "0.1 + 0.2", "5e-324"],
    "numeric": ["'NaN'", "'Infinity'", "'-Infinity'", "1.0", "1.00", "1e100", "0.000"],
    "numeric(10, 3)": ["1", "1.5"],
    "boolean": ["true", "false"],
    "bytea": [r"'\x5c5c'", "''", r"'\x005c4e'", r"'\xff'"],
    "text": [
        r"E'\\N'",
        r"E'\\\\N'",
        r"E'\\'",
        r"E'\\A'",
        r"E'\\H00'",
        "'null'",
        "'NULL'",
        "''",
        r"E'a\nb\tc'",
        "'{a,\"b}'",
        "'ü€😀'",
    ],
    "varchar(5)": ["'a'", "'a  '", r"E'\\N'"],
    "char(5)": ["'a'", "''", r"E'\\N'"],
    '"char"': ["'a'", "''", r"E'\\134'", r"E'\\200'"],
    "name": ["'n'", r"E'\\N'"],
    "text[]": ["'{}'", r"array[E'\\N', null, 'NULL', '', '{', ' ']", "'[2:3]={a,b}'", "'{{a,b},{c,d}}'"],
    "float8[]": ["'{NaN,-0,0.1}'"],
    "bytea[]": [r"array['\x5c00'::bytea]"],
    "date[]": ["array['2024-02-03'::date, 'infinity']"],
    "int4range": ["'empty'", "'[1,5)'", "'(,)'"],
    "tstzrange": ["'[2024-02-03 04:05:06+00,infinity)'"],
    "nummultirange": ["'{}'", "'{[1.0,2.00),[3,4)}'"],
    "mood": [r"E'\\sad'", "''", "'ok'"],
    "mood[]": [r"array[E'\\sad'::mood, '']"],
    "pair": ["row('a \"b\"', 1)", r"row(E'\\N', null)", "row(null, null)", "null::pair"],
    "slashes": [r"E'\\N'", r"E'\\\\'"],
    "many": ["'{1,2}'"],
    "jsonb": ["'null'", "'{\"a\": 1.0}'", "'{\"a\": 1.00}'", r"""'"\\N"'"""],
    "json": ["'null'", '\'{"a":1, "a":  2}\'', "' {} '"],
    "xml": ["'<a>b</a>'", "''", r"E'\\N'"],
    "interval": ["'1 day'", "'24:00'", "'-1 mon +2 days -03:04:05.6'", "'1 year -1 day'"],
    "timestamptz": [
        "'2024-02-03 04:05:06.789+02'",
        "'infinity'",
        "'0044-03-15 12:00 BC'",
        "'294276-12-31 23:59:59.999999+00'",
    ],
    "timestamp": ["'2024-02-03 04:05:06'", "'-infinity'"],
    "timetz": ["'04:05:06+02'", "'24:00:00-07'"],
    "time": ["'24:00'", "'00:00:00.000001'"],
    "date": ["date '2024-02-03'", "'infinity'", "date '0044-03-15 BC'"],
    "money": ["'1234.56'::numeric::money", "(-0.5)::numeric::money"],
    "inet": ["'10.0.0.1'", "'10.0.0.1/24'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "bit varying": ["B'101'", "B''"],
    "bit(4)": ["B'1010'"],
    "tsvector": [r"""E'\'\\\\N\':1A b'""", "''"],
    "point": ["'(0.1,-0)'"],
    "polygon": ["'((0.1,0.2),(1,1),(2,0))'"],
    "uuid": [f"'{ACME}'"],
    "pg_lsn": ["'16/B374D848'"],
}
EXTENSIONS = {
    "citext": ("citext", [r"E'\\N'", "'A'", "'a'"]),
    "hstore": ("hstore", ["'a=>NULL, b=>\"NULL\"'", r"""E'"\\\\"=>x'""", "''"]),
    "ltree": ("ltree", ["'a.b'", "''"]),
    "vector": ("vector", ["'[1,2.5,-0.1]'", "'[1,2.5,-0.2]'"]),
}
SESSIONS = {
    "default": "",
    "foreign": "set datestyle = 'SQL, DMY'; set timezone = 'Asia/Kathmandu'; set extra_float_digits = 0;"
    "set bytea_output = 'escape'; set intervalstyle = 'sql_standard'; set xmlbinary = hex; set lc_monetary = 'C.UTF-8'",
    "german": "set datestyle = 'German'; set intervalstyle = 'iso_8601'; set extra_float_digits = -15;"
    " set standard_conforming_strings = off",
}


def _write(superuser: Connection, kind: str, values: list[str], session: str) -> None:
    make(
        superuser,
        f"create table things (id integer generated always as identity primary key, v {kind}, w integer default 0)",
    )
    log(superuser, tenant=None)
    # The values mean the same in every session; only the statements that write them are in the foreign one.
    superuser.execute(f"create table source (number integer, v {kind})")
    for number, value in enumerate([*values, "null"]):
        superuser.execute(f"insert into source values ({number}, {value})")
    superuser.execute(SESSIONS[session] or "select")
    superuser.execute("insert into things (v) select v from source order by number")
    superuser.execute("insert into things (v) select null from source")
    superuser.execute("update things t set v = s.v from source s where t.id = s.number + 2")
    superuser.execute("update things set w = 1 where id % 2 = 0; update things set v = v")
    superuser.execute("delete from things where id = 1")
    superuser.execute("insert into things (v) select v from source where number = 0")
    superuser.execute("reset all")


def _has_xml(superuser: Connection) -> bool:
    try:
        superuser.execute("select '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


@pytest.mark.parametrize("session", short(SESSIONS, "foreign"))
def test_values_of_every_type(superuser: Connection, session: str) -> None:
    superuser.execute(TYPES)
    failed = []
    for kind, values in VALUES.items():
        if kind == "xml" and not _has_xml(superuser):
            continue
        _write(superuser, kind, values, session)
        seal(superuser)
        found = superuser.execute("select key, logged -> 'v', found -> 'v' from kos.compare_log('things')").fetchall()
        if found or differences(superuser):
            failed.append((kind, found, differences(superuser)))
        superuser.execute(
            "drop table things, source; truncate kos.knowledge_events, kos.seals, kos.pending_1, kos.pending_2"
        )
        superuser.execute("delete from kos.logged_tables where relation not in (select oid from pg_class)")
    assert failed == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_values_of_extensions(superuser: Connection, extension: str) -> None:
    if superuser.execute("select from pg_available_extensions where name = %s", (extension,)).fetchone() is None:
        pytest.skip(f"there is no {extension} here")
    superuser.execute(f"create extension if not exists {extension}")
    kind, values = EXTENSIONS[extension]
    _write(superuser, kind, values, "foreign")
    assert_exact(superuser)


KEYS = {
    "numeric": ("1.0", "1.00", "2"),
    "double precision": ("0", "'-0'", "2"),
    "interval": ("'1 day'", "'24:00'", "'2 days'"),
    "jsonb": ("'1.0'", "'1.00'", "'2'"),
    "citext": ("'a'", "'A'", "'b'"),
    "ltree": ("'a'", "'a.b'", "'b'"),
    "char(3)": ("'a'", "'b'", "'c'"),
    "text": ("'a'", r"E'\\N'", "'c'"),
    "numeric[]": ("'{1.0}'", "'{1.00}'", "'{2}'"),
    "text collate without_case": ("'a'", "'A'", "'b'"),
}


WITHOUT_CASE = "create collation without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "with a trigger"])
@pytest.mark.parametrize("kind", KEYS)
def test_keys_that_are_equal_and_differ(superuser: Connection, kind: str, nested: bool) -> None:
    """A log knows a row by its key's text; 1.0 and 1.00 are one key to the index, and two texts."""
    if kind in EXTENSIONS:
        if superuser.execute("select from pg_available_extensions where name = %s", (kind,)).fetchone() is None:
            pytest.skip(f"there is no {kind} here")
        superuser.execute(f"create extension if not exists {kind}".encode())
    if "without_case" in kind:
        try:
            superuser.execute(WITHOUT_CASE)
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this server was built without ICU")
    one, same, other = KEYS[kind]
    make(superuser, f"create table things (id {kind} primary key, v text)")
    if nested:
        superuser.execute(
            "create function f() returns trigger language plpgsql as $$ begin return new; end $$;"
            "create trigger f after update on things for each row execute function f()"
        )
    log(superuser, tenant=None)
    superuser.execute(f"insert into things values ({one}, 'x'), ({other}, 'y')")
    superuser.execute(f"update things set id = {same} where id = {one}")
    assert_exact(superuser)
    superuser.execute("update things set v = v || '!'")
    assert_exact(superuser)
    superuser.execute("with gone as (delete from things returning *) insert into things select id, 'again' from gone")
    assert_exact(superuser)


def test_columns_beside_the_key_are_no_part_of_it(superuser: Connection) -> None:
    make(superuser, "create table things (id integer, v text, primary key (id) include (v))")
    log(superuser, tenant=None)
    superuser.execute("insert into things values (1, 'a'); update things set v = 'b'; update things set v = null")
    assert_exact(superuser)
    assert [operation for operation, _ in events(superuser)] == ["I", "U", "U"]


@pytest.mark.parametrize("how", ["digest", "absent"])
def test_sensitive_columns(superuser: Connection, how: str) -> None:
    make(
        superuser,
        "create table things (tenant_id uuid not null, id integer primary key, secret text, pin integer, v text)",
    )
    superuser.execute(f"insert into things select '{ACME}', n, 'open sesame', 4711, 'v' from generate_series(1, 2) n")
    superuser.execute("truncate things")
    log(superuser, sensitive=f'{{"secret": "{how}", "pin": "{how}"}}', baseline="lazy")
    superuser.execute(
        f"insert into things values ('{ACME}', 1, 'open sesame', 4711, 'a'), ('{ACME}', 2, null, null, 'b')"
    )
    superuser.execute("update things set secret = 'open sesame 2', pin = 4712 where id = 1; update things set v = 'c'")
    superuser.execute("alter table things rename secret to hidden")
    superuser.execute("update things set hidden = 'open sesame 3'; delete from things where id = 2")
    superuser.execute("select kos.refresh_captures()")
    superuser.execute("update things set hidden = 'open sesame 4'")
    assert_exact(superuser, without=("hidden", "pin"))
    kept = superuser.execute(
        "select v from (select image, before from kos.knowledge_events"
        " union all select image, before from kos.pending_1) e,"
        " unnest(e.image || e.before) v where v is not null"
    ).fetchall()
    assert ("c",) in kept
    # Whole numbers are looked for: their digits may stand in a digest.
    assert [value for (value,) in kept if "sesame" in value or value in ("4711", "4712")] == []
    (_, first), (_, second), *_ = events(superuser)
    assert first["secret"].startswith("sha256:" if how == "digest" else "[absent]")
    assert second["secret"] is None


LIKE_A_UUID = ("12345678" + "-" * 28, "12345678-1234-1234-1234-12345678901", "12345678-1234-1234-1234-12345678901g",
               "ABCDEF01-1234-1234-1234-123456789012", "é2345678-1234-1234-1234-123456789012", "-" * 36)  # fmt: skip


def test_a_key_that_looks_like_a_uuid_and_is_none_is_sealed_like_others(superuser: Connection) -> None:
    """Its event's number is made; that of a uuid is the uuid."""
    real = "12345678-1234-1234-1234-123456789012"
    make(superuser, "create table things (tenant_id uuid not null, id text primary key)")
    log(superuser)
    for key in (*LIKE_A_UUID, real):
        superuser.execute("insert into things values (%s, %s)", (ACME, key))
    assert seal(superuser) == len(LIKE_A_UUID) + 1
    found = dict(superuser.execute("select key[1], aggregate_id::text from kos.knowledge_events").fetchall())
    assert found.pop(real) == real
    assert len(set(found.values())) == len(LIKE_A_UUID)
    assert not {key for key in LIKE_A_UUID if found[key] == key.lower()}


def test_every_event_has_a_salt_of_its_own_and_no_two_seals_have_the_same(superuser: Connection) -> None:
    make(superuser, "create table things (tenant_id uuid not null, id integer primary key)")
    log(superuser)
    for first in (1, 101):
        superuser.execute(
            "insert into things select %s, n from generate_series(%s::int, %s) n", (ACME, first, first + 99)
        )
        assert seal(superuser) == 100
    assert superuser.execute("select count(distinct salt) from kos.knowledge_events").fetchone() == (200,)


# A type's owner may say how it becomes text, and capture runs as kos_owner: it must never ask.
FORGING = """
create type size as enum ('small', 'large');
create type span as (a text, b integer);
create table casts (type text, as_role text);
grant insert on casts to public;
create function forged_size(size) returns text language plpgsql as
  $$ begin insert into public.casts values ('size', current_user); return 'forged'; end $$;
create function forged_sizes(size[]) returns text language plpgsql as
  $$ begin insert into public.casts values ('sizes', current_user); return '{forged}'; end $$;
create function forged_span(span) returns text language plpgsql as
  $$ begin insert into public.casts values ('span', current_user); return '(forged,1)'; end $$;
create cast (size as text) with function forged_size(size);
create cast (size[] as text) with function forged_sizes(size[]);
create cast (span as text) with function forged_span(span);
create domain any_size as size;
create table things (
  tenant any_size not null, id size not null, s size, many size[], d any_size, p span, encrypted size, digest span,
  absent size, note text, primary key (tenant, id))
"""
HIDDEN = '{"encrypted": "encrypted", "digest": "digest", "absent": "absent"}'
FORGETFUL = """
create or replace function kos.text_of(value text, type oid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$ select value || '::text' $$
"""


def _write_sizes(superuser: Connection) -> list[str]:
    """Write to that table in every way; for which types somebody's cast was asked, and as whom."""
    make(superuser, FORGING)
    log(superuser, tenant="tenant", sensitive=HIDDEN, baseline="lazy")
    superuser.execute(
        "insert into things select t, i, 'small', '{small,large}', 'large', row('a', 1)::span, 'large',"
        " row('b', null)::span, 'small', 'n'"
        "  from unnest(enum_range(null::size)) t, unnest(enum_range(null::size)) i"
    )
    superuser.execute(
        "update things set s = null, d = 'small', p = row(null, null), encrypted = 'small' where id = 'small'"
    )
    superuser.execute(
        "update things set id = 'large' where id = 'large' and tenant::size = 'small'; update things set note = 'm'"
    )
    superuser.execute("delete from things where tenant::size = 'large' and id = 'small'")
    superuser.execute("alter table things add column more size default 'large'")  # composed anew by each statement
    superuser.execute("update things set more = 'small'")
    return [f"{type_} as {role}" for type_, role in superuser.execute("select distinct * from casts order by 1, 2")]


def test_no_cast_of_a_products_own_is_asked(superuser: Connection) -> None:
    assert _write_sizes(superuser) == []
    assert_exact(superuser, without=("digest", "absent"))
    first = events(superuser)[0][1]
    assert {name: first[name] for name in ("s", "many", "d", "p")} == {
        "s": "small", "many": "{small,large}", "d": "large", "p": "(a,1)",
    }  # fmt: skip
    superuser.execute("select kos.rows_of('things', kos.tenant_of('small'), null)")
    superuser.execute("truncate things")
    assert superuser.execute("select from casts").rowcount == 0


def test_a_cast_that_is_asked_is_found_out(superuser: Connection) -> None:
    """The control: with casts, those functions have the rights of kos_owner, and the log what they say."""
    superuser.execute("set role kos_owner")
    superuser.execute(FORGETFUL)
    superuser.execute("reset role")
    assert "size as kos_owner" in _write_sizes(superuser)


DOMAIN_KEYS = {
    "char(2)": ("'DE'", "'DK'"),
    "bit(3)": ("B'101'", "B'100'"),
    "numeric(3, 1)": ("1.0", "1.1"),
    "varchar(3)": ("'ab'", "'ac'"),
    "char(2)[]": ("'{DE}'", "'{DK}'"),
    "integer[]": ("'{1}'", "'{1,2}'"),
    "int4range": ("'[1,3)'", "'[1,4)'"),
    "mood": ("'ok'", "''"),
    "pair": ("row('a', 1)", "row('a', 2)"),
}


@pytest.mark.parametrize("of", DOMAIN_KEYS)
def test_keys_of_a_domain(superuser: Connection, of: str) -> None:
    one, other = DOMAIN_KEYS[of]
    superuser.execute(f"{TYPES}; create domain known as {of}; create domain key as known")
    make(superuser, "create table things (k key primary key, v integer)")
    log(superuser, tenant=None)
    superuser.execute(f"insert into things values ({one}, 1), ({other}, 2)")
    superuser.execute("delete from things where v = 1; update things set v = 3")
    superuser.execute(f"update things set k = {one}")
    seal(superuser)
    found = [operation for operation, _ in events(superuser)]
    assert [found[:4], sorted(found[4:])] == [["I", "I", "D", "U"], ["D", "I"]]
    assert_exact(superuser)

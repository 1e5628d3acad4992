"""Functions of triggers, of which PostgreSQL does not know what they read: at `finish` no write may fail."""

from __future__ import annotations

import psycopg
import pytest
from change_load import Code

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, plan_change, start

TABLES = """
create table art (id bigint generated always as identity primary key, name text not null, slug text, note text);
create table other (id bigint generated always as identity primary key, name text);
insert into art (name) select 'Name ' || g from generate_series(1, 600) g;
"""
FUNCTION = "create or replace function {name}() returns trigger language plpgsql as $$ begin {body} return new; end $$;"
SLUG = FUNCTION.format(name="art_slug", body="new.slug := lower({});")
TRIGGER = "create trigger art_slug before insert or update on art for each row execute function {function};"
RENAME = "alter table art rename column name to title;"
OLD = (
    "insert into art (name) values ('Name ' || %(n)s)",
    "update art set name = 'Name ' || %(n)s where id = %(row)s",
)
NEW = tuple(each.replace("name", "title", 1) for each in OLD)


@pytest.fixture
def art(shop: Shop) -> Shop:
    """A table with a function that makes a slug of the name, in a trigger."""
    shop.fresh(SHOP, TABLES, SLUG.format("new.name"), TRIGGER.format(function="art_slug()"))
    return shop


def plan(shop: Shop, sql: str) -> tuple[str, ...]:
    """The warnings of a plan."""
    shop.clean = True
    (recipe,) = plan_change(shop.store, sql, schemas=(SHOP,)).recipes
    return recipe.warnings


def test_a_trigger_that_reads_the_old_name_is_refused(art: Shop) -> None:
    with pytest.raises(errors.ChangeRefused) as refused:
        plan(art, RENAME)
    assert "art_slug" in str(refused.value)
    assert "reads NEW.name" in str(refused.value)
    assert "in a form for title" in refused.value.instead


def test_put_right_in_the_same_file_no_write_ever_fails(art: Shop) -> None:
    change = RENAME + SLUG.format("new.title")
    with Code(OLD, art.connect, art.connect) as old:
        start(art.store, plan_change(art.store, change, schemas=(SHOP,)))
        with Code(NEW, art.connect, art.connect, art.connect) as new:
            old.go_on()
            old.stop()
            finish(art.store)
            new.go_on()
    assert (old.failed, new.failed) == ([], [])
    assert art.is_true("select bool_and(slug = lower(title)) from art where slug is not null")
    art.clean = True


def test_all_of_it_is_one_transaction(art: Shop) -> None:
    for change in (
        RENAME + SLUG.format("new.title"),
        SLUG.format("new.title") + RENAME,
        "drop trigger art_slug on art; drop function art_slug();" + RENAME,
    ):
        (recipe,) = plan_change(art.store, change, schemas=(SHOP,)).recipes
        assert len(recipe.contract) == 1, recipe.contract
    art.clean = True


@pytest.mark.parametrize(
    ("body", "change"),
    [
        pytest.param("new.slug := old.NAME;", RENAME, id="old row"),
        pytest.param('new.slug := new . "name";', RENAME, id="quoted"),
        pytest.param("new.slug := (select name from art limit 1);", RENAME, id="from the table itself"),
        pytest.param("new.slug := new.note;", "alter table art drop column note;", id="dropped"),
        pytest.param("perform from art;", "alter table art rename to article;", id="table"),
    ],
)
def test_what_a_trigger_reads_is_refused(body: str, change: str, art: Shop) -> None:
    art.owner.execute(FUNCTION.format(name="art_slug", body=body).encode())
    with pytest.raises(errors.ChangeRefused, match="art_slug"):
        plan(art, change)


@pytest.mark.parametrize(
    ("body", "change"),
    [
        pytest.param("execute 'select $1.name' into new.slug using new;", RENAME, id="in a string"),
        pytest.param("new.slug := to_jsonb(new) ->> 'name';", RENAME, id="as JSON"),
        pytest.param("new.slug := (select name from other limit 1);", RENAME, id="maybe of another table"),
        pytest.param("new.slug := new.note;", "alter table art alter note type varchar(9);", id="another type"),
    ],
)
def test_what_a_trigger_may_read_is_told(body: str, change: str, art: Shop) -> None:
    art.owner.execute(FUNCTION.format(name="art_slug", body=body).encode())
    assert any("art_slug" in each and "see that it works" in each for each in plan(art, change))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("new.slug := 'the name of it'; /* new.name */", id="words and comments"),
        pytest.param("new.slug := new.note;", id="another column"),
        pytest.param('new.slug := new.note || (select "Name" from (select 1 as "Name") x);', id="another case"),
    ],
)
def test_what_a_trigger_does_not_read_is_not_spoken_of(body: str, art: Shop) -> None:
    art.owner.execute(FUNCTION.format(name="art_slug", body=body).encode())
    assert not any("art_slug" in each for each in plan(art, RENAME))


def test_a_name_that_a_trigger_gives_to_its_function_is_refused(art: Shop) -> None:
    art.owner.execute(b"alter table art add column found tsvector; drop trigger art_slug on art")
    function = "tsvector_update_trigger(found, 'pg_catalog.english', {})"
    art.owner.execute(TRIGGER.format(function=function.format("name")).encode())
    with pytest.raises(errors.ChangeRefused, match="gives the name"):
        plan(art, RENAME)
    renewed = "drop trigger art_slug on art;" + RENAME + TRIGGER.format(function=function.format("title"))
    start(art.store, plan_change(art.store, renewed, schemas=(SHOP,)))
    finish(art.store)
    art.owner.execute(b"insert into art (title) values ('x')")
    art.clean = True


def test_other_functions_are_told(art: Shop) -> None:
    art.owner.execute(
        b"create function first() returns text language sql as 'select name from art order by id limit 1'"
    )
    art.owner.execute(b"create function name_of(art) returns text language sql as 'select $1.name'")
    art.owner.execute(b"create function others() returns text language sql as 'select name from other limit 1'")
    said = "\n".join(plan(art, RENAME + SLUG.format("new.title")))
    assert "function first()" in said
    assert "name_of(" in said
    assert "others()" not in said
    with pytest.raises(psycopg.errors.UndefinedColumn):  # as the note says
        art.owner.execute(b"alter table art rename column name to title; select first()")


AUDITED = """
create table art_log (said char, at timestamptz, id bigint, name text, slug text, note text);
grant all on art_log to public;
create function art_audit() returns trigger language plpgsql as $$ begin {body} return null; end $$;
create trigger art_audit after insert or update on art for each row execute function art_audit();
"""


@pytest.mark.parametrize(
    "body",
    [
        "insert into art_log select 'I', now(), new.*;",
        "insert into art_log values ('I', now(), new.*) returning id into strict new.id;",
        "if tg_op = 'UPDATE' then insert into art_log select 'U', now(), (old).*; end if;",
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        "alter table art add column size integer",
        "alter table art rename note to remark",
        "alter table art alter note type varchar(9)",
    ],
)
def test_a_trigger_that_inserts_all_columns_has_one_too_many(body: str, change: str, art: Shop) -> None:
    """From the start on every write would fail, for as long as the change is open."""
    art.superuser.execute(f"set search_path = {SHOP}; {AUDITED.format(body=body)}; reset search_path".encode())
    with pytest.raises(errors.ChangeRefused, match="with one more column every write would fail"):
        plan(art, change)
    plan(art, "alter table art alter note set default 'x'")


@pytest.mark.parametrize(
    "body",
    [
        "insert into art_log (said, note) values ('I', to_jsonb(new.*)::text);",
        "if tg_op = 'INSERT' or old.* is distinct from new.* then"
        " insert into art_log (id, name) select new.id, new.name; end if;",
        "insert into art_log select 'I', now(), t.id, t.name, t.slug, t.note from art t where t.id = new.id;",
    ],
)
def test_a_trigger_that_reads_the_row_as_a_whole_may(body: str, art: Shop) -> None:
    art.superuser.execute(f"set search_path = {SHOP}; {AUDITED.format(body=body)}; reset search_path".encode())
    start(art.store, plan_change(art.store, "alter table art add column size integer", schemas=(SHOP,)))
    art.owner.execute(f"insert into {SHOP}.art (name) values ('new')".encode())
    finish(art.store)
    assert art.is_true("select exists (select from art_log)")
    art.clean = True


@pytest.mark.parametrize("kind", ["function", "argument"])
def test_a_trigger_that_came_since_and_needs_the_old_name_stops_finish(art: Shop, kind: str) -> None:
    change = RENAME + SLUG.format("new.title")
    start(art.store, plan_change(art.store, change, schemas=(SHOP,)))
    body, given = ("new.note := new.name;", "") if kind == "function" else ("", "'name'")
    trigger = f"create trigger late before insert or update on art for each row execute function late({given});"
    said = f"set search_path = {SHOP}; {{}} reset search_path".format
    art.superuser.execute(said(FUNCTION.format(name="late", body=body) + trigger).encode())
    with pytest.raises(errors.ChangeFailed) as failed:
        finish(art.store)
    assert failed.value.what == "art.name"
    assert ("reads NEW.name" if kind == "function" else "gives the name to") in failed.value.reason
    gone = "drop trigger late on art;" if given else FUNCTION.format(name="late", body="new.note := new.title;")
    art.superuser.execute(said(gone).encode())
    finish(art.store)
    art.owner.execute(f"insert into {SHOP}.art (title) values ('new')".encode())
    assert art.is_true("select slug = 'new' from art where title = 'new'")
    art.clean = True

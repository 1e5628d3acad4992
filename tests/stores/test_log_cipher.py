"""The cipher of the log against published vectors, and against itself written a second time."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from uuid import UUID

import log_cipher
import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from logged_table import ACME, BETA, Connection

from fix_database import as_superuser
from kos.topology.embedded import Stack
from kos.topology.model import Topology

TENANT = UUID(ACME)
# RFC 4231, sections 4.2 to 4.8, but for the one that is cut short: key, data, HMAC-SHA256.
VECTORS = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
        b"hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]
MARK = "¶ secret"
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=200)


@pytest.fixture(scope="module")
def server(template: Stack, module_database: Topology) -> Iterator[Connection]:
    """A database whose one key is known."""
    with as_superuser(template, module_database.control.primary.database) as connection:
        connection.execute("select kos.rotate_tenant_key(%s)", (ACME,))
        yield connection


def one_key(server: Connection) -> tuple[bytes, UUID]:
    row = server.execute("select key, key_id from kos.tenant_keys where tenant_id = %s", (ACME,)).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize(("key", "data", "expected"), VECTORS)
def test_hmac_is_that_of_rfc_4231(superuser: Connection, key: bytes, data: bytes, expected: str) -> None:
    assert superuser.execute("select encode(kos.hmac(%s, %s), 'hex')", (key, data)).fetchone() == (expected,)


@settings(max_examples=300, deadline=None, database=None)
@given(key=st.binary(max_size=64) | st.binary(min_size=63, max_size=150), data=st.binary(max_size=150))
def test_hmac_is_that_of_python(server: Connection, key: bytes, data: bytes) -> None:
    row = server.execute("select kos.hmac(%s, %s)", (key, data)).fetchone()
    assert row == (hmac.digest(key, data, "sha256"),)


@settings(max_examples=400, deadline=None, database=None)
@given(value=VALUES, column=VALUES.filter(bool))
@example(value="", column="c")
@example(value="x" * 31, column="c")
@example(value="x" * 32, column="c")
@example(value="x" * 33, column="c")
@example(value="x" * 64, column="ü")
@example(value="x" * 65, column="c")
@example(value="ü€😀" * 20_000, column="c")
def test_each_opens_what_the_other_has_encrypted(server: Connection, value: str, column: str) -> None:
    key, key_id = one_key(server)
    row = server.execute("select kos.encrypt(%s, %s, %s)", (ACME, column, value)).fetchone()
    assert row is not None
    assert log_cipher.decrypt(key, key_id, TENANT, column, row[0]) == value
    theirs = log_cipher.encrypt(key, key_id, TENANT, column, value)
    assert server.execute("select kos.decrypt(%s, %s, %s)", (ACME, column, theirs)).fetchone() == (value,)


def test_no_two_ciphertexts_are_alike(server: Connection) -> None:
    count = "select count(distinct kos.encrypt(%s, 'c', 'x')) from generate_series(1, 1000)"
    assert server.execute(count, (ACME,)).fetchone() == (1000,)


@settings(max_examples=400, deadline=None, database=None)
@given(value=VALUES, place=st.integers(0, 5000), text=VALUES.map(lambda text: text[:1]))
def test_what_was_changed_does_not_open(server: Connection, value: str, place: int, text: str) -> None:
    value = MARK + value  # by which it would be known in a message, that has words of its own
    row = server.execute("select kos.encrypt(%s, 'c', %s)", (ACME, value)).fetchone()
    assert row is not None
    stored: str = row[0]
    place = 2 + place % (len(stored) - 2)
    changed = stored[:place] + text + stored[place + 1 :]
    error = None
    try:
        row = server.execute("select kos.decrypt(%s, 'c', %s)", (ACME, changed)).fetchone()
    except psycopg.DatabaseError as caught:
        error = caught
    if error is None:
        assert row == (value,)
        assert server.execute(SAME, (stored, changed)).fetchone() == (True,), "the same bytes, written otherwise"
    else:
        assert error.sqlstate == "KS022"
        assert MARK not in str(error)


SAME = """
select substr(a, 3, 36)::uuid = substr(b, 3, 36)::uuid
       and decode(substr(a, 40), 'base64') = decode(substr(b, 40), 'base64')
  from (select %s::text, %s::text) t (a, b)
"""
NEWEST = """
select kos.decrypt({for_whom}, 'c', '\\E' || k.key_id || substr(%(stored)s, 39))
  from kos.tenant_keys k where k.tenant_id = {whose} order by k.created_at desc limit 1
"""
COPIED = """
insert into kos.tenant_keys (tenant_id, key_id, key)
select %(beta)s, key_id, key from kos.tenant_keys where tenant_id = %(acme)s;
select kos.decrypt(%(beta)s, 'c', %(stored)s)
"""
MOVED = {
    "another tenant": "select kos.decrypt(%(beta)s, 'c', %(stored)s)",
    "another column": "select kos.decrypt(%(acme)s, 'd', %(stored)s)",
    "another key": NEWEST.format(for_whom="%(acme)s", whose="%(acme)s"),
    "another tenant's key": NEWEST.format(for_whom="%(acme)s", whose="%(beta)s"),
    "another tenant, under its key": NEWEST.format(for_whom="%(beta)s", whose="%(beta)s"),
    "the same key of another tenant": COPIED,
}


@pytest.mark.parametrize("where", MOVED)
def test_what_stands_elsewhere_does_not_open(superuser: Connection, where: str) -> None:
    row = superuser.execute("select kos.encrypt(%s, 'c', 'open sesame')", (ACME,)).fetchone()
    assert row is not None
    names = {"acme": ACME, "beta": BETA, "stored": row[0]}
    for tenant in (ACME, BETA):
        superuser.execute("select kos.rotate_tenant_key(%s)", (tenant,))
    with pytest.raises(psycopg.DatabaseError, match="was changed, or whose key is gone") as caught:
        for statement in MOVED[where].split(";"):
            superuser.execute(statement, names)
    assert caught.value.sqlstate == "KS022"
    assert caught.value.diag.column_name in ("c", "d")
    assert caught.value.diag.message_detail in (ACME, BETA)

"""What pg_dump says of schemas, so that two can be compared: by object, without the order of columns."""

from __future__ import annotations

import re

import psycopg

from fix_product import OWNER, PASSWORD, catalog
from kos.topology.model import Login, Topology, fixed

HEADER = re.compile(r"^-- (Name: .*; Type: .*; Schema: .*; Owner: .*)$", re.MULTILINE)
# What must not be left anywhere when a change is over: names that only it had, in any schema.
LEFT_OVER = r"""
select 'function kos.' || proname from pg_proc
 where pronamespace = 'kos'::regnamespace and proname ~ '^(change_[0-9a-f]{6}|kos_)'
union all
select 'invalid index ' || indexrelid::regclass from pg_index where not (indisvalid and indisready and indislive)
union all
select 'trigger ' || tgname || ' on ' || tgrelid::regclass from pg_trigger
 where tgname ~ '^[!~]' or tgname ~ '^kos_[0-9a-f]{6}'
union all
select 'relation ' || oid::regclass from pg_class where relname ~ '^kos_[0-9a-f]{6}' and relname !~ '^pg_toast'
union all
select 'column ' || attname || ' of ' || attrelid::regclass from pg_attribute
 where attname ~ '^kos_[0-9a-f]{6}' and attnum > 0 and not attisdropped
union all
select 'constraint ' || conname || ' of ' || conrelid::regclass from pg_constraint where conname ~ 'kos_[0-9a-f]{6}'
"""


def dumps(topology: Topology, *names: str) -> list[dict[str, str]]:
    """The objects of each schema, by what they are; one run of pg_dump. No name may be part of another."""
    login = Login(OWNER, fixed(PASSWORD))
    dump = catalog(topology.control.primary, login, *(f"--schema={name}" for name in names))
    _, *parts = HEADER.split(dump)
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for header, body in zip(parts[::2], parts[1::2], strict=True):
        (name,) = (each for each in names if each in header)
        found[name][header.replace(name, "")] = _plain(body).replace(name, "")
    return list(found.values())


def _plain(body: str) -> str:
    lines = [line for line in body.splitlines() if line not in {"", "--"} and not line.startswith(("SET ", "-- Post"))]
    if lines and lines[0].startswith("CREATE TABLE"):
        end = next(number for number, line in enumerate(lines) if line.startswith(")"))
        lines[1:end] = sorted(line.removesuffix(",") for line in lines[1:end])
    return "\n".join(line for line in lines if not line.startswith("-- PostgreSQL database dump"))


def difference(wanted: dict[str, str], found: dict[str, str]) -> str:
    """For people; nothing where they are equal."""
    return "\n".join(
        f"{header}\n  wanted: {wanted.get(header)}\n  found:  {found.get(header)}"
        for header in sorted(wanted.keys() | found.keys())
        if wanted.get(header) != found.get(header)
    )


def left_over(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    """What a change has forgotten to take away."""
    return [str(name) for (name,) in connection.execute(LEFT_OVER.encode()).fetchall()]

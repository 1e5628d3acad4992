"""Environment variables over kos.toml: `KOS_SHARDS__MAIN__PORT=5433` is `port` in `[shards.main]`.

`__` stands between levels. Names are compared without regard to case, and `_` also finds `-`, because no
shell can set a variable with a hyphen in its name. Numbers count through lists, from 0. A table or a list is
written as JSON.

Not pydantic-settings: it can't say which variable a mistake came from, nor reach names with hyphens or items
of lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from kos.errors import Mistake
from kos.topology.keys import FromEnvironment
from kos.topology.mistakes import Place

PREFIX = "KOS_"
BETWEEN = "__"
SECRETS = ("password", "access_key", "secret_key", "token")


def overlay(
    document: dict[str, Any], environ: Mapping[str, str], tables: Iterable[str]
) -> tuple[dict[Place, str], list[Mistake]]:
    """Put the variables of `environ` into `document`, whose tables may be `tables`.

    Returns which variable each place now comes from, and the variables that mean kos.toml and miss it.
    """
    tables = tuple(tables)
    origins: dict[Place, str] = {}
    mistakes: list[Mistake] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or BETWEEN not in variable:
            continue
        first, *rest = variable.removeprefix(PREFIX).split(BETWEEN)
        if first.lower() in tables and all(rest):
            path = _place(document, [first, *rest], FromEnvironment(environ[variable], variable))
            origins[path] = variable
        elif near := get_close_matches(first.lower(), tables, 1, 0.75):
            # Not a word about other variables: programs beside us may begin theirs with KOS_ too.
            right = PREFIX + BETWEEN.join([near[0].upper(), *rest])
            mistakes.append(Mistake(variable, "names no key of kos.toml", f"did you mean {right}?"))
    return origins, mistakes


def _place(document: dict[str, Any], names: list[str], text: FromEnvironment) -> Place:
    """Set one value, making the tables on the way. What stands in the way is left for validation."""
    node: Any = document
    path: list[str | int] = []
    for name in names[:-1]:
        key = _key(node, name)
        path.append(key)
        if isinstance(node, list):
            node = node[key] if isinstance(key, int) and key < len(node) else None
        elif isinstance(node, dict):
            node = node.setdefault(str(key), {})
    key = _key(node, names[-1])
    path.append(key)
    if isinstance(node, dict):
        node[str(key)] = _value(text, key in SECRETS)
    elif isinstance(node, list) and isinstance(key, int) and key < len(node):
        node[key] = _value(text, secret=False)
    return tuple(path)


def _key(node: Any, name: str) -> str | int:
    if isinstance(node, list) and name.isdigit():
        return int(name)
    known = node if isinstance(node, dict) else ()
    return next((key for key in known if _folded(key) == _folded(name)), name.lower())


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _value(text: FromEnvironment, secret: bool) -> Any:
    """A password may look like JSON too: there only a table counts, which says where the password is."""
    if text.startswith("{") or (text.startswith("[") and not secret):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text

"""What pydantic found wrong in kos.toml, in words: the key, the problem, the mend. Never the value."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from kos.errors import Mistake
from kos.topology.keys import FileKeys

Place = tuple[str | int, ...]
"""Where a value stands in the file: names of keys and numbers of list items, from the outside in."""


_SAID = {
    "model_type": "should be a table",
    "model_attributes_type": "should be a table",
    "dict_type": "should be a table",
    "list_type": "should be a list",
    "string_type": "should be text in quotes",
    "path_type": "should be a path in quotes",
    "string_too_short": "is empty",
    "too_short": "is empty",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
}


def told(details: ErrorDetails, origins: Mapping[Place, str]) -> Mistake:
    """One of pydantic's findings as a mistake; `origins` says which variables have set which places."""
    location = tuple(part for part in details["loc"] if part != "[key]")
    problem, mend = _explain(details, location)
    for depth in range(len(location), 0, -1):
        if variable := origins.get(location[:depth]):
            problem = f"{problem} (set by {variable})"
            break
    return Mistake(_dotted(location), problem, mend)


def _explain(details: ErrorDetails, location: Place) -> tuple[str, str]:
    """The problem and its mend. Never the value: it could be a secret in the wrong place."""
    kind = details["type"]
    context = details.get("ctx", {})
    if kind == "mistake":
        return str(context["problem"]), str(context["mend"])
    if kind == "extra_forbidden":
        return "is not a known key", _nearest(location)
    if kind == "missing":
        return "is missing", _example(location)
    if kind == "string_pattern_mismatch":
        return "is no name", "use letters, digits, - and _, at most 63"
    problem = details["msg"].replace("Input should be", "should be").replace(" instance of", " of")
    return _SAID.get(kind, problem), _example(location)


def contradictions(document: Mapping[str, Any]) -> Iterator[Mistake]:
    """Mistakes that no key has by itself. Reads the document: mistakes of single keys must not hide these."""
    databases: dict[tuple[str, ...], str] = {}
    for name, shard in _tables(document.get("shards")):
        key = _dotted(("shards", name))
        if "host" in shard and "database" in shard:
            database = (str(shard["host"]), str(shard.get("port", 5432)), str(shard["database"]))
            first = databases.setdefault(database, name)
            if first != name:
                problem = f"is the same database as {_dotted(('shards', first))}"
                yield Mistake(key, problem, "name another, or take one out")
        logins = dict(_tables(shard))
        app, operator = (logins.get(role, {}).get("user") for role in ("app", "operator"))
        if app and app == operator:
            mend = "name two roles: row security lets the operator see every tenant"
            yield Mistake(f"{key}.operator.user", "is the same role as app", mend)
        yield from _twice(f"{key}.replicas", shard.get("replicas"))


def _tables(value: Any) -> list[tuple[str, dict[str, Any]]]:
    items = value.items() if isinstance(value, dict) else ()
    return [(name, table) for name, table in items if isinstance(table, dict)]


def _twice(key: str, replicas: Any) -> Iterator[Mistake]:
    items = replicas if isinstance(replicas, list) else []
    names = Counter(str(item["name"]) for item in items if isinstance(item, dict) and "name" in item)
    for name, count in names.items():
        if count > 1:
            yield Mistake(key, f"the name {name} stands {count} times", "give each replica a name of its own")


def _nearest(location: Place) -> str:
    *table, name = location
    known = tuple(_table_at(table).model_fields)
    near = get_close_matches(str(name), known, 1, 0.6)
    if near:
        return f"did you mean {_dotted((*table, near[0]))}?"
    return f"take it out (known here: {', '.join(known)})" if known else "take it out"


def _example(location: Place) -> str:
    *table, name = location
    field = _table_at(table).model_fields.get(str(name))
    if field and field.examples:
        return f"for example: {field.examples[0]}"
    return f"write [{_dotted(location)}]"


def _table_at(location: Iterable[str | int]) -> type[BaseModel]:
    """The model of the table at `location`: follows the types of the fields, through dicts and lists."""
    here: Any = FileKeys
    for part in location:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[str(part)].annotation
        else:
            here = get_args(here)[-1]
        here = _inside(here)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else BaseModel


def _inside(annotation: Any) -> Any:
    """`X` of `Annotated[X, …]` and of `X | None`."""
    if hasattr(annotation, "__metadata__"):
        return _inside(get_args(annotation)[0])
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    if type(None) in get_args(annotation) and len(choices) == 1:
        return _inside(choices[0])
    return annotation


def _dotted(location: Iterable[str | int]) -> str:
    """The key as TOML writes it; items of a list by their number, from 0."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part and all(character.isalnum() or character in "-_" for character in part)
            text += ("." if text else "") + (part if bare else json.dumps(part))
    return text

"""Finding and reading the configuration. Nothing here starts a server or connects to one."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kos.errors import ConfigInvalid, Mistake, NotConfigured, StackNotRunning
from kos.topology import model, secrets, trust
from kos.topology.keys import (
    CacheKeys,
    EndKeys,
    FeedKeys,
    FileKeys,
    GraphKeys,
    LoginKeys,
    ObjectsKeys,
    ProjectionKeys,
    ReferenceKeys,
    ServerKeys,
    ShardKeys,
)
from kos.topology.mistakes import contradictions, told
from kos.topology.overrides import overlay

FILE = "kos.toml"
VARIABLE = "KOS_CONFIG"
EMBEDDED = "embedded"


def find(start: Path | None = None) -> model.Topology:
    """The topology in force: what KOS_CONFIG names, else kos.toml in `start` (the current folder) or above
    it, else a running embedded stack there. Never starts one.

    Raises:
        NotConfigured: there is none of these.
        ConfigInvalid: the file has mistakes.
        ConfigUntrusted: nobody has named it, and somebody else may have written it.
        StackNotRunning: KOS_CONFIG says `embedded`, and no embedded stack runs.
    """
    start = (start or Path.cwd()).absolute()
    if os.environ.get(VARIABLE) == EMBEDDED:
        return find_embedded(start)
    topology = configured(start) or _running_stack(start)
    if topology is None:
        raise NotConfigured(str(start))
    return topology


def configured(start: Path | None = None) -> model.Topology | None:
    """The topology of the file in force, None where no file is: neither named by KOS_CONFIG nor found.

    Raises:
        ConfigInvalid: the file has mistakes.
        ConfigUntrusted: nobody has named it, and somebody else may have written it.
    """
    start = (start or Path.cwd()).absolute()
    named = os.environ.get(VARIABLE)
    if named == EMBEDDED:
        return None
    if named:
        return load(Path(named).expanduser().absolute())
    for folder in (start, *start.parents):
        if os.path.lexists(folder / FILE):
            return load(trust.require_own(folder / FILE, str(folder / FILE)))
    return None


def find_embedded(start: Path | None = None) -> model.Topology:
    """The topology of the embedded stack in `start` (the current folder) or above it.

    Raises:
        StackNotRunning: there is none, or it is not up.
    """
    start = (start or Path.cwd()).absolute()
    topology = _running_stack(start)
    if topology is None:
        raise StackNotRunning(start)
    return topology


def _running_stack(start: Path) -> model.Topology | None:
    from kos.topology.embedded import Stack

    stack = Stack.find(start)
    return stack.topology() if stack and stack.is_running() else None


def load(path: Path, environ: Mapping[str, str] | None = None) -> model.Topology:
    """The topology that the file at `path` describes, with the overrides of `environ` (this process's own).

    Raises:
        ConfigInvalid: with every mistake of the file and of the overrides at once.
    """
    return understand(_parse(path), path, os.environ if environ is None else environ)


def understand(document: dict[str, Any], path: Path, environ: Mapping[str, str]) -> model.Topology:
    """The topology that `document` describes: what TOML made of the file at `path`. Overrides change it in place.

    Raises:
        ConfigInvalid: with every mistake at once.
    """
    origins, mistakes = overlay(document, environ, FileKeys.model_fields)
    regions = document.get("regions")
    context = {"folder": path.parent, "regions": regions if isinstance(regions, dict) else {}}
    keys = None
    try:
        keys = FileKeys.model_validate(document, context=context)
    except ValidationError as error:
        mistakes += [told(details, origins) for details in error.errors(include_url=False)]
    mistakes += contradictions(document)
    if keys is None or mistakes:
        # Raised here, not in the except: pydantic's error holds the values, and a traceback would show it.
        raise ConfigInvalid(path, tuple(mistakes))
    return _topology(keys, path.parent, environ)


# mistakes


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        problem, mend = "there is no such file", f"write it, or correct {VARIABLE}"
    except OSError as error:
        problem, mend = f"it can't be read: {error.strerror}", "let this account read it"
    except UnicodeDecodeError as error:
        problem, mend = f"byte {error.start + 1} is not UTF-8", "save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem, mend = f"it is not TOML: {error}", "correct that line"
    raise ConfigInvalid(path, (Mistake(path.name, problem, mend),))


# from keys to the topology


def _topology(keys: FileKeys, folder: Path, environ: Mapping[str, str]) -> model.Topology:
    secret = partial(_secret, environ)
    return model.Topology(
        shards=tuple(_shard(number, *named, secret) for number, named in enumerate(keys.shards.items(), 1)),
        graph=_graph(keys.graph, secret) if keys.graph else None,
        cache=_cache(keys.cache, secret) if keys.cache else None,
        objects=_objects(keys.objects, secret) if keys.objects else None,
        regions=tuple(keys.regions),
        feeds=tuple(_feed(name, each, secret) for name, each in keys.feeds.items()),
        projections=tuple(_projection(name, each) for name, each in keys.projections.items()),
        folder=folder,
    )


ReadSecret = Callable[[ReferenceKeys | None, str], model.Secret | None]


def _secret(environ: Mapping[str, str], reference: ReferenceKeys | None, key: str) -> model.Secret | None:
    if reference is None:
        return None
    if reference.env:
        return secrets.from_environment(key, reference.env, environ)
    if reference.file:
        return secrets.from_file(key, reference.file)
    return secrets.from_command(key, reference.command or [])


def _login(keys: LoginKeys, key: str, secret: ReadSecret) -> model.Login:
    return model.Login(keys.user, secret(keys.password, f"{key}.password"))


def _feed(name: str, keys: FeedKeys, secret: ReadSecret) -> model.Feed:
    token = secret(keys.token, f"feeds.{name}.token")
    assert token is not None
    return model.Feed(name, token, None if keys.tenants is None else tuple(keys.tenants))


def _projection(name: str, keys: ProjectionKeys) -> model.ProjectionSettings:
    return model.ProjectionSettings(
        name,
        keys.enabled,
        keys.shipped,
        tuple(
            model.ProjectionNode(label, node.table, tuple(node.properties), node.hidden, tuple(node.indexes))
            for label, node in keys.nodes.items()
        ),
        tuple(
            model.ProjectionEdge(kind, edge.table, _end(edge.from_), _end(edge.to), tuple(edge.properties), edge.hidden)
            for kind, edge in keys.edges.items()
        ),
        tuple((kind, each.table, tuple(each.depends), tuple(each.key)) for kind, each in keys.kinds.items()),
        keys.use,
        tuple(keys.options.items()),
    )


def _end(keys: EndKeys) -> tuple[str, tuple[str, ...]]:
    return keys.node, tuple(keys.columns)


def _graph(keys: GraphKeys, secret: ReadSecret) -> model.GraphServer:
    login = model.Login(keys.user, secret(keys.password, "graph.password"))
    return model.GraphServer(keys.uri, login, keys.database, model.Tls(ca=keys.ca))


def _cache(keys: CacheKeys, secret: ReadSecret) -> model.CacheServer:
    password = secret(keys.password, "cache.password")
    login = model.Login(keys.user or "default", password) if keys.user or password else None
    tls = model.Tls(ca=keys.ca, certificate=keys.certificate, key=keys.key) if keys.protected else None
    return model.CacheServer(keys.host, keys.port, login, tls, keys.database)


def _objects(keys: ObjectsKeys, secret: ReadSecret) -> model.ObjectStore:
    return model.ObjectStore(
        endpoint=keys.endpoint,
        bucket=keys.bucket,
        region=keys.region,
        access_key=secret(keys.access_key, "objects.access_key"),
        secret_key=secret(keys.secret_key, "objects.secret_key"),
        tls=model.Tls(ca=keys.ca),
    )


def _shard(number: int, name: str, keys: ShardKeys, secret: ReadSecret) -> model.Shard:
    table = f"shards.{name}"
    return model.Shard(
        number=number,
        name=name,
        primary=_server(name, keys, keys),
        replicas=tuple(_server(replica.name, replica, keys) for replica in keys.replicas),
        app=_login(keys.app, f"{table}.app", secret),
        operator=_login(keys.operator, f"{table}.operator", secret),
        installer=_login(keys.installer, f"{table}.installer", secret) if keys.installer else None,
    )


def _server(name: str, keys: ServerKeys, shard: ShardKeys) -> model.PostgresServer:
    """A primary, or a replica, which trusts and presents what its primary does unless it says otherwise."""
    return model.PostgresServer(
        name=name,
        host=keys.host,
        port=keys.port,
        database=shard.database,
        tls=model.Tls(
            mode=keys.mode,
            ca=keys.sslrootcert or shard.sslrootcert,
            certificate=keys.sslcert or shard.sslcert,
            key=keys.sslkey or shard.sslkey,
        ),
        region=keys.region,
        pooler=keys.pooler,
    )

"""What a topology is: stores with their addresses, as plain frozen values. Nothing here connects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: then nobody is between us and the server."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Secret:
    """A secret that is read when it is needed, and never shown.

    `read` may run a command (expiring tokens), so it is called for every new connection. `key` says where the
    configuration names it; `file` is the file it is kept in, if it is kept in one.
    """

    read: Callable[[], str] = field(repr=False, compare=False)
    key: str = ""
    file: Path | None = None

    def __str__(self) -> str:
        return "***"


def fixed(value: str) -> Secret:
    """A secret whose value is known already (the embedded stack's own)."""
    return Secret(lambda: value)


@dataclass(frozen=True)
class Login:
    """A role to connect as."""

    user: str
    password: Secret | None = None


@dataclass(frozen=True)
class Tls:
    """How a connection is protected. Modes are libpq's; `verify-full` is the default except on loopback."""

    mode: str = "verify-full"
    ca: Path | None = None  # the certificate authorities to trust; None means the system's
    certificate: Path | None = None  # the client's own, where the server asks for one
    key: Path | None = None


@dataclass(frozen=True)
class PostgresServer:
    """One PostgreSQL server and the database of kos in it."""

    name: str
    host: str
    port: int
    database: str
    tls: Tls
    region: str | None = None
    pooler: bool = False  # behind a transaction pooler: no server-side prepared statements

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def verified(self) -> bool:
        """Whether it is certain who answers: by TLS, or because it is this machine."""
        return self.tls.mode == "verify-full" or is_loopback(self.host)


@dataclass(frozen=True)
class Shard:
    """A PostgreSQL primary with its replicas, and the roles to use there."""

    number: int  # its place in the configuration; it says how the store is called, and nothing else
    name: str
    primary: PostgresServer
    replicas: tuple[PostgresServer, ...]
    app: Login
    operator: Login
    installer: Login | None = None  # may create roles; needed by the first `kos upgrade` only


@dataclass(frozen=True)
class GraphServer:
    """A graph database over Bolt. The scheme of `uri` says whether to use TLS (`+s`), `tls` whom to trust."""

    uri: str
    login: Login
    database: str | None = None
    tls: Tls = field(default_factory=Tls)

    @property
    def is_routed(self) -> bool:
        """Whether the driver chooses among the members of a cluster, which are not equally far."""
        return urlsplit(self.uri).scheme.startswith("neo4j")

    @property
    def verified(self) -> bool:
        """Whether it is certain who answers: by TLS, or because it is this machine."""
        parts = urlsplit(self.uri)
        return parts.scheme.endswith("+s") or is_loopback(parts.hostname or "")


@dataclass(frozen=True)
class CacheServer:
    """A server that speaks the Redis protocol. Without `tls` the connection is in plain text."""

    host: str
    port: int
    login: Login | None
    tls: Tls | None
    database: int = 0

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def verified(self) -> bool:
        """Whether it is certain who answers: by TLS, or because it is this machine."""
        return self.tls is not None or is_loopback(self.host)


@dataclass(frozen=True)
class ObjectStore:
    """An S3-compatible object store and the bucket of kos in it.

    The scheme of `endpoint` says whether to use TLS, `tls` whom to trust. Without an endpoint it is AWS's
    own; without keys, the credentials come from where AWS's tools find them (a profile, the machine's role).
    """

    endpoint: str | None
    bucket: str
    region: str
    access_key: Secret | None
    secret_key: Secret | None
    tls: Tls = field(default_factory=Tls)
    server: str = ""  # name and version, where it is known better than the server says: many call themselves AmazonS3

    @property
    def address(self) -> str:
        return f"{self.endpoint or f'https://s3.{self.region}.amazonaws.com'}/{self.bucket}"

    @property
    def verified(self) -> bool:
        """Whether it is certain who answers: by TLS, or because it is this machine."""
        parts = urlsplit(self.address)
        return parts.scheme == "https" or is_loopback(parts.hostname or "")


@dataclass(frozen=True)
class Feed:
    """A consumer that `kos feed serve` lets in, with the token that it shows; `tenants` None: all of them."""

    name: str
    token: Secret
    tenants: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ProjectionNode:
    """A table whose rows are nodes. What its texts mean is read by `kos.projections`, here and below."""

    label: str
    table: str
    properties: tuple[str, ...] = ()
    hidden: str | None = None
    indexes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProjectionEdge:
    """A table whose rows are edges; ends are a label and columns."""

    type: str
    table: str
    begin: tuple[str, tuple[str, ...]]
    end: tuple[str, tuple[str, ...]]
    properties: tuple[str, ...] = ()
    hidden: str | None = None


@dataclass(frozen=True)
class ProjectionSettings:
    """What kos.toml says of a store that follows the log. `kinds`: of the cache, by name: table, tables that it depends
    on, types of the key. `use`: what makes one of the product's own, as `module:name`, from `options`."""

    name: str
    enabled: bool = True
    shipped: bool = True
    nodes: tuple[ProjectionNode, ...] = ()
    edges: tuple[ProjectionEdge, ...] = ()
    kinds: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = ()
    use: str | None = None
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Topology:
    """All stores of one installation. The first shard holds the control tables.

    `stack` is the id of the embedded stack that these stores belong to, None where they are somebody's own.
    """

    shards: tuple[Shard, ...]
    graph: GraphServer | None = None
    cache: CacheServer | None = None
    objects: ObjectStore | None = None
    regions: tuple[str, ...] = ()
    feeds: tuple[Feed, ...] = ()
    projections: tuple[ProjectionSettings, ...] = ()
    stack: str | None = None
    folder: Path | None = None  # where the embedded stack lives, or the folder of kos.toml

    @property
    def control(self) -> Shard:
        return self.shards[0]

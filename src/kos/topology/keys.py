"""The keys of kos.toml: one model per table. Each field's first example is what a mistake shows as the mend.

A validator here judges one key with what it needs of its neighbours (`info.data` holds those declared above
it), so that one run over a file finds every mistake in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic import field_validator as validates
from pydantic_core import PydanticCustomError

from kos.topology.model import is_loopback

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SAY_INSECURE = "or say `insecure = true` beside it if you mean it"


class FromEnvironment(str):
    """A value that an environment variable has put in the place of the file's."""

    variable: str

    def __new__(cls, text: str, variable: str) -> FromEnvironment:
        value = super().__new__(cls, text)
        value.variable = variable
        return value


def mistake(problem: str, mend: str) -> PydanticCustomError:
    """A mistake, to be raised by a validator. Neither text may hold a value that could be a secret."""
    return PydanticCustomError("mistake", "{problem}", {"problem": problem, "mend": mend})


def _context(info: ValidationInfo) -> Mapping[str, Any]:
    """What `load` knows beside the keys: the folder of the file, and the regions it declares."""
    context: Mapping[str, Any] | None = info.context
    assert context is not None
    return context


def _host(text: str) -> str:
    if not re.fullmatch(r"/\S*|[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?", text):
        raise mistake("is no host name, address or socket folder", "write the host alone, without user, port or scheme")
    return text


def _reference(value: Any) -> Any:
    """A secret set by KOS_…__PASSWORD is in the environment already; one written in the file is refused."""
    if isinstance(value, FromEnvironment):
        return {"env": value.variable}
    if isinstance(value, str):
        raise mistake(
            "is a secret in plain text",
            "take it out of the file, change it, and say where it is: "
            '{ env = "…" }, { file = "…" } or { command = ["…"] }',
        )
    return value


def _label(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", text, re.ASCII) or text.lower().startswith("kos"):
        raise mistake("is no label or type", "use letters, digits and _, and not Kos… at the beginning")
    return text


def _no_projection(text: str) -> str:
    if text.startswith("projection."):
        raise mistake("is the cursor of a projection", "choose a name that doesn't begin so")
    return text


def _property(text: str) -> str:
    name, _, kind = text.partition(":")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name, re.ASCII) or name.lower().startswith("kos_"):
        raise mistake(
            "is no property", "write a column's name of letters, digits and _, and not kos_… at the beginning"
        )
    if kind not in ("", "text", "integer", "float", "boolean"):
        raise mistake("has an unknown type", 'write "name", "name:integer", "name:float" or "name:boolean"')
    return text


def _existing(path: Path, info: ValidationInfo) -> Path:
    path = _context(info)["folder"] / path.expanduser()
    if not path.is_file():
        raise mistake(f"there is no file {path}", "correct the path (it is relative to the folder of kos.toml)")
    return path


def _beside(path: Path, info: ValidationInfo) -> Path:
    folder: Path = _context(info)["folder"]
    return folder / path.expanduser()


def _declared(region: str, info: ValidationInfo) -> str:
    regions: Mapping[str, Any] = _context(info)["regions"]
    if region not in regions:
        known = f" (declared: {', '.join(regions)})" if regions else ""
        raise mistake(f"the region {region} is not declared{known}", f"add [regions.{region}], or correct it")
    return region


Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, Field(min_length=1)]
ExistingFile = Annotated[Path, AfterValidator(_existing)]
FileBeside = Annotated[Path, AfterValidator(_beside)]
Region = Annotated[Text, AfterValidator(_declared)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
ProjectionName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,50}$")]
KindName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
LabelName = Annotated[str, AfterValidator(_label)]
ColumnName = Annotated[str, Field(min_length=1, max_length=63)]
TableText = Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)?$")]
PropertyText = Annotated[str, AfterValidator(_property)]
FeedName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"), AfterValidator(_no_projection)]


class Table(BaseModel):
    """A table of kos.toml: no key that it doesn't know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class ReferenceKeys(Table):
    """Where a secret is: exactly one of the three."""

    env: Text | None = Field(None, examples=['env = "KOS_APP_PASSWORD"'])
    file: FileBeside | None = Field(None, examples=['file = "/run/secrets/kos_app"'])
    command: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, examples=['command = ["vault", "read", "-field=password", "database/creds/kos_app"]']
    )

    @model_validator(mode="after")
    def _one(self) -> ReferenceKeys:
        if sum(source is not None for source in (self.env, self.file, self.command)) != 1:
            raise mistake("does not name exactly one source", "name one of env, file and command")
        return self


Reference = Annotated[ReferenceKeys, BeforeValidator(_reference)]


class LoginKeys(Table):
    user: Text = Field(examples=['user = "kos_app"'])
    password: Reference | None = Field(None, examples=['password = { env = "KOS_APP_PASSWORD" }'])


class ServerKeys(Table):
    """What a primary and a replica have in common."""

    insecure: bool = Field(False, examples=["insecure = true"])
    host: Host = Field(examples=['host = "db1.example.com"'])
    port: Port = Field(5432, examples=["port = 5432"])
    region: Region | None = Field(None, examples=['region = "us-east-1"'])
    pooler: bool = Field(False, examples=["pooler = true"])
    sslmode: SslMode | None = Field(None, examples=['sslmode = "verify-full"'])
    sslrootcert: ExistingFile | None = Field(None, examples=['sslrootcert = "ca.pem"'])
    sslcert: ExistingFile | None = Field(None, examples=['sslcert = "client.pem"'])
    sslkey: ExistingFile | None = Field(None, examples=['sslkey = "client.key"'])

    @validates("sslmode")
    @classmethod
    def _verified(cls, mode: SslMode | None, info: ValidationInfo) -> SslMode | None:
        host = info.data.get("host", "localhost")
        if mode not in (None, "verify-full") and not is_loopback(host) and not info.data.get("insecure"):
            raise mistake(
                f"{mode!r} does not verify who answers at {host}",
                f'write sslmode = "verify-full", {SAY_INSECURE}',
            )
        return mode

    @property
    def mode(self) -> SslMode:
        """The mode in force: verify-full, unless the server is on this machine or the file says otherwise."""
        return self.sslmode or ("prefer" if is_loopback(self.host) else "verify-full")


class ReplicaKeys(ServerKeys):
    name: Name = Field(examples=['name = "reader"'])


class ShardKeys(ServerKeys):
    database: Text = Field(examples=['database = "knowledge_os"'])
    app: LoginKeys = Field(examples=['app = { user = "kos_app", password = { env = "KOS_APP_PASSWORD" } }'])
    operator: LoginKeys = Field(
        examples=['operator = { user = "kos_operator", password = { file = "/run/secrets/kos_operator" } }']
    )
    installer: LoginKeys | None = Field(
        None, examples=['installer = { user = "admin", password = { env = "KOS_INSTALLER_PASSWORD" } }']
    )
    replicas: list[ReplicaKeys] = Field([], examples=['[[shards.main.replicas]]\nname = "reader"'])


class RegionKeys(Table):
    """A region has no keys yet: to declare it is enough."""


def _secured(url: str, info: ValidationInfo, *, plain: tuple[str, ...], tls: tuple[str, ...]) -> str:
    """`url` if its scheme is known, it carries no credentials, and it is protected or on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise mistake("is no address", f"write {tls[0]}://HOST:PORT") from None
    if parts.scheme not in plain + tls or not host:
        raise mistake("is no address of this kind of store", f"write {tls[0]}://HOST:PORT")
    if "@" in parts.netloc:
        raise mistake("carries credentials", "take them out, and name them in keys of their own")
    if parts.scheme in plain and not is_loopback(host) and not info.data.get("insecure"):
        raise mistake(f"{parts.scheme}:// does not verify who answers at {host}", f"write {tls[0]}://…, {SAY_INSECURE}")
    return url


class GraphKeys(Table):
    insecure: bool = Field(False, examples=["insecure = true"])
    uri: Text = Field(examples=['uri = "neo4j+s://graph.example.com"'])
    user: Text = Field(examples=['user = "neo4j"'])
    password: Reference | None = Field(None, examples=['password = { env = "KOS_GRAPH_PASSWORD" }'])
    database: Text | None = Field(None, examples=['database = "neo4j"'])
    ca: ExistingFile | None = Field(None, examples=['ca = "ca.pem"'])

    @validates("uri")
    @classmethod
    def _address(cls, uri: str, info: ValidationInfo) -> str:
        return _secured(uri, info, plain=("bolt", "neo4j", "bolt+ssc", "neo4j+ssc"), tls=("neo4j+s", "bolt+s"))


class CacheKeys(Table):
    insecure: bool = Field(False, examples=["insecure = true"])
    host: Host = Field(examples=['host = "cache.example.com"'])
    port: Port = Field(6379, examples=["port = 6379"])
    user: Text | None = Field(None, examples=['user = "kos"'])
    password: Reference | None = Field(None, examples=['password = { env = "KOS_CACHE_PASSWORD" }'])
    database: Annotated[int, Field(ge=0)] = Field(0, examples=["database = 0"])
    tls: bool | None = Field(None, examples=["tls = true"])
    ca: ExistingFile | None = Field(None, examples=['ca = "ca.pem"'])
    certificate: ExistingFile | None = Field(None, examples=['certificate = "client.pem"'])
    key: ExistingFile | None = Field(None, examples=['key = "client.key"'])

    @validates("tls")
    @classmethod
    def _protected(cls, tls: bool | None, info: ValidationInfo) -> bool | None:
        host = info.data.get("host", "localhost")
        if tls is False and not is_loopback(host) and not info.data.get("insecure"):
            raise mistake(f"the connection to {host} would be in plain text", f"write tls = true, {SAY_INSECURE}")
        return tls

    @property
    def protected(self) -> bool:
        """Whether TLS is used: always, unless the server is on this machine or the file says otherwise."""
        return self.ca is not None or not is_loopback(self.host) if self.tls is None else self.tls


class ObjectsKeys(Table):
    insecure: bool = Field(False, examples=["insecure = true"])
    endpoint: Text | None = Field(None, examples=['endpoint = "https://s3.example.com"'])
    bucket: Text = Field(examples=['bucket = "knowledge-os"'])
    region: Text = Field("us-east-1", examples=['region = "us-east-1"'])
    access_key: Reference | None = Field(None, examples=['access_key = { env = "KOS_OBJECTS_ACCESS_KEY" }'])
    secret_key: Reference | None = Field(None, examples=['secret_key = { env = "KOS_OBJECTS_SECRET_KEY" }'])
    ca: ExistingFile | None = Field(None, examples=['ca = "ca.pem"'])

    @validates("endpoint")
    @classmethod
    def _address(cls, endpoint: str | None, info: ValidationInfo) -> str | None:
        return endpoint and _secured(endpoint, info, plain=("http",), tls=("https",))

    @validates("secret_key")
    @classmethod
    def _both(cls, secret_key: ReferenceKeys | None, info: ValidationInfo) -> ReferenceKeys | None:
        if "access_key" in info.data and (secret_key is None) != (info.data["access_key"] is None):
            raise mistake("access_key and secret_key go together", "name both, or neither (the machine's own role)")
        return secret_key


class FeedKeys(Table):
    """A consumer that `kos feed serve` lets in."""

    token: Reference = Field(examples=['token = { env = "KOS_FEED_TOKEN" }'])
    tenants: Annotated[list[Text], Field(min_length=1)] | None = Field(None, examples=['tenants = ["acme", "beta"]'])


class NodeKeys(Table):
    """A table whose rows are nodes of the graph."""

    table: TableText = Field(examples=['table = "public.orders"'])
    properties: list[PropertyText] = Field([], examples=['properties = ["number", "total:float"]'])
    hidden: ColumnName | None = Field(None, examples=['hidden = "deleted_at"'])
    indexes: list[ColumnName] = Field([], examples=['indexes = ["number"]'])


class EndKeys(Table):
    """The node that an edge begins or ends at."""

    node: LabelName = Field(examples=['node = "Order"'])
    columns: Annotated[list[ColumnName], Field(min_length=1)] = Field(examples=['columns = ["order_id"]'])


class EdgeKeys(Table):
    """A table whose rows are edges of the graph."""

    table: TableText = Field(examples=['table = "public.orders"'])
    from_: EndKeys = Field(alias="from", examples=['from = { node = "Order", columns = ["id"] }'])
    to: EndKeys = Field(examples=['to = { node = "Customer", columns = ["customer_id"] }'])
    properties: list[PropertyText] = Field([], examples=['properties = ["since"]'])
    hidden: ColumnName | None = Field(None, examples=['hidden = "deleted_at"'])


class KindKeys(Table):
    """What `session.cached` knows by one name."""

    table: TableText = Field(examples=['table = "public.orders"'])
    depends: list[TableText] = Field([], examples=['depends = ["public.order_lines"]'])
    key: Annotated[list[Literal["uuid", "integer", "text"]], Field(min_length=1)] = Field(
        ["uuid"], examples=['key = ["integer"]']
    )


class ProjectionKeys(Table):
    """A store that follows the log: the graph, the cache, or one of the product's own."""

    enabled: bool = Field(True, examples=["enabled = false"])
    shipped: bool = Field(True, examples=["shipped = false"])
    nodes: dict[LabelName, NodeKeys] = Field({}, examples=["[projections.graph.nodes.Order]"])
    edges: dict[LabelName, EdgeKeys] = Field({}, examples=["[projections.graph.edges.PLACED_BY]"])
    kinds: dict[KindName, KindKeys] = Field({}, examples=["[projections.cache.kinds.order]"])
    use: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = Field(
        None, examples=['use = "product.search:SearchProjection"']
    )
    options: dict[str, Any] = Field({}, examples=['options = { folder = "/var/lib/product" }'])


class FileKeys(Table):
    """The whole of kos.toml."""

    regions: dict[Name, RegionKeys] = Field({}, examples=["[regions.us-east-1]"])
    shards: Annotated[dict[Name, ShardKeys], Field(min_length=1)] = Field(
        examples=["[shards.main] with host, database, app and operator"]
    )
    graph: GraphKeys | None = Field(None, examples=["[graph]"])
    cache: CacheKeys | None = Field(None, examples=["[cache]"])
    objects: ObjectsKeys | None = Field(None, examples=["[objects]"])
    feeds: dict[FeedName, FeedKeys] = Field({}, examples=["[feeds.search]"])
    projections: dict[ProjectionName, ProjectionKeys] = Field({}, examples=["[projections.graph]"])

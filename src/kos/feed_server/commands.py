"""`kos feed serve`."""

from __future__ import annotations

import json as values
import logging
import signal
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from kos import topology
from kos.console import Json, say
from kos.errors import ServeRefused
from kos.tenancy import Store
from kos.topology.model import is_loopback

LISTEN = "127.0.0.1:9568"
HEARTBEAT = 15.0
GRACE_SECONDS = 2  # that clients which don't read have, once we are told to end
BACKLOG = 128


def feed_serve(
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 is a free one.")] = LISTEN,
    certificate: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Serve by TLS.")] = None,
    key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The certificate's key.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Other machines may connect without TLS.")] = False,
    heartbeat: Annotated[float, typer.Option(min=0.1, help="Seconds after which a quiet stream says so.")] = HEARTBEAT,
    json: Json = False,
) -> None:
    """Serve the feeds of kos.toml over HTTP, in the foreground, until SIGTERM or Ctrl-C."""
    found = topology.find()
    if not found.feeds:
        raise ServeRefused("kos.toml names no consumer", "add [feeds.NAME] with a token to kos.toml")
    if (certificate is None) != (key is None):
        raise typer.BadParameter("--certificate and --key go together")
    heard = _listen(listen, protected=certificate is not None or insecure)
    host, port = heard.getsockname()[:2]
    address = f"{'https' if certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    with heard, Store(found) as store:
        server, access = _server(store, certificate, key, heartbeat)
        names = [feed.name for feed in found.feeds]
        if json:
            print(values.dumps({"address": address, "feeds": names}), flush=True)  # noqa: T201
        else:
            say(f"{address} serves {', '.join(names)}")
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises again what it has ended for
            signal.signal(number, lambda *_: None)
        try:
            server.run(sockets=[heard])
        finally:
            access.close()


def _listen(listen: str, *, protected: bool) -> socket.socket:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ServeRefused(f"{listen} is no address", "write it as HOST:PORT")
    if not protected and not is_loopback(host):
        reason = f"tokens and data would cross the network to {host} in plain text"
        raise ServeRefused(reason, "name --certificate and --key, or say --insecure if something in front speaks TLS")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServeRefused(f"{listen}: {error}", "kos feed serve --listen 127.0.0.1:0   (a free port)") from None


def _server(store: Store, certificate: Path | None, key: Path | None, heartbeat: float) -> tuple[Any, Any]:
    try:
        import uvicorn

        from kos.feed_server.access import Access
        from kos.feed_server.app import Serving, build
    except ModuleNotFoundError as error:
        raise ServeRefused(f"the package {error.name} is not installed", "pip install 'kos[cli,server]'") from None
    access = Access(store)
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
    app = build(Serving(access, heartbeat, lambda: server.should_exit))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # paths name tenants
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    server = uvicorn.Server(config)
    return server, access


COMMANDS = {"feed serve": feed_serve}

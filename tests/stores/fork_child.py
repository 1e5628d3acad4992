"""Uses a store, forks, lets the child use it too, and says what both have seen: in an interpreter of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from fix_twins import AsyncTwin, Twin
from kos import topology
from kos.errors import ProjectionNotReady
from kos.knowledge.bucket import bucket_of

WHO = "select pg_backend_pid(), kos.current_tenant_id()::text"
ATOM = "insert into atoms (atom_type, name) values ('T', 'x')"
COUNT = "select count(*) from atoms"


def forked(twin: Twin, work: Callable[[], Any]) -> Any:
    """What `work` returns in a child, which then ends as any program does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            if isinstance(twin, AsyncTwin):
                twin._runner = asyncio.Runner()  # a loop is its process's own
            os.write(writing, json.dumps(work()).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    with os.fdopen(reading) as said:
        return json.load(said)


def raised(work: Callable[[], Any]) -> str | None:
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return None


def pooled(twin: Twin) -> Any:
    """The child works in another tenant, and closes the store."""
    before = twin.run("acme", WHO)

    def child() -> Any:
        found = [twin.run("other", WHO), twin.run("other", WHO), twin.read_control("select pg_backend_pid()")]
        twin.close()
        return found

    return {"before": before, "child": forked(twin, child), "after": twin.run("acme", WHO)}


def session(twin: Twin) -> Any:
    """The child meets a session that has begun."""
    begun = twin.enter("acme")
    twin.execute(begun, ATOM)

    def child() -> Any:
        told = [
            raised(lambda: begun._connection.execute("select 1")) if not isinstance(twin, AsyncTwin) else "",
            raised(lambda: twin.execute(begun, ATOM)),
            raised(lambda: twin.leave(begun)),
        ]
        return [*told, twin.run("acme", COUNT)]

    said = forked(twin, child)
    twin.execute(begun, ATOM)
    twin.leave(begun)
    return {"child": said, "after": twin.run("acme", COUNT)}


def others(twin: Twin) -> Any:
    """The child asks graph and object storage, and closes the store."""

    def ask() -> Any:
        begun = twin.enter("acme")
        try:
            asked = begun.graph.run("MATCH (a:Atom) RETURN a")
            if isinstance(twin, AsyncTwin):
                twin._runner.run(asked)
        except ProjectionNotReady as answer:  # the graph itself has said so
            twin.leave(begun, answer)
        return id(bucket_of(twin.store, "the test").client) if not isinstance(twin, AsyncTwin) else 0

    def child() -> Any:
        found = ask()
        twin.close()
        return found

    ask()
    before = ask()
    return {"before": before, "child": forked(twin, child), "after": ask()}


def main(kind: str, what: str) -> None:
    twin = {"sync": Twin, "async": AsyncTwin}[kind](topology.find(), pool_size=1)
    for name in ("acme", "other"):
        twin.find(name)
    print(json.dumps({"pooled": pooled, "session": session, "others": others}[what](twin)), flush=True)
    twin.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

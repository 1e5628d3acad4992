"""A store that was used, and then forked: gunicorn --preload, multiprocessing, Celery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fix_samples import child_environment
from kos.tenancy import Store, create_tenant

CHILD = Path(__file__).parent / "fork_child.py"


def run(store: Store, folder: Path, kind: str, what: str) -> Any:
    """What a process that forks has seen, and its child. Here, too many threads run for a fork."""
    path = os.pathsep.join([*sys.path, str(CHILD.parents[1])])
    environment = {**child_environment(store.topology, folder), "PYTHONPATH": path}
    command = [sys.executable, str(CHILD), kind, what]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def test_a_child_has_connections_of_its_own(store: Store, tmp_path: Path, kind: str) -> None:
    acme, other = create_tenant(store, "acme"), create_tenant(store, "other")
    said = run(store, tmp_path, kind, "pooled")
    [[[parent, inside]]] = said["before"]
    assert inside == str(acme.id)
    [[[[child, first]]], again, [[[control]]]] = said["child"]
    assert (first, again) == (str(other.id), [[[child, str(other.id)]]])
    assert parent not in (child, control)
    assert said["after"] == said["before"], "the child has neither used nor closed it"


def test_a_session_that_has_begun_is_the_parents(store: Store, tmp_path: Path, kind: str) -> None:
    create_tenant(store, "acme")
    create_tenant(store, "other")
    said = run(store, tmp_path, kind, "session")
    raw, *told, count = said["child"]
    assert raw in ("OperationalError", "")
    assert told == ["SessionForked", "SessionForked"]
    assert (count, said["after"]) == ([[[0]]], [[[2]]])


def test_graph_and_objects_are_asked_on_other_connections(full_store: Store, tmp_path: Path, kind: str) -> None:
    create_tenant(full_store, "acme")
    create_tenant(full_store, "other")
    said = run(full_store, tmp_path, kind, "others")
    assert said["after"] == said["before"]
    assert kind == "async" or said["child"] != said["before"]

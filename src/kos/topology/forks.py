"""What belongs to one process, and begins anew in a child that is forked from it.

A child has its parent's sockets: what both say on one is mixed, and each may read what the other has asked for. It has
none of its parent's threads, and the locks that they held stay locked in it. The drivers of PostgreSQL, the graph and
object storage all want their pools made after the fork; under `gunicorn --preload`, `multiprocessing` or Celery they
may have been made before it.

So in a child everything like that is let go of, and made again when it is needed. It is not closed: that would say
goodbye to the server in the parent's name.
"""

from __future__ import annotations

import ctypes
import os
import socket
from contextlib import ExitStack
from typing import Any, Protocol
from weakref import WeakSet

import psycopg


class OfOneProcess(Protocol):
    """Has sockets, locks or threads."""

    def begin_anew(self) -> None:
        """Have none yet. Called in the child, before anything else runs there."""


_known: WeakSet[OfOneProcess] = WeakSet()


def note(each: OfOneProcess) -> None:
    """Let it begin anew in a child."""
    _known.add(each)


def deafen(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """In a child: nothing that is done with the parent's connection here reaches the server; it looks as if it had
    ended. Nor does it live on in this process when the parent is gone, with its transaction and its locks."""
    if connection.closed:
        return
    here, there = socket.socketpair()
    with here, there:
        os.dup2(here.fileno(), connection.fileno(), inheritable=False)


def _in_child() -> None:
    with ExitStack() as all_of_them:  # also where one fails
        for each in list(_known):
            _keep(vars(each).copy())
            all_of_them.callback(each.begin_anew)


def _keep(inherited: dict[str, Any]) -> None:
    """For ever, also where Python ends: the drivers' own ends talk to the server, and wait for threads and locks."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


os.register_at_fork(after_in_child=_in_child)

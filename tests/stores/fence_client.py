"""A client in a process of its own, so that it can be frozen with SIGSTOP. Commands and answers go by line.

A command is a list of statements; a pair is a COPY and what it is given.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import Any

import psycopg

Statement = str | tuple[str, str]


class Client:
    """A client process. `send` queues statements; a frozen process reads them when it is woken."""

    def __init__(self, parameters: dict[str, Any], *first: str) -> None:
        command = [sys.executable, __file__, json.dumps([parameters, first])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.waiting = 1
        self.frozen = False
        self._read = b""
        (pid,) = self.answers(30.0)
        self.pid = int(pid)

    def send(self, *statements: Statement) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(statements).encode() + b"\n")
        self.waiting += 1

    def answers(self, seconds: float) -> list[str]:
        """The answers that arrive within some time; stops waiting when none is outstanding."""
        assert self.process.stdout is not None
        found: list[str] = []
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while self.waiting and selector.select(max(0.0, deadline - time.monotonic())):
                arrived = os.read(self.process.stdout.fileno(), 4096)
                assert arrived, "the client has ended"
                *lines, self._read = (self._read + arrived).split(b"\n")
                found += [line.decode() for line in lines]
                self.waiting -= len(lines)
        return found

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        self.frozen = True

    def wake(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.frozen = False

    def close(self) -> None:
        self.wake()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def main() -> None:
    parameters, first = json.loads(sys.argv[1])
    connection = psycopg.connect(**parameters, autocommit=True)
    connection.prepare_threshold = None
    for statement in first:
        connection.execute(statement)
    print(connection.info.backend_pid, flush=True)
    for line in sys.stdin:
        try:
            for statement in json.loads(line):
                if isinstance(statement, str):
                    connection.execute(statement)
                else:
                    with connection.cursor().copy(statement[0]) as copy:
                        copy.write(statement[1])
            answer = "ok"
        except psycopg.Error as error:
            answer = error.sqlstate or "lost"
            if not connection.closed:
                connection.execute("rollback")
        print(answer, flush=True)


if __name__ == "__main__":
    main()

"""A client in a process of its own, so that it can be frozen with SIGSTOP. Commands and answers go by line."""

from __future__ import annotations

import json
import sys

import psycopg


def main() -> None:
    connection = psycopg.connect(**json.loads(sys.argv[1]), autocommit=True)
    connection.prepare_threshold = None
    for line in sys.stdin:
        try:
            for statement in json.loads(line):
                connection.execute(statement)
            answer = "ok"
        except psycopg.Error as error:
            answer = error.sqlstate or "lost"
            if not connection.closed:
                connection.execute("rollback")
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

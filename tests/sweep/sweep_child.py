"""Forks a process per request, which runs an operation until it is killed at a point of the journal.

Importing everything once and forking is what makes it possible to kill hundreds. Requests are lines of JSON on standard
input; the answer to each is how the process ended.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from sweep_scenarios import ALL  # noqa: E402

import kos  # noqa: E402
from kos import journal  # noqa: E402
from kos.topology import objects  # noqa: E402


class Killer:
    """Ends this process with SIGKILL (or stops it with SIGSTOP) at the point of that number."""

    def __init__(self, number: int, deadly: int) -> None:
        self._number = number
        self._deadly = deadly
        self._count = 0

    def __call__(self, point: str) -> None:
        self._count += 1
        if self._count == self._number:
            os.kill(os.getpid(), self._deadly)


def work(request: dict[str, Any]) -> None:
    os.environ.update(request["environment"])
    scenario = ALL[request["scenario"]]
    killer = Killer(request["kill_at"], request.get("signal", signal.SIGKILL))
    with kos.open() as store:
        runner = scenario.runner(
            store, scenario.operation, kept=dict(scenario.kept), point=killer, seconds=request.get("seconds", 30.0)
        )
        if request["verb"] == "run":
            runner.run(scenario.plan(store, Path(request["folder"])))
        else:
            record = journal.find_operation(store, request["operation"])
            getattr(runner, request["verb"])(record)


def warm() -> None:
    """What each of them would do again, and that is the same: it is half of what a process costs."""
    with kos.open() as store:
        if store.topology.objects is not None:
            objects.open(store.topology.objects).close()
    gc.freeze()


def main() -> None:
    warm()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                work(request)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if request.get("detached"):
            print(json.dumps({"pid": pid}), flush=True)
            continue
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()

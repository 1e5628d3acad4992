"""Real servers for trying and testing, started as processes of one folder.

Promise: `up` and `down` are harmless to repeat and to interrupt at any moment; `down` leaves no process;
two stacks in two folders never meet; nothing listens beyond loopback; no secret stands in an argument list.

Invariants: the process table says what runs, never a file; the marker is stored before anything is started;
whoever starts or stops a server holds the stack's lock.

Words: stack (the servers of one folder), store (one of them: "postgres", "graph", "cache", "objects"; further
shards are "postgres-2", …), worker (seals the log; it is a process of the stack, and no store), marker (what
makes a `.kos` folder, or a database, ours), home (where the data lie).
"""

from kos.topology.embedded.census import WORKER
from kos.topology.embedded.guard import require_embedded
from kos.topology.embedded.stack import Stack, Stopped
from kos.topology.embedded.start import Planned, Started, StartPlan
from kos.topology.embedded.wheels import postgres_tool
from kos.topology.embedded.worker import WorkerHealth

__all__ = [
    "WORKER",
    "Planned",
    "Stack",
    "StartPlan",
    "Started",
    "Stopped",
    "WorkerHealth",
    "postgres_tool",
    "require_embedded",
]

"""A live load on tenants of its own that accounts for every acknowledged write.

Promise: what the load was told to be written is found exactly once, or it is reported as lost, doubled or foreign. It
goes on while servers are killed and restarted; its ledger is worth as much after its own SIGKILL.

Invariants: the intent is in the ledger before a transaction begins, its outcome after the commit. Every attempt has
its own id, and a retry is another attempt. Every row and every revision names its attempt.

Words: *run* (one load, one ledger), *attempt* (one transaction that was tried), *trace* (what an attempt leaves in the
database), *acknowledged*, *failed*, *ambiguous* (failed, and may have happened), *lost*, *doubled*, *foreign*.
"""

from kos.workload.ledger import folder_of, newest
from kos.workload.meter import Reading, Speed, line
from kos.workload.run import DEFAULT, SECONDS, Load, Plan, Result, Shape, Watch, plan, run, running
from kos.workload.verify import Finding, Verdict, verify

__all__ = [
    "DEFAULT",
    "SECONDS",
    "Finding",
    "Load",
    "Plan",
    "Reading",
    "Result",
    "Shape",
    "Speed",
    "Verdict",
    "Watch",
    "folder_of",
    "line",
    "newest",
    "plan",
    "run",
    "running",
    "verify",
]

"""The worker: it seals the log of every data database, so that what was committed gets its position.

Promise: whatever waits in any database of the topology is sealed while at least one worker can reach it; what one
tenant, one database or one worker does wrong delays no other.

Invariants:
- One worker leads per database: it holds an advisory lock of its session there. That saves work; it is not what makes
  sealing safe: `kos.seal` locks its tenant, so two leaders do no harm.
- A leader asks its database a few times per second, on the session that has the lock. A standby that sees that session
  silent ends it and leads: a frozen worker delays nobody for long.
- A seal is one statement in a transaction of its own: a worker that is frozen or killed holds no tenant's lock.

Words: a worker *leads* in a database or *stands by*; a tenant whose seal fails is *parked* for a while.
"""

from kos.worker.once import seal_once
from kos.worker.worker import Worker

__all__ = ["Worker", "seal_once"]

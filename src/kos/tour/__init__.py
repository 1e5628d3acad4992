"""The story that `make run` tells: what kos does, shown on real servers, each step ending in a measured fact.

Promise: it acts on an embedded stack only, can be taken again and again, and leaves the stack up. A fact that does not
hold is told, and the command fails.

Words: a *step* has a title and ends in a *fact*.
"""

from kos.tour.steps import STEPS
from kos.tour.tour import Fact, Step, Told, Tour, take

__all__ = ["STEPS", "Fact", "Step", "Told", "Tour", "take"]

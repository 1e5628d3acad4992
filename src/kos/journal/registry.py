"""Which operations there are, so that the journal's commands find them by name.

As text: the core imports no capability. Each is imported when one of its operations is shown or resumed.
"""

from __future__ import annotations

from importlib import import_module

from kos.errors import UnknownKind
from kos.journal.operation import Operation

OPERATIONS = {
    "sample.load": "kos.knowledge.samples.load:LOAD_SAMPLE",
    "adoption.adopt": "kos.adoption.adopt:ADOPT",
    "projection.rebuild": "kos.projections.rebuilding:REBUILD",
    "schema.change": "kos.schema_change.change:CHANGE",
    "adoption.release": "kos.adoption.release:RELEASE",
    "tenant.import": "kos.knowledge.exchange.import_:IMPORT_TENANT",
}


def operation_named(name: str) -> Operation:
    """The operation of that name; `UnknownKind` if this library has none."""
    if name not in OPERATIONS:
        raise UnknownKind(name)
    module, _, attribute = OPERATIONS[name].partition(":")
    found: Operation = getattr(import_module(module), attribute)
    return found

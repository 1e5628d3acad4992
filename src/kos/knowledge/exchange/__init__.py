"""A tenant's whole data, out in open formats and in again.

Promise: an import is identical to what was exported: exporting it again gives the same files, byte for byte. Whatever
an export or an import does not finish, it leaves no half of.

Invariants: an export is one snapshot of all tables. The server makes and reads every value's text; nothing passes
through a float. The format is described in `docs/reference/export-format.md`.

Words: an *export* is a folder; its *manifest* says what is in it, with a digest of everything.
"""

from kos.knowledge.exchange.export import Exported, ExportPlan, export_tenant, plan_export
from kos.knowledge.exchange.import_ import Imported, ImportPlan, import_tenant, plan_import, run_import
from kos.knowledge.exchange.verify import Verified, verify

__all__ = [
    "ExportPlan",
    "Exported",
    "ImportPlan",
    "Imported",
    "Verified",
    "export_tenant",
    "import_tenant",
    "plan_export",
    "plan_import",
    "run_import",
    "verify",
]

"""kos: persistence operations for multi-tenant products on PostgreSQL, a graph, a cache and object storage.

store = kos.open()
with store.tenant("acme", persona="developer", user=user_id) as acme:
    acme.execute("update atoms set number_value = %s where id = %s", (0.1, atom_id))
"""

from kos.errors import KosError
from kos.tenancy import AsyncStore, Session, Store, Tenant, open, open_async

__all__ = ["AsyncStore", "KosError", "Session", "Store", "Tenant", "open", "open_async"]
__version__ = "0.1.0"

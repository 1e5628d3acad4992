"""Django with kos. `tenancy.py` is what to copy; `models.py` shows how the tables of tenants are mapped."""

"""A table of tenants as a model. kos makes the tables, so Django does not."""

from __future__ import annotations

from django.db import models
from django.db.models import Func


class Atom(models.Model):
    """`tenant_id` is not mapped: the database fills it in, and refuses any other. So `id` alone is the key here."""

    id = models.UUIDField(primary_key=True, db_default=Func(function="kos.uuid_v7"))
    atom_type = models.TextField()
    name = models.TextField()
    number_value = models.DecimalField(max_digits=38, decimal_places=9, null=True)

    class Meta:
        managed = False
        db_table = "atoms"  # without a schema: the search path says where the tenant's is

    def __str__(self) -> str:
        return f"{self.atom_type} {self.name}"

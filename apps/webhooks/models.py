"""The outbox: what happened, written in the transaction that made it happen."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from apps.accounts.models import Workspace
from apps.core.ids import new_event_id


class OutboxEvent(models.Model):
    """One event of the seed's catalogue. `data` has the shape that the catalogue gives for its `type`."""

    id = models.CharField(max_length=36, primary_key=True, default=new_event_id, editable=False)
    type = models.CharField(max_length=40)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    data = models.JSONField(encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="outbox_by_time")]

    def __str__(self) -> str:
        return f"{self.id} {self.type}"

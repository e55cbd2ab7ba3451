"""The outbox of events, the endpoints that receive them, their deliveries, attempts and signing secrets."""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import Workspace
from apps.core.ids import new_event_id

TEST_EVENT = "webhook.test"

# The event catalogue of the specification: the types that a webhook can receive.
EVENT_TYPES: tuple[str, ...] = (
    "agent.provisioned",
    "agent.destroyed",
    "agent.failed",
    "agent.session.started",
    "agent.session.ended",
    "agent.renewed",
    "agent.renewal_failed",
    "job.completed",
    "job.failed",
    "job.input_required",
    TEST_EVENT,
)


class OutboxEvent(models.Model):
    """One event, written in the transaction that causes it. The specification defines the shape of `data` by `type`."""

    id = models.CharField(max_length=36, primary_key=True, default=new_event_id, editable=False)
    type = models.CharField(max_length=40)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    data = models.JSONField(encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="outbox_by_time")]

    def __str__(self) -> str:
        return f"{self.id} {self.type}"


class Endpoint(models.Model):
    """A workspace's webhook. The row of a deleted one stays as long as the log of its deliveries.

    One with `job_id` is the `webhook_url` of a job: it receives the job's last event and nothing else, the API does not
    show it, and it is deleted when that event is delivered or given up.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        DISABLED = "disabled"
        DELETED = "deleted"

    class Signature(models.TextChoices):
        BODY = "body", "X-Agents-Signature covers the body"
        TIMESTAMPED = "timestamped", "X-Agents-Signature covers the time and the body"

    class Reason(models.TextChoices):
        OWNER = "owner", "by its workspace"
        GONE = "gone", "the receiver answered 410 Gone"
        FAILING = "failing", "nothing but failures for five days"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+", db_index=False)
    job_id = models.UUIDField(null=True, help_text="Set: it receives the last event of this job only.")
    url = models.CharField(max_length=2048)
    events = ArrayField(models.CharField(max_length=40), default=list, help_text="Empty: every type.")
    description = models.CharField(max_length=500, blank=True, default="")
    signature = models.CharField(max_length=12, choices=Signature, default=Signature.BODY)
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    disabled_reason = models.CharField(max_length=10, choices=Reason, blank=True, default="")
    disabled_at = models.DateTimeField(null=True)
    notified_at = models.DateTimeField(null=True, help_text="When its owners were told that it was disabled.")
    failing_since = models.DateTimeField(null=True, help_text="The first failure after the last success.")
    last_failure_at = models.DateTimeField(null=True, help_text="To the minute.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "webhook"
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="endpoint_newest_first"),
            models.Index(
                fields=["disabled_at"],
                name="endpoint_to_notify",
                condition=Q(status="disabled", notified_at=None),
            ),
            models.Index(fields=["workspace"], name="endpoint_active", condition=Q(status="active")),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Delivery(models.Model):
    """One event for one endpoint.

    `due_at` is when a deliverer may claim it: by the schedule or, while a deliverer holds `claim`, when that expires.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+", db_index=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0, help_text="Attempts whose outcome is known.")
    round_began = models.PositiveIntegerField(
        default=0, help_text="Attempts made before it was last put on the schedule's beginning."
    )
    due_at = models.DateTimeField(null=True, help_text="Empty: never again.")
    claim = models.UUIDField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["endpoint", "due_at"], name="delivery_queue", condition=Q(status="pending")),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Attempt(models.Model):
    """The result of one attempt. Ordered by `id`."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True, help_text="Empty: there was no answer.")
    error = models.CharField(max_length=300, blank=True, default="")
    duration_ms = models.PositiveIntegerField()
    ended_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["endpoint", "-id"], name="attempt_newest_first"),
            BrinIndex(fields=["ended_at"], name="attempt_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"


class SigningSecret(models.Model):
    """A workspace's signing secrets: the current one, and those retired in the last 24 hours."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    sealed = models.BinaryField(help_text="See apps.core.sealing.")
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace"], condition=Q(retired_at=None), name="one_current_secret")
        ]

    def __str__(self) -> str:
        return f"{self.workspace_id} {self.created_at}"

"""Jobs, their events, and the pages that they loaded."""

from __future__ import annotations

import json
import uuid
import zlib
from typing import Any

from django.contrib.postgres.indexes import BrinIndex
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from apps.accounts.models import Workspace


class Job(models.Model):
    """One piece of work. Its row is a projection of its events: only `services.event_log` writes the columns of
    `projection.State`.

    `claim_until` and `enqueued_at` are not projected: until when the current claim is valid, and when a message was
    last sent to the workers.
    """

    class Kind(models.TextChoices):
        TASK = "task"
        SCRAPE = "scrape"
        EXTRACT = "extract"
        SCREENSHOT = "screenshot"
        BATCH = "batch"
        CRAWL = "crawl"

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        INPUT_REQUIRED = "input_required"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind)
    framework = models.CharField(max_length=20, blank=True)
    params = models.JSONField(default=dict, help_text="What was asked for. Never a secret.")
    metadata = models.JSONField(default=dict, help_text="The caller's own.")
    sync = models.BooleanField(default=False, help_text="Answered in hand: its end fires no webhook event.")
    hold_reference = models.CharField(max_length=150)
    page_credits = models.PositiveIntegerField(default=0, help_text="Price of a completed page, as at the start.")

    request_id = models.CharField(max_length=200, blank=True, help_text="Of the call that created it.")
    status = models.CharField(max_length=14, choices=Status)
    last_seq = models.PositiveIntegerField()
    fence = models.PositiveIntegerField(default=0)
    owner = models.CharField(max_length=100, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Times abandoned since it last got further.")
    progress_done = models.PositiveIntegerField(default=0)
    progress_total = models.PositiveIntegerField(null=True)
    step_count = models.PositiveIntegerField(default=0)
    credits_used = models.PositiveIntegerField(default=0, help_text="What the work so far is worth.")
    credits_charged = models.PositiveIntegerField(default=0, help_text="What was captured, once over.")
    agent_id = models.CharField(max_length=24, blank=True)
    live_url = models.CharField(max_length=500, blank=True)
    result = models.JSONField(null=True, help_text="Empty where the result is built from the job's pages.")
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=2000, blank=True)
    input_request = models.JSONField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)

    claim_until = models.DateTimeField(null=True, db_column="lease_until")  # the previous version reads this column
    enqueued_at = models.DateTimeField(null=True, help_text="When a message was last sent for it.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status="running", claim_until__isnull=False) & ~Q(owner="")
                | ~Q(status="running") & Q(claim_until=None, owner=""),
                name="job_leased_while_running",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="job_newest_first"),
            models.Index(fields=["enqueued_at"], condition=Q(status="queued"), name="job_queued_by_wait"),
            models.Index(fields=["claim_until"], condition=Q(status="running"), name="job_running_by_lease"),
            models.Index(fields=["workspace", "kind"], condition=Q(status="running"), name="job_running_by_workspace"),
            models.Index(fields=["kind"], condition=Q(status="input_required"), name="job_asking_by_kind"),
            BrinIndex(fields=["completed_at"], name="job_ended_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind} {self.status}"


class JobEvent(models.Model):
    """An event of a job. Triggers in the database reject UPDATE, DELETE and TRUNCATE."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="events")
    seq = models.PositiveIntegerField()
    type = models.CharField(max_length=20)
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    fence = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "seq"], name="job_event_seq_once")]

    def __str__(self) -> str:
        return f"{self.job_id} #{self.seq} {self.type}"


class JobPage(models.Model):
    """The result of one page of a job, written once. A trigger rejects UPDATE.

    `packed` is the row of the result as compressed JSON: page texts may hold characters that JSON columns can't (NUL).
    """

    class Status(models.TextChoices):
        COMPLETED = "completed"
        FAILED = "failed"

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="pages")
    position = models.PositiveIntegerField()
    url = models.TextField()
    status = models.CharField(max_length=10, choices=Status)
    packed = models.BinaryField()
    size = models.PositiveIntegerField(help_text="Bytes of JSON that it unpacks to.")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, help_text="When it is deleted; empty: it is kept.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "position"], name="job_page_once")]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="job_page_by_expiry")
        ]

    def __str__(self) -> str:
        return f"{self.job_id} [{self.position}] {self.status}"

    @property
    def payload(self) -> dict[str, Any]:
        return unpack(bytes(self.packed))


class TaskRun(models.Model):
    """What a worker needs to continue a task. The row is deleted when the task ends.

    `sealed_state` is the agent after its last completed step, `sealed_answer` a human's answer that it has not read
    yet. Both may hold page contents or secrets, so they are encrypted (`apps.core.sealing`).
    """

    job = models.OneToOneField(Job, on_delete=models.PROTECT, primary_key=True, related_name="task_run")
    credits_per_3_steps = models.PositiveIntegerField(help_text="As it was at the start.")
    surcharge_credits = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Of the country, until the task's browser runs and they are charged."
    )
    surcharge_credits = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Of the country, until the task's browser runs and they are charged."
    )
    deadline_at = models.DateTimeField(null=True, help_text="Empty before it first ran, and while a human is asked.")
    seconds_left = models.FloatField(null=True, help_text="Of its time, while a human is asked.")
    acting_step = models.PositiveIntegerField(default=0, help_text="The last step that began to act in the browser.")
    sealed_state = models.BinaryField(null=True)
    sealed_answer = models.BinaryField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["deadline_at"], condition=Q(deadline_at__isnull=False), name="task_run_by_deadline")
        ]

    def __str__(self) -> str:
        return str(self.job_id)


class StepScreenshot(models.Model):
    """The screenshot that the model saw when it decided on a step: a PNG."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+")
    step = models.PositiveIntegerField()
    png = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "step"], name="step_screenshot_once")]
        indexes = [BrinIndex(fields=["created_at"], name="step_screenshot_by_time")]

    def __str__(self) -> str:
        return f"{self.job_id} step {self.step}"


def pack(payload: dict[str, Any]) -> tuple[bytes, int]:
    """The compressed payload, and its size in bytes before."""
    raw = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return zlib.compress(raw, level=1), len(raw)


def unpack(packed: bytes) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    return payload

"""Money: the append-only ledger, its locked projection for each workspace, holds, and the price table."""

from __future__ import annotations

import uuid

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Workspace
from apps.billing import chain


class LedgerEntry(models.Model):
    """One line of a workspace's ledger. Triggers in the database reject UPDATE, DELETE and TRUNCATE."""

    class Kind(models.TextChoices):
        GRANT = "grant"
        TOP_UP = "top_up"
        HOLD = "hold"
        CAPTURE = "capture"
        RELEASE = "release"
        RENEWAL = "renewal"
        REFUND = "refund"
        ADJUSTMENT = "adjustment"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=12, choices=Kind)
    amount = models.BigIntegerField(help_text="Change of the balance.")
    held_change = models.BigIntegerField(help_text="Change of what is held.")
    balance_after = models.BigIntegerField()
    held_after = models.BigIntegerField()
    reference = models.CharField(max_length=200)
    description = models.CharField(max_length=500, blank=True)
    agent_id = models.CharField(max_length=24, blank=True)
    job_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(fields=["workspace", "seq"], name="ledger_seq_once"),
            models.UniqueConstraint(fields=["workspace", "reference"], name="ledger_reference_once"),
            models.CheckConstraint(
                condition=Q(held_after__gte=0) & Q(balance_after__gte=F("held_after")),
                name="ledger_never_overdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workspace_id} #{self.seq} {self.kind} {self.amount:+d}"

    def line(self) -> chain.Line:
        """What this entry says, for recomputing its hash."""
        return chain.Line(
            workspace_id=self.workspace_id,
            kind=self.kind,
            amount=self.amount,
            held_change=self.held_change,
            reference=self.reference,
            description=self.description,
            agent_id=self.agent_id,
            job_id=self.job_id,
            created_at=self.created_at,
        )


class CreditAccount(models.Model):
    """The head of a workspace's ledger. Its row lock is the workspace's lock for everything that costs."""

    workspace = models.OneToOneField(
        Workspace, on_delete=models.PROTECT, primary_key=True, related_name="credit_account"
    )
    balance = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    seq = models.BigIntegerField(default=0)
    head_hash = models.CharField(max_length=64, default=chain.GENESIS)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(held__gte=0) & Q(balance__gte=F("held")), name="account_never_overdrawn"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workspace_id}: {self.balance} ({self.held} held)"

    def head(self) -> chain.Head:
        return chain.Head(seq=self.seq, balance=self.balance, held=self.held, hash=self.head_hash)


class Hold(models.Model):
    """Credits set aside for work that runs. Settled once: what was used is captured, the rest released."""

    class Status(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    reference = models.CharField(max_length=150)
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(null=True, help_text="What was used; empty while open.")
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    agent_id = models.CharField(max_length=24, blank=True)
    job_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "reference"], name="hold_reference_once"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="hold_not_negative"),
            models.CheckConstraint(
                condition=Q(status="open", captured=None, settled_at=None)
                | Q(status="settled", captured__gte=0, captured__lte=F("amount"), settled_at__isnull=False),
                name="hold_settled_whole",
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], condition=Q(status="open"), name="hold_open_by_expiry")]

    def __str__(self) -> str:
        return f"{self.reference}: {self.amount} {self.status}"


class Price(models.Model):
    """The operator's price of one thing, in credits. Without a row the default of `apps.billing.pricing` holds."""

    key = models.CharField(max_length=50, primary_key=True)
    credits = models.PositiveIntegerField(validators=[MaxValueValidator(1_000_000)])

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return f"{self.key}: {self.credits}"

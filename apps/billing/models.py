"""The append-only ledger, the account of each workspace, holds, checkouts, and the price table."""

from __future__ import annotations

import uuid

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Workspace
from apps.billing import chain
from apps.billing.pricing import DEFAULT_PRICES


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
    # No index of its own: the unique constraints begin with this column, and a second index would slow every insert.
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+", db_index=False)
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
        """The entry's content, to recompute its hash."""
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
    """The head of a workspace's ledger. Its row lock serialises all spending in the workspace.

    Triggers reject DELETE and TRUNCATE.
    """

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

    def head(self) -> chain.LedgerHead:
        return chain.LedgerHead(seq=self.seq, balance=self.balance, held=self.held, hash=self.head_hash)


class Hold(models.Model):
    """Credits reserved for running work. Settled once: used credits are captured, the rest is released.

    Triggers reject DELETE and TRUNCATE, changes of a settled hold, and changes of an open hold's other columns than
    those that settle or extend it.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+", db_index=False)
    reference = models.CharField(max_length=150)
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(null=True, help_text="What was used; empty while open.")
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    agent_id = models.CharField(max_length=24, blank=True)
    job_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(help_text="If still open then, a sweep asks what became of the work.")
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


class Checkout(models.Model):
    """A purchase of credits. Written before the call to Stripe; events from Stripe then move its status.

    This row decides how many credits are granted and for which amount: a payment that differs moves it to REVIEW.
    """

    class Status(models.TextChoices):
        STARTING = "starting"  # Stripe has not answered yet
        PENDING = "pending"
        PAID = "paid"
        EXPIRED = "expired"
        FAILED = "failed"
        REVIEW = "review"  # the payment differs from the row: nothing is granted, an operator decides
        REFUNDED = "refunded"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=Status, default=Status.STARTING)
    credits = models.BigIntegerField()
    amount = models.BigIntegerField(help_text="In the currency's smallest unit.")
    currency = models.CharField(max_length=3)
    success_url = models.CharField(max_length=2048)
    cancel_url = models.CharField(max_length=2048)
    idempotency_key = models.UUIDField(default=uuid.uuid4, editable=False, help_text="Minted once, sent to Stripe.")
    session_id = models.CharField(max_length=255, blank=True)
    url = models.TextField(blank=True, help_text="Where to pay.")
    payment_intent = models.CharField(max_length=255, blank=True)
    refunded_amount = models.BigIntegerField(default=0, help_text="Paid back so far, in the smallest unit.")
    refunded_credits = models.BigIntegerField(default=0, help_text="Taken back for that.")
    owed_credits = models.BigIntegerField(default=0, help_text="Could not be taken back: they were spent or held.")
    problem = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True, help_text="When Stripe was last asked about it.")
    paid_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["created_at"], condition=Q(status__in=["starting", "pending"]), name="checkout_undecided"
            ),
            models.Index(fields=["payment_intent"], condition=~Q(payment_intent=""), name="checkout_by_payment"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["session_id"], condition=~Q(session_id=""), name="checkout_session_once"),
            models.CheckConstraint(condition=Q(credits__gt=0, amount__gt=0), name="checkout_of_something"),
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.credits} for {self.amount} {self.currency}, {self.status}"


def check_known(key: str) -> None:
    """A mistyped key would be a price that is never charged."""
    if key not in DEFAULT_PRICES:
        raise ValidationError(f"There is no such price; there are: {', '.join(DEFAULT_PRICES)}.")


class Price(models.Model):
    """The operator's price for one key, in credits. Without a row the default in `apps.billing.pricing` applies."""

    key = models.CharField(max_length=50, primary_key=True, validators=[check_known])
    credits = models.PositiveIntegerField(validators=[MaxValueValidator(1_000_000)])

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return f"{self.key}: {self.credits}"

"""Agents: browser identities that a workspace has leased."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.accounts.models import Workspace
from apps.billing.pricing import BurnerRate
from apps.core.ids import new_agent_id, profile_id_of


class Agent(models.Model):
    """One browser identity, from the request to its end. Only `services.transitions.move` changes `status`.

    A `quick` agent has loaded a single page of a job (`services.quick_agents`).
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DESTROYED = "destroyed"
        FAILED = "failed"

    class Mode(models.TextChoices):
        BURNER = "burner"
        PERSISTENT = "persistent"

    id = models.CharField(max_length=24, primary_key=True, default=new_agent_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="agents")
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    mode = models.CharField(max_length=10, choices=Mode)
    quick = models.BooleanField(default=False, help_text="Loaded one page of a quick call.")

    initial_url = models.CharField(max_length=2048, blank=True)
    country = models.CharField(max_length=2)
    os_type = models.CharField(max_length=20)
    persona = models.CharField(max_length=200, blank=True, default="", db_default="")
    warmup_recipe = models.CharField(max_length=20, blank=True, default="", db_default="")
    ttl_seconds = models.PositiveIntegerField()
    job_id = models.UUIDField(null=True, help_text="The task whose browser it is: it ends with the task.")
    trust_score = models.PositiveSmallIntegerField(help_text="The sum of its trust inputs.")
    fingerprint_seed = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="What its fingerprint is drawn from."
    )
    overrides = models.JSONField(
        blank=True, default=dict, db_default={}, help_text="What the caller chose of the fingerprint."
    )
    warnings = models.JSONField(blank=True, default=list, db_default=[], help_text="What of it is not as asked.")

    period_credits = models.PositiveIntegerField(help_text="Price of each ten minutes, as it was at the start.")
    surcharge_credits = models.PositiveIntegerField(help_text="Price of the country, as it was at the start.")
    hold_reference = models.CharField(max_length=150)
    cost_credits = models.PositiveIntegerField(help_text="What is held while live, what was captured once over.")

    runner_id = models.CharField(max_length=100, blank=True, default="", db_default="")
    boot_id = models.CharField(max_length=100, blank=True, default="", db_default="")
    profile = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="The capability in its CDP URLs."
    )
    page_id = models.CharField(max_length=100, blank=True, default="", db_default="")
    live_view = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="The capability to watch it."
    )
    live_control = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="The capability to watch and steer it."
    )

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    destroyed_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=20, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=500, blank=True)

    next_renewal_at = models.DateTimeField(null=True, help_text="When a persistent one's next month begins.")
    renewal_failed_at = models.DateTimeField(null=True, help_text="Since when that month could not be paid.")

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="agent_newest_first"),
            models.Index(
                fields=["workspace", "-created_at", "-id"], condition=Q(quick=False), name="agent_listed_newest_first"
            ),
            models.Index(
                fields=["workspace", "mode"],
                condition=Q(status__in=["queued", "running"]),
                name="agent_live_by_workspace",
            ),
            models.Index(fields=["expires_at"], condition=Q(status="running"), name="agent_running_by_expiry"),
            models.Index(
                fields=["next_renewal_at"],
                condition=Q(status="running", next_renewal_at__isnull=False),
                name="agent_due_for_renewal",
            ),
            models.Index(fields=["job_id"], condition=Q(job_id__isnull=False), name="agent_by_job"),
            models.Index(fields=["live_view"], condition=~Q(live_view=""), name="agent_by_live_view"),
            models.Index(fields=["live_control"], condition=~Q(live_control=""), name="agent_by_live_control"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    @property
    def profile_id(self) -> str:
        return profile_id_of(self.id)

    @property
    def rate(self) -> BurnerRate:
        return BurnerRate(per_period=self.period_credits, surcharge=self.surcharge_credits)


class AgentFingerprint(models.Model):
    """What an agent's browser showed when it was measured, before its lease, and the inputs of its trust score then."""

    agent = models.OneToOneField(Agent, on_delete=models.CASCADE, primary_key=True, related_name="fingerprint")
    document = models.JSONField(help_text="As the runner measured it. Empty: not measured.")
    trust_inputs = models.JSONField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"fingerprint of {self.agent_id}"


class HarnessPage(models.Model):
    """An external page that the detection harness opens too, such as a public checker."""

    name = models.SlugField(unique=True, help_text="Its name among the sites of a verdict.")
    url = models.URLField(max_length=2048)
    expression = models.TextField(
        help_text="JavaScript, evaluated when the page has loaded. It gives true or false, a score from 0 to 1, or a"
        " promise of one.",
    )
    threshold = models.FloatField(default=0.5, help_text="The least score that passes.")
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class HarnessVerdict(models.Model):
    """One check of one run of the detection harness, on a browser of one shape: an OS type in a country.

    `listed`: it failed as a known exception (docs/harness.md), which does not count against the site.
    """

    class Outcome(models.TextChoices):
        PASSED = "passed"
        LISTED = "listed"
        FAILED = "failed"

    run_id = models.UUIDField()
    os_type = models.CharField(max_length=20)
    country = models.CharField(max_length=2)
    chromium = models.CharField(max_length=30)
    site = models.CharField(max_length=50)
    check_name = models.CharField(max_length=60)
    outcome = models.CharField(max_length=10, choices=Outcome)
    detail = models.JSONField(help_text="What was expected and what was seen, for each place. Empty: passed.")
    measured_at = models.DateTimeField(help_text="When the run began.")

    class Meta:
        indexes = [models.Index(fields=["os_type", "country", "-measured_at"], name="harness_by_shape")]

    def __str__(self) -> str:
        return f"{self.site} {self.check_name}: {self.outcome}"

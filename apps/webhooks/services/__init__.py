"""Writes: events and their deliveries, endpoints, secrets, claims and outcomes."""

from apps.webhooks.services.endpoints import register_for_job
from apps.webhooks.services.outbox import record_end_of_job, record_event

__all__ = ["record_end_of_job", "record_event", "register_for_job"]

"""Writes: events and their deliveries, endpoints, secrets, claims and outcomes."""

from apps.webhooks.services.outbox import record_event

__all__ = ["record_event"]

"""Writes: events and their deliveries, endpoints, secrets, what deliverers do."""

from apps.webhooks.services.outbox import record_event

__all__ = ["record_event"]

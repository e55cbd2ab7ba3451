"""Writes: events and their deliveries, endpoints, secrets, what deliverers do."""

from apps.webhooks.services.recording import record_event

__all__ = ["record_event"]

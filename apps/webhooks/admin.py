"""Operators' page for events."""

from __future__ import annotations

from django.contrib import admin

from apps.core.admin import ReadOnlyAdmin
from apps.webhooks.models import OutboxEvent


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin[OutboxEvent]):
    list_display = ["id", "type", "workspace", "created_at"]
    list_filter = ["type"]
    list_select_related = ["workspace"]
    ordering = ["-created_at"]
    search_fields = ["id", "workspace__name", "workspace__slug"]
    # It holds capabilities: operators look after events, they don't hold the keys of customers' browsers.
    exclude = ["data"]

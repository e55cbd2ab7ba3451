"""Agents in the Django admin, read only."""

from __future__ import annotations

from django.contrib import admin

from apps.agents.models import Agent
from apps.core.admin import ReadOnlyAdmin


@admin.register(Agent)
class AgentAdmin(ReadOnlyAdmin[Agent]):
    list_display = [
        "id",
        "workspace",
        "status",
        "mode",
        "country",
        "cost_credits",
        "created_at",
        "end_reason",
    ]
    list_filter = ["status", "mode", "quick", "end_reason"]
    list_select_related = ["workspace"]
    ordering = ["-created_at"]
    search_fields = ["id", "workspace__name", "workspace__slug"]
    # These capabilities grant access to the customer's browser, so the admin does not show them.
    exclude = ["profile", "page_id", "live_view", "live_control"]

"""Operators' page for agents."""

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
    # Its capabilities drive and show the customer's browser: operators look after agents, they don't hold their keys.
    exclude = ["profile", "page_id", "live_view", "live_control"]

"""Agents and the detection harness in the Django admin. Only the external pages of the harness can be edited."""

from __future__ import annotations

from django.contrib import admin

from apps.agents.models import Agent, HarnessPage, HarnessVerdict
from apps.core.admin import ModelAdmin, ReadOnlyAdmin


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


@admin.register(HarnessPage)
class HarnessPageAdmin(ModelAdmin[HarnessPage]):
    list_display = ["name", "url", "threshold", "active"]


@admin.register(HarnessVerdict)
class HarnessVerdictAdmin(ReadOnlyAdmin[HarnessVerdict]):
    list_display = ["measured_at", "os_type", "country", "chromium", "site", "check_name", "outcome"]
    list_filter = ["outcome", "site", "os_type", "country"]
    ordering = ["-measured_at", "id"]

"""Operators' page for jobs, with what happened to each."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.core.admin import ReadOnlyAdmin, TabularInline
from apps.jobs.models import Job, JobEvent


class Timeline(TabularInline[JobEvent, Job]):
    model = JobEvent
    fields = ["seq", "created_at", "type", "fence", "data"]
    ordering = ["seq"]
    verbose_name_plural = "timeline"
    can_delete = False
    max_num = 0

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin[Job]):
    list_display = [
        "id",
        "workspace",
        "kind",
        "status",
        "progress_done",
        "progress_total",
        "credits_charged",
        "created_at",
        "error_code",
    ]
    list_filter = ["status", "kind", "error_code"]
    list_select_related = ["workspace"]
    ordering = ["-created_at"]
    search_fields = ["id", "workspace__name", "workspace__slug", "agent_id"]
    # What customers asked for, and got, is theirs.
    exclude = ["params", "result"]
    inlines = [Timeline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return super().get_queryset(request).defer("params", "result")

"""Base classes of the operators' pages, and the read-only pages of core's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from apps.core.models import BeatTick, IdempotencyKey

if TYPE_CHECKING:  # the theme has no type hints; Django's classes have the same interface
    from django.contrib.admin import ModelAdmin as ModelAdmin
    from django.contrib.admin import TabularInline as TabularInline
else:
    from unfold.admin import ModelAdmin as ModelAdmin
    from unfold.admin import TabularInline as TabularInline

M = TypeVar("M", bound=Model)


class ReadOnlyAdmin(ModelAdmin[M]):
    """Shows rows without buttons to add, change or delete them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


@admin.register(BeatTick)
class BeatTickAdmin(ReadOnlyAdmin[BeatTick]):
    list_display = ["name", "started_at", "finished_at", "error"]


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin[IdempotencyKey]):
    list_display = ["path", "workspace_id", "status", "subject_kind", "subject_id", "created_at"]
    ordering = ["-created_at"]
    search_fields = ["subject_id"]
    exclude = ["body", "fingerprint"]  # responses may hold page content and capabilities

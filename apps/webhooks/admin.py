"""Operators' pages for events, webhooks and deliveries. They show no secret, no capability and no whole URL."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.core.admin import ReadOnlyAdmin
from apps.core.errors import ApiError
from apps.core.outgoing import urls
from apps.webhooks.models import Attempt, Delivery, Endpoint, OutboxEvent
from apps.webhooks.services import endpoints


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin[OutboxEvent]):
    list_display = ["id", "type", "workspace", "created_at"]
    list_filter = ["type"]
    list_select_related = ["workspace"]
    ordering = ["-created_at"]
    search_fields = ["id", "workspace__name", "workspace__slug"]
    # It holds capabilities: operators must not get access to customers' browsers.
    exclude = ["data"]


@admin.register(Endpoint)
class EndpointAdmin(ReadOnlyAdmin[Endpoint]):
    list_display = ["id", "workspace", "leads_to", "status", "disabled_reason", "failing_since", "created_at"]
    list_filter = ["status", "disabled_reason"]
    list_select_related = ["workspace"]
    ordering = ["-created_at"]
    search_fields = ["id", "workspace__name", "workspace__slug"]
    exclude = ["url"]  # the path is often a password
    readonly_fields = ["leads_to"]

    @admin.display(description="leads to")
    def leads_to(self, endpoint: Endpoint) -> str:
        return urls.parse(endpoint.url).origin


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    list_display = ["id", "event_type", "endpoint", "status", "attempts", "due_at", "created_at"]
    list_filter = ["status"]
    list_select_related = ["event", "endpoint"]
    ordering = ["-created_at"]
    search_fields = ["id", "event__id", "endpoint__id"]
    actions = ["redeliver"]

    @admin.display(description="event")
    def event_type(self, delivery: Delivery) -> str:
        return delivery.event.type

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        """Deliveries can't be edited here, so the change permission means the permission to send them again."""
        return bool(request.user.has_perm("webhooks.change_delivery"))

    @admin.action(description="Send again", permissions=["redeliver"])
    def redeliver(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        for delivery in queryset.select_related("endpoint"):
            endpoint = delivery.endpoint
            try:
                endpoints.redeliver(
                    workspace_id=endpoint.workspace_id, endpoint_id=endpoint.id, delivery_id=delivery.id
                )
            except ApiError as error:
                self.message_user(request, f"{delivery}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, f"{delivery}: will be sent again.")


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin[Attempt]):
    list_display = ["delivery", "endpoint", "number", "status_code", "error", "duration_ms", "ended_at"]
    list_filter = ["status_code"]
    list_select_related = ["delivery", "endpoint"]
    ordering = ["-id"]
    search_fields = ["delivery__id", "endpoint__id"]

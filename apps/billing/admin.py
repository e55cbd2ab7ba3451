"""Operators' pages for money. Nothing here can change history: credits move by a form that appends to the ledger."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from apps.accounts.admin import WorkspaceAdmin
from apps.accounts.models import Workspace
from apps.billing import selectors
from apps.billing.admin_forms import MoveCreditsForm
from apps.billing.models import Checkout, CreditAccount, Hold, LedgerEntry, Price
from apps.core.admin import ModelAdmin, ReadOnlyAdmin


def _page(name: str, *args: object) -> str:
    return reverse(f"admin:billing_{name}", args=args)


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin[CreditAccount]):
    list_display = ["workspace", "balance", "held", "available", "seq"]
    list_select_related = ["workspace"]
    search_fields = ["workspace__name", "workspace__slug", "workspace__id"]
    fields = ["workspace", "balance", "held", "available", "seq", "head_hash", "see", "move"]
    readonly_fields = ["available", "see", "move"]

    def get_urls(self) -> list[URLPattern]:
        move = self.admin_site.admin_view(self.move_credits)
        return [path("<uuid:workspace_id>/move/", move, name="billing_move_credits"), *super().get_urls()]

    @admin.display
    def available(self, account: CreditAccount) -> int:
        return account.head().available

    @admin.display(description="history")
    def see(self, account: CreditAccount) -> str:
        query = f"?workspace__id__exact={account.workspace_id}"
        pages = {"ledger": "ledgerentry", "holds": "hold", "checkouts": "checkout"}
        links = [format_html('<a href="{}{}">{}</a>', _page(f"{m}_changelist"), query, t) for t, m in pages.items()]
        return format_html("{}, {}, {}", *links)

    @admin.display(description="credits")
    def move(self, account: CreditAccount) -> str:
        return format_html('<a href="{}">Top up, adjust or refund</a>', _page("move_credits", account.workspace_id))

    def move_credits(self, request: HttpRequest, workspace_id: Any) -> HttpResponse:
        """Accounts can't be edited, so the change permission means the permission to move credits."""
        if not request.user.has_perm("billing.change_creditaccount"):
            raise PermissionDenied
        account = get_object_or_404(CreditAccount.objects.select_related("workspace"), workspace_id=workspace_id)
        form = MoveCreditsForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            entry = form.apply(workspace_id=account.workspace_id, operator=str(request.user))
            if entry is not None:
                self.log_change(request, account, f"{entry.kind} {entry.amount:+d}: {entry.description}")
                self.message_user(request, f"The balance is {entry.balance_after} credits.")
                return HttpResponseRedirect(_page("creditaccount_change", account.workspace_id))
        context = {**self.admin_site.each_context(request), "title": "Move credits", "form": form, "account": account}
        return TemplateResponse(request, "admin/billing/move_credits.html", context)


class _OfAWorkspace(ReadOnlyAdmin[Any]):
    """Lists that the account page links to, filtered by workspace."""

    list_select_related = ["workspace"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "workspace__id__exact" or super().lookup_allowed(lookup, value, request)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(_OfAWorkspace):
    list_display = [
        "workspace",
        "seq",
        "kind",
        "amount",
        "held_change",
        "balance_after",
        "held_after",
        "description",
        "agent_id",
        "created_at",
    ]
    list_filter = ["kind"]
    ordering = ["-created_at", "-seq"]
    search_fields = ["workspace__name", "workspace__slug", "reference", "agent_id"]


@admin.register(Hold)
class HoldAdmin(_OfAWorkspace):
    list_display = ["workspace", "reference", "amount", "captured", "status", "created_at", "expires_at", "settled_at"]
    list_filter = ["status"]
    ordering = ["-created_at"]
    search_fields = ["workspace__name", "workspace__slug", "reference"]


@admin.register(Checkout)
class CheckoutAdmin(_OfAWorkspace):
    """Checkouts in `review` were paid with another amount or session: settle them in Stripe, or with a top-up."""

    list_display = ["workspace", "status", "credits", "amount", "currency", "owed_credits", "problem", "created_at"]
    list_filter = ["status"]
    ordering = ["-created_at"]
    search_fields = ["id", "workspace__name", "workspace__slug", "session_id", "payment_intent"]
    exclude = ["url", "idempotency_key"]


@admin.register(Price)
class PriceAdmin(ModelAdmin[Price]):
    list_display = ["key", "credits"]

    def get_readonly_fields(self, request: HttpRequest, obj: Price | None = None) -> list[str]:
        return ["key"] if obj else []  # a changed key would create another row and leave this one


admin.site.unregister(Workspace)


@admin.register(Workspace)
class WorkspaceWithCreditsAdmin(WorkspaceAdmin):
    """The workspace page of `apps.accounts` with balances: that app does not import billing."""

    list_display = [*WorkspaceAdmin.list_display, "balance"]
    list_select_related = ["credit_account"]
    readonly_fields = [*WorkspaceAdmin.readonly_fields, "credits"]

    @admin.display(ordering="credit_account__balance")
    def balance(self, workspace: Workspace) -> int:
        account: CreditAccount | None = getattr(workspace, "credit_account", None)
        return account.balance if account else 0

    @admin.display
    def credits(self, workspace: Workspace) -> str:
        account = selectors.account(workspace_id=workspace.id)
        if account._state.adding:
            return "none yet"
        return format_html(
            '{} of which {} are held and {} available: <a href="{}">account</a>',
            account.balance,
            account.held,
            account.head().available,
            _page("creditaccount_change", workspace.id),
        )

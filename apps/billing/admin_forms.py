"""The form with which an operator moves a workspace's credits. It appends an ordinary ledger entry."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.billing import services
from apps.billing.management.amounts import MAX_CREDITS, MAX_REASON_LENGTH
from apps.billing.models import LedgerEntry
from apps.core.errors import InsufficientCredit

_MAX_EMAIL_LENGTH = 254


class MoveCreditsForm(forms.Form):
    kind = forms.ChoiceField(
        choices=[
            ("top_up", "Top-up: credits that were paid for"),
            ("adjustment", "Adjustment: a correction, up or down"),
            ("refund", "Refund: takes back credits whose price was paid back outside of Stripe"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    credits = forms.IntegerField(
        min_value=-MAX_CREDITS,
        max_value=MAX_CREDITS,
        help_text="Only an adjustment may be negative.",
        widget=UnfoldAdminIntegerFieldWidget,
    )
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH - _MAX_EMAIL_LENGTH,
        help_text="The workspace sees it.",
        widget=UnfoldAdminTextInputWidget,
    )
    # Created with the page: a form that is sent twice moves credits once.
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        credits = values.get("credits")
        if credits == 0 or (credits is not None and credits < 0 and values.get("kind") != "adjustment"):
            self.add_error("credits", "Must be positive; only an adjustment may be negative.")
        return values

    def apply(self, *, workspace_id: uuid.UUID, operator: str) -> LedgerEntry | None:
        """Returns None, with an error on the form, when it would take more credits than are available."""
        values = self.cleaned_data
        move = {"top_up": services.top_up, "adjustment": services.adjust, "refund": services.refund}[values["kind"]]
        try:
            return move(
                workspace_id=workspace_id,
                amount=values["credits"],
                reference=f"{values['kind']}:{values['token']}",
                description=f"{values['reason']} (by {operator})",
            )
        except InsufficientCredit as error:
            self.add_error("credits", error.message)
            return None

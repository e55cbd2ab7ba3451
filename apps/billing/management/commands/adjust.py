"""Corrects a workspace's credits, up or down, and prints the new balance. Held credits stay held."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.management.workspaces import get_workspace
from apps.billing import services
from apps.billing.management.amounts import MAX_CREDITS, checked_reason
from apps.core.errors import InsufficientCredit


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workspace", help="UUID, slug or name")
        parser.add_argument(
            "credits", type=int, help="credits to add; write `--` before the workspace to give a negative number"
        )
        parser.add_argument("--reason", required=True, help="written into the ledger")
        parser.add_argument("--reference", help="a repeat with the same reference changes nothing")

    def handle(
        self, *args: Any, workspace: str, credits: int, reason: str, reference: str | None, **options: Any
    ) -> None:
        if credits == 0 or abs(credits) > MAX_CREDITS:
            raise CommandError(f"CREDITS must be from -{MAX_CREDITS} to {MAX_CREDITS}, and not 0.")
        try:
            entry = services.adjust(
                workspace_id=get_workspace(workspace).id,
                amount=credits,
                reference=f"adjustment:{reference or uuid.uuid4()}",
                description=checked_reason(reason),
            )
        except InsufficientCredit as error:
            raise CommandError(error.message) from error
        self.stdout.write(str(entry.balance_after))

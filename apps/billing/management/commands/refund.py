"""Takes back credits that were refunded outside of Stripe, and prints the workspace's new balance.

A refund in Stripe takes its credits back automatically.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.management.workspaces import get_workspace
from apps.billing import services
from apps.billing.management.amounts import checked_amount, checked_reason
from apps.core.errors import InsufficientCredit


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workspace", help="UUID, slug or name")
        parser.add_argument("credits", type=int)
        parser.add_argument("--reason", required=True, help="written into the ledger")
        parser.add_argument("--reference", help="a repeat with the same reference changes nothing")

    def handle(
        self, *args: Any, workspace: str, credits: int, reason: str, reference: str | None, **options: Any
    ) -> None:
        try:
            entry = services.refund(
                workspace_id=get_workspace(workspace).id,
                amount=checked_amount(credits),
                reference=f"refund:{reference or uuid.uuid4()}",
                description=checked_reason(reason),
            )
        except InsufficientCredit as error:
            raise CommandError(error.message) from error
        self.stdout.write(str(entry.balance_after))

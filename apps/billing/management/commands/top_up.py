"""Adds credits to a workspace, and prints its new balance."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.management.workspaces import named
from apps.billing import services

MOST = 1_000_000_000


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workspace", help="UUID, slug or name")
        parser.add_argument("credits", type=int)
        parser.add_argument("--reason", required=True, help="goes into the ledger")
        parser.add_argument("--reference", help="makes a repeat of the command add nothing")

    def handle(
        self,
        *args: Any,
        workspace: str,
        credits: int,
        reason: str,
        reference: str | None,
        **options: Any,
    ) -> None:
        if not 0 < credits <= MOST:
            raise CommandError(f"CREDITS must be from 1 to {MOST}.")
        if not 0 < len(reason) <= 500:
            raise CommandError("--reason must have 1 to 500 characters.")
        entry = services.top_up(
            workspace_id=named(workspace).id,
            amount=credits,
            reference=f"top_up:{reference or uuid.uuid4()}",
            description=reason,
        )
        self.stdout.write(str(entry.balance_after))

"""Mints an API key and prints only its secret on standard output."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts import services
from apps.accounts.management.workspaces import get_workspace


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workspace", help="UUID, slug or name")
        parser.add_argument("--name", required=True, help="the purpose of the key, up to 100 characters")

    def handle(self, *args: Any, workspace: str, name: str, **options: Any) -> None:
        if not 1 <= len(name) <= 100:
            raise CommandError("--name must have 1 to 100 characters.")
        self.stdout.write(services.mint_key(workspace_id=get_workspace(workspace).id, name=name).secret)

"""Creates the first workspace and a file with an API key for it. Running it again changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction

from apps.accounts import selectors, services
from apps.accounts.models import Workspace

SLUG = "default"
_LOCK = 0x62_72_6F_77  # "brow": only one of the stacks that start on a database runs this at a time


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--credentials", required=True, type=Path, help="path of the credentials file")
        parser.add_argument("--api-url", required=True)

    def handle(self, *args: Any, credentials: Path, api_url: str, **options: Any) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            workspace = Workspace.objects.filter(slug=SLUG).first()
            if workspace is None:
                workspace = services.create_workspace(name="default", slug=SLUG)
            written = read_credentials(credentials)
            secret = written.get("api_key", "")
            if selectors.caller(secret) is None:
                secret = services.mint_key(workspace_id=workspace.id, name="bootstrap").secret
            elif written.get("api_url") == api_url:
                return
        write_private(credentials, json.dumps({"api_url": api_url, "api_key": secret}, indent=2) + "\n")


def read_credentials(path: Path) -> dict[str, str]:
    """The content of the file; empty when the file is missing or not valid."""
    try:
        written = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in written.items()} if isinstance(written, dict) else {}


def write_private(path: Path, text: str) -> None:
    """Replaces the file atomically, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)

"""Makes sure that there is a first workspace, and a file with a key to it. Running it again changes nothing."""

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
_LOCK = 0x62_72_6F_77  # "brow": two stacks that start on one database take turns


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--credentials", required=True, type=Path, help="where the file is or will be")
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
    """What the file holds; nothing when there is none or when it can't be understood."""
    try:
        written = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in written.items()} if isinstance(written, dict) else {}


def write_private(path: Path, text: str) -> None:
    """All at once, and never readable by others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)

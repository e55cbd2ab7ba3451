"""Creates a workspace with its signup credits and prints its UUID."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts import services
from apps.accounts.models import User


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--owner-email", help="an existing user, who becomes the owner")

    def handle(self, *args: Any, name: str, owner_email: str | None, **options: Any) -> None:
        if not 1 <= len(name) <= 100:
            raise CommandError("The name must have 1 to 100 characters.")
        owner = None
        if owner_email:
            owner = User.objects.filter(email=owner_email.strip().lower()).first()
            if owner is None:
                raise CommandError(f"There is no user {owner_email}. Create one with `manage.py createsuperuser`.")
        self.stdout.write(str(services.create_workspace(name=name, owner=owner).id))

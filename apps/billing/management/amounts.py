"""What operators' commands take for an amount and for a reason."""

from __future__ import annotations

from django.core.management.base import CommandError

MOST = 1_000_000_000
LONGEST_REASON = 500


def checked_amount(credits: int) -> int:
    """Raises CommandError."""
    if not 0 < credits <= MOST:
        raise CommandError(f"CREDITS must be from 1 to {MOST}.")
    return credits


def checked_reason(reason: str) -> str:
    """Raises CommandError."""
    if not 0 < len(reason.strip()) <= LONGEST_REASON:
        raise CommandError(f"--reason must have 1 to {LONGEST_REASON} characters.")
    return reason

"""Checks of the amount and reason arguments of operators' commands."""

from __future__ import annotations

from django.core.management.base import CommandError

MAX_CREDITS = 1_000_000_000
MAX_REASON_LENGTH = 500


def checked_amount(credits: int) -> int:
    """Raises CommandError."""
    if not 0 < credits <= MAX_CREDITS:
        raise CommandError(f"CREDITS must be from 1 to {MAX_CREDITS}.")
    return credits


def checked_reason(reason: str) -> str:
    """Raises CommandError."""
    if not 0 < len(reason.strip()) <= MAX_REASON_LENGTH:
        raise CommandError(f"--reason must have 1 to {MAX_REASON_LENGTH} characters.")
    return reason

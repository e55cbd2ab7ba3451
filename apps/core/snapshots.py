"""Reads that must agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def read_snapshot() -> Iterator[None]:
    """Every read inside sees the database as it was at the first of them, so that checks can run beside writers."""
    inside_another = connection.in_atomic_block
    with transaction.atomic():
        if not inside_another:  # only a transaction that has read nothing yet can be given another isolation
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield

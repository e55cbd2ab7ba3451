"""PostgreSQL helpers: errors of a lost connection, asynchronous commit, read snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connection, transaction

# admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections.
_UNREACHABLE = frozenset({"57P01", "57P02", "57P03", "53300"})
_CONNECTION_EXCEPTIONS = "08"


def is_unreachable(error: BaseException) -> bool:
    """Whether `error` means that the server can't be reached or that the connection is lost."""
    if isinstance(error, InterfaceError):
        return "connection" in str(error)  # "connection already closed", not "cursor already closed"
    if not isinstance(error, OperationalError):
        return False
    # An error from the server has a code. Without a code the connection failed.
    code: str | None = getattr(error.__cause__, "pgcode", None)
    return code is None or code in _UNREACHABLE or code.startswith(_CONNECTION_EXCEPTIONS)


def commit_asynchronously() -> None:
    """The current transaction does not wait for the disk (PostgreSQL's "Asynchronous Commit"). It stays atomic and in
    order. It is lost if the server dies in the next 0.6 s and no later transaction has waited for the disk.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit TO off")


@contextmanager
def read_snapshot() -> Iterator[None]:
    """All reads inside see one snapshot of the database, so checks can run while others write."""
    inside_another = connection.in_atomic_block
    with transaction.atomic():
        if not inside_another:  # the isolation level can be set only before the first query
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield

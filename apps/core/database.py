"""What we know of PostgreSQL: errors that mean that it is away, and how much it promises of a commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connection, transaction

# PostgreSQL's codes for: stopped by its administrator, stopped by a crash of a neighbour, starting or stopping, full.
_AWAY = frozenset({"57P01", "57P02", "57P03", "53300"})
_CONNECTION_EXCEPTIONS = "08"


def is_unreachable(error: BaseException) -> bool:
    """Whether `error` means that there is no connection, or none any more."""
    if isinstance(error, InterfaceError):
        return "connection" in str(error)  # "connection already closed", and not "cursor already closed"
    if not isinstance(error, OperationalError):
        return False
    # What the server says has a code. Without one it was the way to the server that failed.
    code: str | None = getattr(error.__cause__, "pgcode", None)
    return code is None or code in _AWAY or code.startswith(_CONNECTION_EXCEPTIONS)


def commit_asynchronously() -> None:
    """The current transaction is atomic and in order as ever, and lost if the server dies within the next 0.6 s, unless
    a later one, which does wait, has taken it to the disk before (PostgreSQL's "Asynchronous Commit").
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

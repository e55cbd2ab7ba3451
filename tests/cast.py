"""Who appears in the tests, and what they can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from django.test import Client
    from django.test.client import ClientHandler

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, as a test wants to see it."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        code: str = self.body["code"]
        return code


@dataclass(frozen=True)
class Member:
    """A user with a workspace and an API key of it."""

    workspace: Any
    secret: str

    def get(self, path: str, **headers: str) -> Reply:
        return call("GET", path, key=self.secret, headers=headers)

    def delete(self, path: str) -> Reply:
        return call("DELETE", path, key=self.secret)

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        content = b"" if body is None else json.dumps(body).encode()
        return call("POST", path, key=self.secret, content=content, headers=headers)

    def post_once(self, path: str, body: Any, key: str) -> Reply:
        """With an Idempotency-Key."""
        return self.post(path, body, **{"Idempotency-Key": key})

    def burner(self, **fields: Any) -> dict[str, Any]:
        """Provisions one and expects it to work."""
        reply = self.post("/v1/agents", fields)
        assert reply.status == 201, reply.content
        body: dict[str, Any] = reply.body
        return body

    def credits(self) -> tuple[int, int]:
        """Balance, and how much of it is held."""
        body = self.get("/v1/credits").body
        return body["balance"], body["held"]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        from apps.webhooks.models import OutboxEvent

        rows = OutboxEvent.objects.filter(workspace=self.workspace).order_by("created_at")
        return [(event.type, event.data) for event in rows]


def join(name: str) -> Member:
    from apps.accounts.services import create_workspace, mint_key

    workspace = create_workspace(name=name)
    return Member(workspace, mint_key(workspace_id=workspace.id, name="tests").secret)


def call(
    method: str,
    path: str,
    *,
    key: str | None = None,
    content: bytes = b"",
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Reply:
    sent = {**(headers or {}), **({"X-API-Key": key} if key else {})}
    response = visitor().generic(method, path, content, content_type, headers=sent)
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return Reply(response.status_code, dict(response.items()), content)


def refused(serializer: Any, body: dict[str, Any]) -> Any:
    """The API's error for a body, without a request: serializers need neither a database nor a view."""
    from types import SimpleNamespace

    from apps.core.exception_handler import to_api_error
    from apps.core.fields import checked

    try:
        values = checked(serializer, SimpleNamespace(data=body))  # type: ignore[arg-type]
    except Exception as error:
        return to_api_error(error)
    raise AssertionError(f"it is valid: {values}")


def visitor() -> Client:
    """A client without cookies. All clients share one application, as with a server."""
    from django.test import Client

    client = Client(raise_request_exception=False)
    client.handler = _application()
    return client


@cache
def _application() -> ClientHandler:
    """Built once: for each one all static files are looked up, which costs more than the usual call."""
    from django.test.client import ClientHandler

    application = ClientHandler(enforce_csrf_checks=False)
    application.load_middleware()
    return application


def at_once(count: int, act: Callable[[int], T]) -> list[T]:
    """Does `act(0)` … `act(count - 1)` on as many threads, which leave no database connection behind."""
    from django.db import connections

    def one(number: int) -> T:
        try:
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


# The tables whose triggers refuse to change history.
GUARDED = ("billing_ledgerentry", "billing_hold", "billing_creditaccount", "jobs_jobevent", "jobs_jobpage")


@contextmanager
def without_ledger_triggers(tables: Iterable[str] = GUARDED) -> Iterator[None]:
    """For cleaning up, and for playing an attacker who owns the database: history can be changed in here."""
    _alter(tables, "DISABLE TRIGGER USER")
    try:
        yield
    finally:
        _alter(tables, "ENABLE TRIGGER USER")


def delete_what_was_committed() -> None:
    """Delete the rows of the tables that have any, but for those that the migrations made."""
    from django.db import connection, transaction

    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        # A writer that has not ended yet has written when this is granted.
        cursor.execute(f"LOCK TABLE {', '.join(map(quote, _tables()))} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            " UNION ALL ".join(f"(SELECT '{table}' FROM {quote(table)} LIMIT 1)" for table in _tables())  # noqa: S608
        )
        written = [table for (table,) in cursor.fetchall()]
        with without_ledger_triggers([table for table in GUARDED if table in written]):
            deletes = [f"DELETE FROM {quote(table)}" for table in written]  # noqa: S608 (our own names)
            cursor.execute("; ".join(["SET CONSTRAINTS ALL DEFERRED", *deletes]))


@cache
def _tables() -> list[str]:
    """All but those that migrating fills."""
    from django.db import connection

    migrated = {"django_migrations", "django_content_type", "auth_permission"}
    return sorted(set(connection.introspection.table_names()) - migrated)


def _alter(tables: Iterable[str], change: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks outstanding can't be altered
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} {change}")

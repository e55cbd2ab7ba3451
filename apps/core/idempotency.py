"""Idempotency keys, as views and services use them. `idempotency_records` stores the keys and the responses.

A view declares how its work and the record of the key stay consistent:

    @takes_key(atomic=True)    The work is one database transaction and nothing else. The response is stored in that
    class KeysView(ApiView):   same transaction. For synchronous views.

    @takes_key(binds="agent")  The work continues outside of the database. The service calls `bind("agent", agent.id)`
    class AgentsView(ApiView): in the transaction that creates the agent. From then on the agent shows the result of
                               the request, also when a process dies. A resolver (see `register`) builds the response.

In both cases no work starts before that transaction commits: a response without it (400, 401, 402, 413, 415, 429 …)
is not stored, and a repeat executes again. `apps.accounts.admission` does the rest.

A service that creates a possible subject of a POST calls `bind` with or without a key; without one (in a worker, or
for a request without the header) the call does nothing. A request has one subject: a second `bind` in the same request
changes nothing, so a service that creates a job binds it before the job creates other subjects.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from django.db import connection, transaction

from apps.core.errors import IdempotencyInProgress

HEADER = "Idempotency-Key"
REPLAY_HEADER = "Idempotent-Replay"
_ATTRIBUTE = "idempotency"

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """How a view uses the key. `binds`: the kind of its subject; empty when the view is atomic."""

    binds: str = ""

    @property
    def atomic(self) -> bool:
        return not self.binds


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An HTTP response as it is stored: the relevant headers and the exact bytes of the body."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Unresolved(Enum):
    """A resolver's result when there is no response (yet)."""

    RUNNING = "running"
    NOT_STARTED = "not started"


@dataclass(slots=True)
class KeyedExecution:
    """One execution of a request under a key. Only the execution with the record's `token` may write the record.

    `taken_over`: another process continues the work, so an error of this one is not the result.
    """

    record_id: str
    token: uuid.UUID
    bound: bool = False
    taken_over: bool = False


Resolver = Callable[[str], StoredResponse | Unresolved]

_current: ContextVar[KeyedExecution | None] = ContextVar("keyed_execution", default=None)
_resolvers: dict[str, Resolver] = {}


def takes_key(*, atomic: bool = False, binds: str = "") -> Callable[[V], V]:
    """Marks a view (class or function): its POST takes an Idempotency-Key. Give exactly one of the arguments."""
    if atomic == bool(binds):
        raise ValueError("a view that takes a key must be atomic or bind a subject, not both")

    def mark(view: V) -> V:
        setattr(view, _ATTRIBUTE, KeyPolicy(binds=binds))
        return view

    return mark


def key_policy(view: object) -> KeyPolicy | None:
    """The policy of a view (a class, or the function that a URL resolves to); None when it takes no key."""
    found = getattr(getattr(view, "view_class", view), _ATTRIBUTE, None)
    return found if isinstance(found, KeyPolicy) else None


def register(kind: str, resolve: Resolver) -> None:
    """`resolve` gets a subject's id and builds the response from the subject's current state.

    RUNNING: there is no result yet; also while the process that works on the subject may still store a better response
    (a result that is stored nowhere else). NOT_STARTED: there is no such subject, so the request may execute.
    """
    _resolvers[kind] = resolve


def resolve(kind: str, subject_id: str) -> StoredResponse | Unresolved:
    return _resolvers[kind](subject_id)


def bind(kind: str, subject_id: str) -> None:
    """Binds the request's key, if it has one, to a subject. Call it in the transaction that creates the subject.

    Raises IdempotencyInProgress when a repeat has taken the record over because this request was slow to start: the
    transaction must roll back.
    """
    execution = _current.get()
    if execution is None:
        return
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("a key is bound in the transaction that creates its subject")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE core_idempotencykey SET subject_kind = COALESCE(NULLIF(subject_kind, ''), %s),"
            " subject_id = COALESCE(NULLIF(subject_id, ''), %s)"
            " WHERE id = %s AND attempt = %s AND status IS NULL",
            [kind, subject_id, execution.record_id, execution.token],
        )
        if cursor.rowcount != 1:
            raise IdempotencyInProgress
    execution.bound = True


def mark_taken_over() -> None:
    """Another process continues the work of this request: an error response of this one is not stored."""
    execution = _current.get()
    if execution is not None:
        execution.taken_over = True


@contextmanager
def executing(execution: KeyedExecution) -> Iterator[None]:
    """`bind` in this block writes for this execution, also in threads that its coroutines start."""
    previous = _current.set(execution)
    try:
        yield
    finally:
        _current.reset(previous)

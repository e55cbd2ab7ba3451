"""Idempotency keys, as a view and a service see them. What is kept, and how, is in `idempotency_records`.

A view takes the key when it says how its work and the key's record stay together:

    @takes_key(atomic=True)     its work is one database transaction and nothing else. The answer is kept in that very
    class KeysView(Endpoint):   transaction. For synchronous views.

    @takes_key(binds="agent")   its work goes on outside of the database. Its service calls `bind("agent", agent.id)`
    class AgentsView(Endpoint): in the transaction that creates the agent: from then on the agent says what became of
                                the request, whoever dies. A resolver (see `register`) tells that story as an answer.

Either way nothing has begun before that transaction commits: whatever is answered without it (400, 401, 402, 413,
415, 429 …) isn't kept, and a repeat executes. The rest is done by `apps.accounts.admission`.

A service that creates what a POST may have asked for calls `bind` whether or not there is a key; without one (in a
worker, or for a request without the header) it costs nothing. A request is about one subject: a later `bind` in the
same request changes nothing, so whoever creates the job binds before what the job creates in its turn.
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
    """How a view takes the key. `binds`: the kind of its subject; empty when it is atomic."""

    binds: str = ""

    @property
    def atomic(self) -> bool:
        return not self.binds


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An HTTP answer as it is kept: the headers that matter and the body's exact bytes."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Unresolved(Enum):
    """What a resolver says when there is no answer (yet)."""

    RUNNING = "running"
    NOT_STARTED = "nothing began"


@dataclass(slots=True)
class KeyedExecution:
    """One execution under a key. Its `token` is what entitles it to write the key's record.

    `overtaken`: another process goes on with its subject, so that an error of this one isn't the outcome.
    """

    record_id: str
    token: uuid.UUID
    bound: bool = False
    taken_over: bool = False


Resolver = Callable[[str], StoredResponse | Unresolved]

_current: ContextVar[KeyedExecution | None] = ContextVar("idempotent_attempt", default=None)
_resolvers: dict[str, Resolver] = {}


def takes_key(*, atomic: bool = False, binds: str = "") -> Callable[[V], V]:
    """Marks a view, class or function: its POST takes an Idempotency-Key. Exactly one of the two must be given."""
    if atomic == bool(binds):
        raise ValueError("a view that takes a key is either atomic or binds a subject")

    def mark(view: V) -> V:
        setattr(view, _ATTRIBUTE, KeyPolicy(binds=binds))
        return view

    return mark


def key_policy(view: object) -> KeyPolicy | None:
    """How a view (a class, or what a URL resolves to) takes the key; None when it doesn't."""
    found = getattr(getattr(view, "view_class", view), _ATTRIBUTE, None)
    return found if isinstance(found, KeyPolicy) else None


def register(kind: str, resolve: Resolver) -> None:
    """`resolve` gets a subject's id and builds the answer from what the subject is now.

    RUNNING: ask again. It must say so too while the process that works on the subject may yet store the better answer
    (a result that is kept nowhere else). NOTHING_BEGAN: there is no such subject, the request may execute.
    """
    _resolvers[kind] = resolve


def resolve(kind: str, subject_id: str) -> StoredResponse | Unresolved:
    return _resolvers[kind](subject_id)


def bind(kind: str, subject_id: str) -> None:
    """Ties the request's key, if it has one, to the work it begins. Call it in the transaction that creates the work.

    Raises IdempotencyInProgress when this request took so long to begin that a repeat has overtaken it: the
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
    """Another process goes on with what this request began: if this one answers with an error, that isn't kept."""
    execution = _current.get()
    if execution is not None:
        execution.taken_over = True


def is_keyed() -> bool:
    """Whether a repeat may ask for what this request brings: then the result must outlive the process."""
    return _current.get() is not None


@contextmanager
def executing(execution: KeyedExecution) -> Iterator[None]:
    """`bind` within the block is about this attempt, also in threads that the block's coroutines hand work to."""
    previous = _current.set(execution)
    try:
        yield
    finally:
        _current.reset(previous)

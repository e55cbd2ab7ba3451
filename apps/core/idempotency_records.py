"""The records of idempotency keys: who may execute a request, and the stored response. One SQL statement each.

A record has no response while its request executes. The execution that inserted it has a claim for CLAIM_TIME, in which
it must start its work. After that a repeat may take the record over, and the late execution can no longer start or
store anything (`bind` and `store` write only for the execution that has the record). Once a subject is bound the claim
no longer matters: the subject shows the result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.crypto import salted_hmac

from apps.core import idempotency
from apps.core.errors import IdempotencyInProgress, IdempotencyKeyReused
from apps.core.idempotency import KeyedExecution, StoredResponse, Unresolved
from apps.core.models import IdempotencyKey

log = logging.getLogger(__name__)

RETENTION = timedelta(hours=24)
CLAIM_TIME = timedelta(seconds=15)
# A larger body is not stored: a repeat gets a response that is built from the subject.
MAX_STORED_BYTES = 32 * 1024 * 1024
_CLAIM_TRIES = 3
_PURGE_BATCH = 1000

_CLAIM = """
INSERT INTO core_idempotencykey AS held
    (id, workspace_id, path, fingerprint, attempt, lease_until, subject_kind, subject_id, created_at)
VALUES (%(id)s, %(workspace)s, %(path)s, %(fingerprint)s, %(attempt)s, %(lease)s, '', '', %(now)s)
ON CONFLICT (id) DO UPDATE SET
    fingerprint = EXCLUDED.fingerprint, attempt = EXCLUDED.attempt, lease_until = EXCLUDED.lease_until,
    subject_kind = '', subject_id = '', status = NULL, headers = NULL, body = NULL, created_at = EXCLUDED.created_at
WHERE held.created_at < %(expired)s
    OR (held.status IS NULL AND held.subject_kind = '' AND held.lease_until < %(now)s)
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope in which a key identifies one request."""

    workspace_id: uuid.UUID
    method: str
    path: str
    key: str

    @property
    def digest(self) -> str:
        parts = f"{self.workspace_id}\n{self.method}\n{self.path}\n{self.key}"
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint(body: bytes, query: str = "") -> str:
    """A keyed hash of a body and a query, to compare requests without storing them.

    A database dump can't confirm a guessed body. The query counts: `?async=true` asks for another answer.
    """
    parts = query.encode("utf-8", "surrogatepass") + b"\n" + body if query else body
    return salted_hmac("apps.core.idempotency", parts, algorithm="sha256").hexdigest()


def begin(
    scope: Scope, body: bytes, *, query: str = "", now: datetime | None = None
) -> KeyedExecution | StoredResponse:
    """Claims the key, or returns the stored response. Raises IdempotencyInProgress and IdempotencyKeyReused."""
    now = now or timezone.now()
    execution = KeyedExecution(scope.digest, uuid.uuid4())
    body_hash = fingerprint(body, query)
    for _ in range(_CLAIM_TRIES):
        if _claim(execution, scope, body_hash, now):
            return execution
        record = IdempotencyKey.objects.filter(id=execution.record_id).first()
        if record is None:
            continue  # it was deleted in between
        if record.fingerprint != body_hash:
            raise IdempotencyKeyReused
        answer = _stored_or_resolved(record)
        if answer is not None:
            return answer
    raise IdempotencyInProgress


def _claim(execution: KeyedExecution, scope: Scope, body_hash: str, now: datetime) -> bool:
    values: dict[str, Any] = {
        "id": execution.record_id,
        "workspace": scope.workspace_id,
        "path": scope.path[:200].replace("\x00", ""),
        "fingerprint": body_hash,
        "attempt": execution.token,
        "lease": now + CLAIM_TIME,
        "now": now,
        "expired": now - RETENTION,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        claimed: bool = cursor.rowcount == 1
    return claimed


def _stored_or_resolved(record: IdempotencyKey) -> StoredResponse | None:
    """The response to a repeat; None when the repeat may try to execute. Raises IdempotencyInProgress."""
    if record.status is not None:
        return _response_of(record)
    if not record.subject_kind:
        raise IdempotencyInProgress
    resolved = idempotency.resolve(record.subject_kind, record.subject_id)
    if resolved is Unresolved.RUNNING:
        raise IdempotencyInProgress
    if resolved is Unresolved.NOT_STARTED:
        IdempotencyKey.objects.filter(id=record.id, attempt=record.attempt, status=None).delete()
        return None
    stored = store(KeyedExecution(record.id, record.attempt, bound=True), resolved)
    if stored is None:
        raise IdempotencyInProgress
    return stored


def store(execution: KeyedExecution, answer: StoredResponse) -> StoredResponse | None:
    """Stores the response unless one is stored already. Returns the stored one: all callers get the same bytes.

    Returns None when another execution has taken the record over.
    """
    if execution.bound and len(answer.content) > MAX_STORED_BYTES:
        return answer
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE core_idempotencykey SET status = %s, headers = %s, body = %s"
            " WHERE id = %s AND attempt = %s AND status IS NULL",
            [
                answer.status,
                json.dumps(dict(answer.headers)),
                zlib.compress(answer.content, level=1),
                execution.record_id,
                execution.token,
            ],
        )
        if cursor.rowcount == 1:
            return answer
    stored = IdempotencyKey.objects.filter(id=execution.record_id, attempt=execution.token).first()
    return _response_of(stored) if stored and stored.status is not None else None


def discard(execution: KeyedExecution, *, bound: bool = False) -> bool:
    """Deletes the record so that a repeat executes. Returns False, without effect, when a subject is bound; `bound`:
    deletes it also then.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM core_idempotencykey"
            " WHERE id = %s AND attempt = %s AND (subject_kind = '' OR %s) AND status IS NULL",
            [execution.record_id, execution.token, bound],
        )
        forgotten: bool = cursor.rowcount == 1
    return forgotten


def purge(*, now: datetime | None = None) -> int:
    """Deletes records older than RETENTION. Returns how many."""
    expired = (now or timezone.now()) - RETENTION
    removed = 0
    while True:
        ids = IdempotencyKey.objects.filter(created_at__lt=expired).values_list("id", flat=True)[:_PURGE_BATCH]
        batch, _ = IdempotencyKey.objects.filter(id__in=list(ids), created_at__lt=expired).delete()
        removed += batch
        if batch < _PURGE_BATCH:
            return removed


def _response_of(record: IdempotencyKey) -> StoredResponse:
    return StoredResponse(record.status or 0, record.headers or {}, zlib.decompress(record.body or b""))

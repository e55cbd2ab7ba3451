"""The records behind idempotency keys: who may execute, and what was answered. One SQL statement each.

A record has no answer while its request is being executed. Who inserted it holds it for LEASE, for the time before
anything has begun; after that a repeat may take it over, and the late one finds itself unable to begin (`bind`
and `keep` write only for the attempt that holds the record). Once a subject is bound the lease no longer matters: the
subject tells the outcome.
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
from apps.core.idempotency import Answer, Attempt, Unsettled
from apps.core.models import IdempotencyKey

log = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=24)
LEASE = timedelta(seconds=15)
# A larger body isn't kept: a repeat gets it from its subject, as that then is.
MAX_KEPT_BYTES = 32 * 1024 * 1024
_ROUNDS = 3
_PURGED_AT_ONCE = 1000

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
    """Within which a key means one request."""

    workspace_id: uuid.UUID
    method: str
    path: str
    key: str

    @property
    def digest(self) -> str:
        parts = f"{self.workspace_id}\n{self.method}\n{self.path}\n{self.key}"
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint(body: bytes) -> str:
    """Tells two bodies apart without keeping either: keyed, so that a guessed body can't be confirmed from a dump."""
    return salted_hmac("apps.core.idempotency", body, algorithm="sha256").hexdigest()


def begin(scope: Scope, body: bytes, *, now: datetime | None = None) -> Attempt | Answer:
    """Leave to execute, or what was answered before. Raises IdempotencyInProgress and IdempotencyKeyReused."""
    now = now or timezone.now()
    attempt = Attempt(scope.digest, uuid.uuid4())
    print_ = fingerprint(body)
    for _ in range(_ROUNDS):
        if _claim(attempt, scope, print_, now):
            return attempt
        record = IdempotencyKey.objects.filter(id=attempt.record_id).first()
        if record is None:
            continue  # it was forgotten in between
        if record.fingerprint != print_:
            raise IdempotencyKeyReused
        answer = _outcome(record)
        if answer is not None:
            return answer
    raise IdempotencyInProgress


def _claim(attempt: Attempt, scope: Scope, print_: str, now: datetime) -> bool:
    values: dict[str, Any] = {
        "id": attempt.record_id,
        "workspace": scope.workspace_id,
        "path": scope.path[:200].replace("\x00", ""),
        "fingerprint": print_,
        "attempt": attempt.token,
        "lease": now + LEASE,
        "now": now,
        "expired": now - KEPT_FOR,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        claimed: bool = cursor.rowcount == 1
    return claimed


def _outcome(record: IdempotencyKey) -> Answer | None:
    """What to answer a repeat; None when it may try to execute. Raises IdempotencyInProgress."""
    if record.status is not None:
        return _unpacked(record)
    if not record.subject_kind:
        raise IdempotencyInProgress
    told = idempotency.resolve(record.subject_kind, record.subject_id)
    if told is Unsettled.RUNNING:
        raise IdempotencyInProgress
    if told is Unsettled.NOTHING_BEGAN:
        IdempotencyKey.objects.filter(id=record.id, attempt=record.attempt, status=None).delete()
        return None
    kept = keep(Attempt(record.id, record.attempt, bound=True), told)
    if kept is None:
        raise IdempotencyInProgress
    return kept


def keep(attempt: Attempt, answer: Answer) -> Answer | None:
    """Stores the answer, unless there is one already; returns the one that counts: everybody gets the same bytes.

    None: the record is no longer this attempt's.
    """
    if attempt.bound and len(answer.content) > MAX_KEPT_BYTES:
        return answer
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE core_idempotencykey SET status = %s, headers = %s, body = %s"
            " WHERE id = %s AND attempt = %s AND status IS NULL",
            [
                answer.status,
                json.dumps(dict(answer.headers)),
                zlib.compress(answer.content, level=1),
                attempt.record_id,
                attempt.token,
            ],
        )
        if cursor.rowcount == 1:
            return answer
    kept = IdempotencyKey.objects.filter(id=attempt.record_id, attempt=attempt.token).first()
    return _unpacked(kept) if kept and kept.status is not None else None


def forget(attempt: Attempt) -> bool:
    """Lets a repeat execute. Returns False, and does nothing, when a subject was bound: then something has begun."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM core_idempotencykey WHERE id = %s AND attempt = %s AND subject_kind = '' AND status IS NULL",
            [attempt.record_id, attempt.token],
        )
        forgotten: bool = cursor.rowcount == 1
    return forgotten


def purge(*, now: datetime | None = None) -> int:
    """Removes records past their time. Returns how many."""
    expired = (now or timezone.now()) - KEPT_FOR
    removed = 0
    while True:
        ids = IdempotencyKey.objects.filter(created_at__lt=expired).values_list("id", flat=True)[:_PURGED_AT_ONCE]
        batch, _ = IdempotencyKey.objects.filter(id__in=list(ids), created_at__lt=expired).delete()
        removed += batch
        if batch < _PURGED_AT_ONCE:
            return removed


def _unpacked(record: IdempotencyKey) -> Answer:
    return Answer(record.status or 0, record.headers or {}, zlib.decompress(record.body or b""))

"""The answer to a repeated request with an Idempotency-Key, from the job that the first request created."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from rest_framework.renderers import JSONRenderer

from apps.core import errors, tracing
from apps.core.idempotency import StoredResponse, Unresolved
from apps.jobs import results
from apps.jobs.models import Job
from apps.jobs.serializers import accepted_body

_FAILURES = {
    kind.code: kind
    for kind in (errors.BadRequest, errors.UrlNotAllowed, errors.UpstreamUnavailable, errors.UpstreamTimeout)
}


def outcome(job_id: str) -> StoredResponse | Unresolved:
    """A resolver for `apps.core.idempotency`. A synchronous job with a key has its result stored when it ends."""
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        return Unresolved.NOT_STARTED
    if not job.sync:
        return _answer(HTTPStatus.ACCEPTED, accepted_body(job))
    match job.status:
        case Job.Status.COMPLETED:
            return _answer(HTTPStatus.OK, results.of(job))
        case Job.Status.FAILED:
            error = _FAILURES.get(job.error_code, errors.InternalError)(job.error_message)
            if error.status == HTTPStatus.BAD_REQUEST:
                return Unresolved.NOT_STARTED  # a 400 is never stored
            return _answer(error.status, errors.envelope(error, request_id=tracing.request_id()))
        case Job.Status.CANCELLED:
            # Its client disconnected and nothing was charged: the repeated call begins again.
            return Unresolved.NOT_STARTED
    return Unresolved.RUNNING


def _answer(status: int, body: dict[str, Any]) -> StoredResponse:
    return StoredResponse(int(status), {"Content-Type": "application/json"}, JSONRenderer().render(body))

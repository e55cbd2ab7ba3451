"""The errors of the API, one class for each error code.

    ApiError
    ├── BadRequest 400 (ValidationFailed adds `fields`)      InvalidId 400        UrlNotAllowed 400
    ├── Unauthorized 401                InvalidApiKey 401     InsufficientCredit 402
    ├── Forbidden 403                   NotFound 404          MethodNotAllowed 405
    ├── Conflict 409                    AgentNotRunning 409   JobTerminal 409       JobNotWaiting 409
    ├── IdempotencyInProgress 409       IdempotencyKeyReused 422
    ├── PayloadTooLarge 413             UnsupportedMediaType 415
    ├── TooManyRequests 429             InternalError 500
    ├── NotReady 503                    NotConfigured 503
    └── UpstreamUnavailable 502 (DatabaseAway 503)            UpstreamTimeout 504

The first line of a class's docstring is its default message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class ApiError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.headers: dict[str, str] = {**self.default_headers(), **(headers or {})}
        super().__init__(self.message)

    def default_headers(self) -> dict[str, str]:
        return {}

    @property
    def fields(self) -> dict[str, list[str]] | None:
        return None


class BadRequest(ApiError):
    """The request is not valid."""

    status = 400
    code = "BAD_REQUEST"


class ValidationFailed(BadRequest):
    """A field is not valid. `fields` maps each invalid field to its messages."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = {name: list(messages) for name, messages in fields.items()}
        name, messages = next(iter(self._fields.items()))
        super().__init__(f"{name}: {messages[0]}")

    @property
    def fields(self) -> dict[str, list[str]]:
        return self._fields


class InvalidId(ApiError):
    """The id has the wrong form."""

    status = 400
    code = "INVALID_ID"


class UrlNotAllowed(ApiError):
    """This address may not be reached from here."""

    status = 400
    code = "URL_NOT_ALLOWED"

    def __init__(self, message: str = "", *, fields: Mapping[str, Sequence[str]] | None = None) -> None:
        self._fields = {name: list(messages) for name, messages in fields.items()} if fields else None
        super().__init__(message)

    @property
    def fields(self) -> dict[str, list[str]] | None:
        return self._fields


class _Unauthenticated(ApiError):
    status = 401

    def default_headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="browsa"'}


class Unauthorized(_Unauthenticated):
    """An API key is needed: send X-API-Key: agt_live_… or Authorization: Bearer agt_live_…"""

    code = "UNAUTHORIZED"


class InvalidApiKey(_Unauthenticated):
    """The API key is malformed, unknown or revoked."""

    code = "INVALID_API_KEY"


class InsufficientCredit(ApiError):
    """insufficient credit"""

    status = 402
    code = "INSUFFICIENT_CREDIT"


class Forbidden(ApiError):
    """This is not allowed here."""

    status = 403
    code = "FORBIDDEN"


class NotFound(ApiError):
    """There is no such resource in this workspace."""

    status = 404
    code = "NOT_FOUND"


class MethodNotAllowed(ApiError):
    """This path does not support that method."""

    status = 405
    code = "METHOD_NOT_ALLOWED"


class Conflict(ApiError):
    """The resource is not in a state that allows this."""

    status = 409
    code = "CONFLICT"


class AgentNotRunning(ApiError):
    """The agent is not running."""

    status = 409
    code = "AGENT_NOT_RUNNING"


class JobTerminal(ApiError):
    """The job is already over."""

    status = 409
    code = "JOB_TERMINAL"


class JobNotWaiting(ApiError):
    """The job is not waiting for an answer."""

    status = 409
    code = "JOB_NOT_WAITING"


class IdempotencyInProgress(ApiError):
    """The first request with this Idempotency-Key is still being answered."""

    status = 409
    code = "IDEMPOTENCY_IN_PROGRESS"

    def default_headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class PayloadTooLarge(ApiError):
    """A request body may have 1 MiB at most."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(ApiError):
    """A request body must be application/json."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class IdempotencyKeyReused(ApiError):
    """This Idempotency-Key was used with another body. Use a new key for each logical request."""

    status = 422
    code = "IDEMPOTENCY_KEY_REUSED"


class TooManyRequests(ApiError):
    """Too many at once. `retry_after` is in whole seconds."""

    status = 429
    code = "TOO_MANY_REQUESTS"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class InternalError(ApiError):
    """An internal error occurred. Quote the request id to support."""


class UpstreamUnavailable(ApiError):
    """The cloud runner can't be reached. It is safe to try again."""

    status = 502
    code = "UPSTREAM_UNAVAILABLE"


class DatabaseUnreachable(UpstreamUnavailable):
    """The database can't be reached. Try again in a second."""

    status = 503

    def default_headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class NotReady(ApiError):
    """A part of this installation is not working."""

    status = 503
    code = "NOT_READY"


class NotConfigured(ApiError):
    """The operator of this installation has not configured this feature."""

    status = 503
    code = "NOT_CONFIGURED"


class UpstreamTimeout(ApiError):
    """No browser was ready in time. It is safe to try again."""

    status = 504
    code = "UPSTREAM_TIMEOUT"


BY_STATUS: dict[int, type[ApiError]] = {
    kind.status: kind
    for kind in (
        BadRequest,
        Unauthorized,
        InsufficientCredit,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        Conflict,
        PayloadTooLarge,
        UnsupportedMediaType,
        InternalError,
        UpstreamUnavailable,
        NotReady,
        UpstreamTimeout,
    )
}


def for_status(status: int, *, path: str) -> ApiError:
    """The API error for a response that has only an HTTP status (Django's own 404, 400, 500 …)."""
    if status == NotFound.status:
        return NotFound(f"There is nothing at {path[:200]}")
    kind = BY_STATUS.get(status) or (InternalError if status >= 500 else BadRequest)
    return kind()


def envelope(error: ApiError, *, request_id: str) -> dict[str, object]:
    """The body of every error response."""
    body: dict[str, object] = {"error": error.message, "code": error.code, "request_id": request_id}
    if error.fields is not None:
        body["fields"] = error.fields
    return body

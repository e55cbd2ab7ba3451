"""Converts exceptions of views into the API's error envelope."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.core import database, errors, tracing
from apps.core.fields import URL_NOT_ALLOWED

log = logging.getLogger(__name__)


def handle(raised: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception hook. An unexpected exception is logged with its traceback and becomes a 500 without details."""
    set_rollback()
    error = to_api_error(raised)
    if error is None:
        log.error("unhandled exception", exc_info=raised)
        error = errors.InternalError()
    log_if_unreachable(error, raised)
    body = errors.envelope(error, request_id=tracing.request_id())
    return Response(body, status=error.status, headers=error.headers)


def to_api_error(raised: Exception) -> errors.ApiError | None:
    """The API error for an exception of the API, DRF or Django; None for any other exception, which is a bug."""
    match raised:
        case errors.ApiError():
            return raised
        case exceptions.ValidationError():
            fields = flatten(raised.detail)
            if set(_codes(raised.get_codes())) == {URL_NOT_ALLOWED}:
                name, messages = next(iter(fields.items()))
                return errors.UrlNotAllowed(f"{name} {messages[0]}", fields=fields)
            return errors.ValidationFailed(fields)
        case exceptions.UnsupportedMediaType():
            return errors.UnsupportedMediaType()
        case exceptions.MethodNotAllowed():
            return errors.MethodNotAllowed()
        case exceptions.ParseError() | SuspiciousOperation():
            return errors.BadRequest(str(raised))
        case exceptions.NotFound() | Http404():
            return errors.NotFound()
        case PermissionDenied() | exceptions.PermissionDenied():
            return errors.Forbidden()
        case OperationalError() | InterfaceError() if database.is_unreachable(raised):
            return errors.DatabaseUnreachable()
    return None


def _codes(codes: Any) -> Iterator[str]:
    """The codes of all errors, out of DRF's nested dicts and lists."""
    if isinstance(codes, str):
        yield codes
        return
    for inner in codes.values() if isinstance(codes, dict) else codes:
        yield from _codes(inner)


def log_if_unreachable(error: errors.ApiError, raised: BaseException) -> None:
    """Logs one line without a traceback: the request itself is not at fault."""
    if isinstance(error, errors.DatabaseUnreachable):
        log.warning("the database can't be reached", extra={"cause": type(raised.__cause__ or raised).__name__})


def flatten(detail: Any, path: str = "") -> dict[str, list[str]]:
    """DRF's nested error details as dotted names: `{"a": {"b": [..]}}` becomes `{"a.b": [..]}`."""
    if isinstance(detail, dict):
        flat: dict[str, list[str]] = {}
        for key, value in detail.items():
            part = "body" if key == "non_field_errors" else str(key)
            flat.update(flatten(value, f"{path}.{part}" if path else part))
        return flat
    messages = [str(item) for item in detail] if isinstance(detail, list) else [str(detail)]
    return {path or "body": messages}

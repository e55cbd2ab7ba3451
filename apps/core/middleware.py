"""The outermost middleware: request ids on responses, the JSON envelope on errors, one access line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from apps.core import errors, metrics, tracing
from apps.core.logs import redacted_path

access_log = logging.getLogger("browsa.access")

BODY_TOO_LARGE = "browsa.body_too_large"
_KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")

Handler = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class EnvelopeMiddleware:
    """Runs in the synchronous and in the asynchronous chain without a change of thread."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._call_async(request)
        started, request_id = self._begin(request)
        response = too_large_response(request) or cast(HttpResponseBase, self.get_response(request))
        return self._finish(request, response, request_id, started)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        started, request_id = self._begin(request)
        response = too_large_response(request) or await cast(Awaitable[HttpResponseBase], self.get_response(request))
        return self._finish(request, response, request_id, started)

    def _begin(self, request: HttpRequest) -> tuple[float, str]:
        request_id = tracing.choose_request_id(request.headers.get(tracing.REQUEST_ID_HEADER))
        tracing.bind_request_id(request_id)
        tracing.clear()
        return time.perf_counter(), request_id

    def _finish(
        self, request: HttpRequest, response: HttpResponseBase, request_id: str, started: float
    ) -> HttpResponseBase:
        if response.status_code >= 400:
            is_json = str(response.get("Content-Type", "")).startswith("application/json")
            if not is_json and not _is_for_people(request, response.status_code):
                error = errors.for_status(response.status_code, path=request.path)
                kept = {name: response[name] for name in _KEPT_HEADERS if response.has_header(name)}
                body = errors.envelope(error, request_id=request_id)
                response = JsonResponse(body, status=response.status_code, headers={**error.headers, **kept})
        response[tracing.REQUEST_ID_HEADER] = request_id
        path = redacted_path(request.path)
        seconds = time.perf_counter() - started
        metrics.count_request(request, response.status_code, seconds)
        access_log.info(
            "%s %s %d",
            request.method,
            path,
            response.status_code,
            extra={
                "method": request.method,
                "path": path,
                "status": response.status_code,
                "duration_ms": round(seconds * 1000, 2),
            },
        )
        return response


def _is_for_people(request: HttpRequest, status: int) -> bool:
    """Whether an HTML error is right: in the admin, and where a person opened a live view that is over."""
    if request.path == "/admin" or request.path.startswith("/admin/"):
        return True
    opened = status != HTTPStatus.METHOD_NOT_ALLOWED and "text/html" in request.headers.get("Accept", "")
    return opened and request.path.startswith("/live/")


def too_large_response(request: HttpRequest) -> HttpResponseBase | None:
    """The 413 response to a body over the limit, found while reading it or from its Content-Length; else None."""
    announced = request.META.get("CONTENT_LENGTH") or "0"
    too_large = announced.isdigit() and int(announced) > settings.MAX_BODY_BYTES
    if not too_large and not request.META.get(BODY_TOO_LARGE):
        return None
    return error_response(errors.PayloadTooLarge(headers={"Connection": "close"}), tracing.request_id())


def error_response(error: errors.ApiError, request_id: str) -> JsonResponse:
    body = errors.envelope(error, request_id=request_id)
    return JsonResponse(body, status=error.status, headers=error.headers)

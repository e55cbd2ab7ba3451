"""What every call of the API passes on its way to its view, synchronous or asynchronous: its key, its rate limit, its
Idempotency-Key, in this order.

All of it blocks (one query, one round trip to Redis; with an Idempotency-Key one statement before and one after), so
for an asynchronous view it runs as one piece on a thread.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve

from apps.accounts.authentication import caller_of
from apps.accounts.selectors import Caller
from apps.core import errors, idempotency, ratelimit_buckets, ratelimits, tracing
from apps.core import idempotency_records as records
from apps.core.idempotency import KeyedExecution, StoredResponse
from apps.core.middleware import Handler, error_response
from apps.core.ratelimits import Decision

log = logging.getLogger(__name__)

_API = "/v1/"
_STORED_HEADERS = ("Content-Type", "Location", "Retry-After")
_RETRY_SECONDS = 2


@dataclass(slots=True)
class Admission:
    """How far a call has come: `response` when it goes no further, `attempt` when it executes under a key."""

    decision: Decision | None = None
    response: HttpResponseBase | None = None
    execution: KeyedExecution | None = None
    atomic: bool = False


class AdmissionMiddleware:
    """For paths of the API that exist; the rest passes."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        view = _view(request)
        if self._is_async:
            return self._call_async(request, view)
        if view is None:
            return self.get_response(request)
        admission = admit(request, view)
        response = admission.response
        if response is None:
            respond = cast(Callable[[HttpRequest], HttpResponseBase], self.get_response)
            response = _execute_keyed(admission, lambda: respond(request))
        return _with_rate_limit_headers(admission, response)

    async def _call_async(self, request: HttpRequest, view: object) -> HttpResponseBase:
        respond = cast(Callable[[HttpRequest], Awaitable[HttpResponseBase]], self.get_response)
        if view is None:
            return await respond(request)
        admission = await sync_to_async(admit)(request, view)
        response = admission.response
        if response is None and admission.execution is None:
            response = await respond(request)
        elif response is None and admission.execution is not None:
            if admission.atomic:
                raise ImproperlyConfigured("an asynchronous view can't be atomic: let its service bind a subject")
            with idempotency.executing(admission.execution):
                response = await respond(request)
            response = await sync_to_async(_store_response)(admission.execution, response)
        assert response is not None
        return _with_rate_limit_headers(admission, response)


def _view(request: HttpRequest) -> Any:
    if not request.path_info.startswith(_API):
        return None
    try:
        return resolve(request.path_info).func
    except Resolver404:
        return None


def admit(request: HttpRequest, view: object) -> Admission:
    """Authenticates, counts, and looks at the Idempotency-Key. Whatever is wrong becomes the entry's response."""
    admission = Admission()
    try:
        caller = caller_of(request)
        tracing.bind(workspace_id=caller.workspace_id)
        admission.decision = _count_request(request, caller)
        if admission.decision is not None and not admission.decision.allowed:
            raise errors.TooManyRequests(
                f"Rate limit exceeded: {admission.decision.limit.per_minute} requests a minute,"
                f" {admission.decision.limit.burst} at once. Please try again later.",
                retry_after=admission.decision.wait,
            )
        _look_at_key(admission, request, view, caller)
    except errors.ApiError as error:
        admission.response = error_response(error, tracing.request_id())
    return admission


def _count_request(request: HttpRequest, caller: Caller) -> Decision | None:
    """None when nothing limits such requests. Raises NotReady while nobody can count what must be counted."""
    table = settings.RATE_LIMITS
    if table is None:
        return None
    name = ratelimits.route_class(request.method or "", request.path_info)
    limit = _own(table, caller)[name]
    if limit is None:
        return None
    try:
        taken = ratelimit_buckets.take(str(caller.workspace_id), name, limit)
    except ratelimit_buckets.Unavailable as error:
        raise errors.NotReady(
            "Rate limits can't be counted right now. Nothing was begun; it is safe to try again.",
            headers={"Retry-After": str(_RETRY_SECONDS)},
        ) from error
    return ratelimits.decide(name, limit, taken)


def _own(table: ratelimits.Table, caller: Caller) -> ratelimits.Table:
    """The table with the workspace's changes."""
    if caller.rate_limits == "{}":
        return table
    try:
        return ratelimits.overridden(table, json.loads(caller.rate_limits))
    except ValueError as error:  # written past the admin page
        log.error("rate limits are not valid", extra={"workspace": caller.workspace_id, "cause": str(error)})
        return table


def _look_at_key(admission: Admission, request: HttpRequest, view: object, caller: Caller) -> None:
    key = request.headers.get(idempotency.HEADER)
    key_policy = idempotency.key_policy(view)
    if key is None or key_policy is None or request.method != "POST":
        return
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        raise errors.BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    scope = records.Scope(caller.workspace_id, request.method, request.path_info, key)
    begun = records.begin(scope, request.body)
    if isinstance(begun, StoredResponse):
        admission.response = _replay(begun)
        admission.response[idempotency.REPLAY_HEADER] = "true"
    else:
        admission.execution, admission.atomic = begun, key_policy.atomic


def _execute_keyed(admission: Admission, respond: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    execution = admission.execution
    if execution is None:
        return respond()
    with idempotency.executing(execution):
        if admission.atomic:
            return _in_one_transaction(execution, respond)
        response = respond()
    return _store_response(execution, response)


def _in_one_transaction(execution: KeyedExecution, respond: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """The view's work and its answer are kept together, or neither is: an error has begun nothing."""
    with transaction.atomic():
        response = respond()
        if response.status_code < 400:
            stored = records.store(execution, _storable(response))
            taken_over = stored is None
        transaction.set_rollback(response.status_code >= 400 or taken_over)
    if response.status_code >= 400:
        records.discard(execution)
    elif taken_over:
        return error_response(errors.IdempotencyInProgress(), tracing.request_id())
    return response


def _store_response(execution: KeyedExecution, response: HttpResponseBase) -> HttpResponseBase:
    """Keeps the answer of a view whose service binds. An error before it did has begun nothing."""
    if (response.status_code >= 400 or response.streaming) and records.discard(execution):
        return response
    if response.streaming or (response.status_code >= 400 and execution.taken_over):
        return response
    if not execution.bound:
        log.error("a call with an Idempotency-Key succeeded and bound nothing")
    answer = _storable(response)
    stored = records.store(execution, answer)
    return response if stored is None or stored is answer else _replay(stored)


def _storable(response: HttpResponseBase) -> StoredResponse:
    assert isinstance(response, HttpResponse)
    headers = {name: response[name] for name in _STORED_HEADERS if response.has_header(name)}
    return StoredResponse(response.status_code, headers, response.content)


def _replay(answer: StoredResponse) -> HttpResponse:
    response = HttpResponse(answer.content, status=answer.status)
    del response["Content-Type"]
    for name, value in answer.headers.items():
        response[name] = value
    return response


def _with_rate_limit_headers(admission: Admission, response: HttpResponseBase) -> HttpResponseBase:
    if admission.decision is not None:
        for name, value in admission.decision.headers.items():
            response[name] = value
    return response

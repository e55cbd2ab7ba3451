"""What every API call passes before its view, synchronous or asynchronous: API key, rate limit, Idempotency-Key.

These checks block (one query, one round trip to Redis; with an Idempotency-Key one statement before the view and one
after it), so for an asynchronous view they run together on a thread.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

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
_NEVER_STORED = frozenset({400, 401, 402, 413, 415, 429})
_STORED_HEADERS = ("Content-Type", "Location", "Retry-After")
_RETRY_SECONDS = 2

SyncHandler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@dataclass(slots=True)
class Admission:
    """The result of the checks. `response`: the view is not called. `execution`: the view runs under a key."""

    decision: Decision | None = None
    response: HttpResponseBase | None = None
    execution: KeyedExecution | None = None
    atomic: bool = False


class AdmissionMiddleware:
    """Checks calls to existing API paths; other requests pass."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        view: object = None
        if request.path_info.startswith(_API):
            with suppress(Resolver404):
                view = (request.resolver_match or resolve(request.path_info)).func
        if self._is_async:
            return self._call_async(request, view)
        if view is None:
            return self.get_response(request)
        respond = cast(SyncHandler, self.get_response)
        admission = admit(request, view)
        execution = admission.execution
        if admission.response is not None:
            response = admission.response
        elif execution is None:
            response = respond(request)
        elif admission.atomic:
            response = _execute_atomically(execution, respond, request)
        else:
            with idempotency.executing(execution):
                response = respond(request)
            response = _store_response(execution, response)
        return _with_rate_limit_headers(admission, response)

    async def _call_async(self, request: HttpRequest, view: object) -> HttpResponseBase:
        respond = cast(AsyncHandler, self.get_response)
        if view is None:
            return await respond(request)
        admission = await sync_to_async(admit)(request, view)
        execution = admission.execution
        if admission.response is not None:
            response = admission.response
        elif execution is None:
            response = await respond(request)
        elif admission.atomic:
            raise ImproperlyConfigured("an asynchronous view can't be atomic: let its service bind a subject")
        else:
            with idempotency.executing(execution):
                response = await respond(request)
            response = await sync_to_async(_store_response)(execution, response)
        return _with_rate_limit_headers(admission, response)


def admit(request: HttpRequest, view: object) -> Admission:
    """Authenticates the caller, counts the request, and looks up its Idempotency-Key. An error becomes the response."""
    admission = Admission()
    try:
        caller = caller_of(request)
        tracing.bind(workspace_id=caller.workspace_id)
        decision = admission.decision = _count_request(request, caller)
        if decision is not None and not decision.allowed:
            raise errors.TooManyRequests(
                f"Rate limit exceeded: {decision.limit.per_minute} requests a minute,"
                f" {decision.limit.burst} at once. Please try again later.",
                retry_after=decision.wait,
            )
        key = request.headers.get(idempotency.HEADER)
        policy = idempotency.key_policy(view)
        if key is not None and policy is not None and request.method == "POST":
            if not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
                raise errors.BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
            scope = records.Scope(caller.workspace_id, request.method, request.path_info, key)
            begun = records.begin(scope, request.body, query=request.META.get("QUERY_STRING", ""))
            if isinstance(begun, StoredResponse):
                admission.response = _replay(begun)
                admission.response[idempotency.REPLAY_HEADER] = "true"
            else:
                admission.execution, admission.atomic = begun, policy.atomic
    except errors.ApiError as error:
        admission.response = error_response(error, tracing.request_id())
    return admission


def _count_request(request: HttpRequest, caller: Caller) -> Decision | None:
    """Returns None when no limit applies. Raises NotReady when Redis is needed to count and can't be reached."""
    table = settings.RATE_LIMITS
    if table is None:
        return None
    if caller.rate_limits != "{}":
        try:
            table = ratelimits.overridden(table, json.loads(caller.rate_limits))
        except ValueError as error:  # the admin page checks them, so they were written in another way
            log.error("rate limits are not valid", extra={"workspace": caller.workspace_id, "cause": str(error)})
    name = ratelimits.route_class(request.method or "", request.path_info)
    limit = table[name]
    if limit is None:
        return None
    try:
        taken = ratelimit_buckets.take(str(caller.workspace_id), name, limit)
    except ratelimit_buckets.Unavailable as error:
        raise errors.NotReady(
            "Rate limits can't be counted right now. Nothing was started; it is safe to try again.",
            headers={"Retry-After": str(_RETRY_SECONDS)},
        ) from error
    return ratelimits.decide(name, limit, taken)


def _execute_atomically(execution: KeyedExecution, respond: SyncHandler, request: HttpRequest) -> HttpResponseBase:
    """Runs the view and stores its response in one transaction. An error rolls both back and frees the key."""
    with idempotency.executing(execution):
        with transaction.atomic():
            response = respond(request)
            if response.status_code < 400:
                taken_over = records.store(execution, _storable(response)) is None
            transaction.set_rollback(response.status_code >= 400 or taken_over)
        if response.status_code >= 400:
            records.discard(execution)
        elif taken_over:
            return error_response(errors.IdempotencyInProgress(), tracing.request_id())
    return response


def _store_response(execution: KeyedExecution, response: HttpResponseBase) -> HttpResponseBase:
    """Stores the response of a view whose service binds a subject. An error before the binding frees the key, and so
    does a response that says that the request itself is at fault, because a repeat may be right.
    """
    if response.status_code >= 400 or response.streaming:
        at_fault = response.status_code in _NEVER_STORED and not execution.taken_over
        if records.discard(execution, bound=at_fault):
            return response
    if response.streaming or (response.status_code >= 400 and execution.taken_over):
        return response
    if not execution.bound:
        log.error("a call with an Idempotency-Key succeeded and bound nothing")
    storable = _storable(response)
    stored = records.store(execution, storable)
    return response if stored is None or stored is storable else _replay(stored)


def _storable(response: HttpResponseBase) -> StoredResponse:
    assert isinstance(response, HttpResponse)
    headers = {name: response[name] for name in _STORED_HEADERS if response.has_header(name)}
    return StoredResponse(response.status_code, headers, response.content)


def _replay(stored: StoredResponse) -> HttpResponse:
    response = HttpResponse(stored.content, status=stored.status)
    del response["Content-Type"]
    for name, value in stored.headers.items():
        response[name] = value
    return response


def _with_rate_limit_headers(admission: Admission, response: HttpResponseBase) -> HttpResponseBase:
    if admission.decision is not None:
        for name, value in admission.decision.headers.items():
            response[name] = value
    return response

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
from apps.core import errors, idempotency, ratelimit_buckets, ratelimits, request_ids, trace
from apps.core import idempotency_records as records
from apps.core.idempotency import Answer, Attempt
from apps.core.middleware import Handler, error_response
from apps.core.ratelimits import Decision

log = logging.getLogger(__name__)

_API = "/v1/"
_KEPT_HEADERS = ("Content-Type", "Location", "Retry-After")
_AWAY_RETRY_SECONDS = 2


@dataclass(slots=True)
class Entry:
    """How far a call has come: `response` when it goes no further, `attempt` when it executes under a key."""

    decision: Decision | None = None
    response: HttpResponseBase | None = None
    attempt: Attempt | None = None
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
        entry = enter(request, view)
        response = entry.response
        if response is None:
            respond = cast(Callable[[HttpRequest], HttpResponseBase], self.get_response)
            response = _execute(entry, lambda: respond(request))
        return _leave(entry, response)

    async def _call_async(self, request: HttpRequest, view: object) -> HttpResponseBase:
        respond = cast(Callable[[HttpRequest], Awaitable[HttpResponseBase]], self.get_response)
        if view is None:
            return await respond(request)
        entry = await sync_to_async(enter)(request, view)
        response = entry.response
        if response is None and entry.attempt is None:
            response = await respond(request)
        elif response is None and entry.attempt is not None:
            if entry.atomic:
                raise ImproperlyConfigured("an asynchronous view can't be atomic: let its service bind a subject")
            with idempotency.attempting(entry.attempt):
                response = await respond(request)
            response = await sync_to_async(_settle)(entry.attempt, response)
        assert response is not None
        return _leave(entry, response)


def _view(request: HttpRequest) -> Any:
    if not request.path_info.startswith(_API):
        return None
    try:
        return resolve(request.path_info).func
    except Resolver404:
        return None


def enter(request: HttpRequest, view: object) -> Entry:
    """Authenticates, counts, and looks at the Idempotency-Key. Whatever is wrong becomes the entry's response."""
    entry = Entry()
    try:
        caller = caller_of(request)
        trace.bind(workspace_id=caller.workspace_id)
        entry.decision = _count(request, caller)
        if entry.decision is not None and not entry.decision.allowed:
            raise errors.TooManyRequests(
                f"Rate limit exceeded: {entry.decision.limit.per_minute} requests a minute,"
                f" {entry.decision.limit.burst} at once. Please try again later.",
                retry_after=entry.decision.wait,
            )
        _look_at_key(entry, request, view, caller)
    except errors.ApiError as error:
        entry.response = error_response(error, request_ids.current())
    return entry


def _count(request: HttpRequest, caller: Caller) -> Decision | None:
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
            headers={"Retry-After": str(_AWAY_RETRY_SECONDS)},
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


def _look_at_key(entry: Entry, request: HttpRequest, view: object, caller: Caller) -> None:
    key = request.headers.get(idempotency.HEADER)
    keyed = idempotency.keyed(view)
    if key is None or keyed is None or request.method != "POST":
        return
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        raise errors.BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    scope = records.Scope(caller.workspace_id, request.method, request.path_info, key)
    begun = records.begin(scope, request.body)
    if isinstance(begun, Answer):
        entry.response = _response(begun)
        entry.response[idempotency.REPLAY_HEADER] = "true"
    else:
        entry.attempt, entry.atomic = begun, keyed.atomic


def _execute(entry: Entry, respond: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    attempt = entry.attempt
    if attempt is None:
        return respond()
    with idempotency.attempting(attempt):
        if entry.atomic:
            return _in_one_transaction(attempt, respond)
        response = respond()
    return _settle(attempt, response)


def _in_one_transaction(attempt: Attempt, respond: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """The view's work and its answer are kept together, or neither is: an error has begun nothing."""
    with transaction.atomic():
        response = respond()
        if response.status_code < 400:
            kept = records.keep(attempt, _answer(response))
            overtaken = kept is None
        transaction.set_rollback(response.status_code >= 400 or overtaken)
    if response.status_code >= 400:
        records.forget(attempt)
    elif overtaken:
        return error_response(errors.IdempotencyInProgress(), request_ids.current())
    return response


def _settle(attempt: Attempt, response: HttpResponseBase) -> HttpResponseBase:
    """Keeps the answer of a view whose service binds. An error before it did has begun nothing."""
    if (response.status_code >= 400 or response.streaming) and records.forget(attempt):
        return response
    if response.streaming or (response.status_code >= 400 and attempt.overtaken):
        return response
    if not attempt.bound:
        log.error("a call with an Idempotency-Key succeeded and bound nothing")
    answer = _answer(response)
    kept = records.keep(attempt, answer)
    return response if kept is None or kept is answer else _response(kept)


def _answer(response: HttpResponseBase) -> Answer:
    assert isinstance(response, HttpResponse)
    headers = {name: response[name] for name in _KEPT_HEADERS if response.has_header(name)}
    return Answer(response.status_code, headers, response.content)


def _response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.content, status=answer.status)
    del response["Content-Type"]
    for name, value in answer.headers.items():
        response[name] = value
    return response


def _leave(entry: Entry, response: HttpResponseBase) -> HttpResponseBase:
    if entry.decision is not None:
        for name, value in entry.decision.headers.items():
            response[name] = value
    return response

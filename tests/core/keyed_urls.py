"""URLs of the API with asynchronous views, as those of jobs are."""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from apps.accounts.authentication import caller_of
from apps.core.idempotency import StoredResponse, Unresolved, bind, register, takes_key
from apps.webhooks.services import record_event

executed: list[str] = []
cancelled: list[str] = []
go_on = asyncio.Event()


@takes_key(binds="probe")
async def probe(request: HttpRequest) -> JsonResponse:
    """Begins something, waits if it is told to, and answers."""
    caller = caller_of(request)

    @transaction.atomic
    def begin() -> str:
        event = record_event(workspace_id=caller.workspace_id, type="probe", data={})
        bind("probe", event.id)
        return event.id

    if request.body == b'"refuse"':
        return JsonResponse({}, status=400)
    begun = await sync_to_async(begin)()
    executed.append(begun)
    try:
        if request.body == b'"wait"':
            await go_on.wait()
    except asyncio.CancelledError:
        cancelled.append(begun)
        raise
    return JsonResponse({"id": begun}, status=201)


@takes_key(atomic=True)
async def impossible(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


def outcome(subject_id: str) -> StoredResponse | Unresolved:
    if subject_id in cancelled:
        return StoredResponse(201, {"Content-Type": "application/json"}, b'{"settled": true}')
    return Unresolved.RUNNING


register("probe", outcome)
urlpatterns = [
    path("v1/probe", probe),
    path("v1/impossible", impossible),
    path("healthz", impossible),  # the application looks for it at its start
]

"""URLs with asynchronous views, as long-polls and event streams will be."""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, JsonResponse
from django.urls import path

from apps.accounts.models import Workspace

waiting: list[asyncio.Event] = []
cancelled: list[str] = []


async def wait(request: HttpRequest) -> JsonResponse:
    """Answers when the test sets this request's event in `waiting`."""
    event = asyncio.Event()
    waiting.append(event)
    try:
        await event.wait()
    except asyncio.CancelledError:
        cancelled.append(request.path)
        raise
    return JsonResponse({"workspaces": await Workspace.objects.acount()})


async def broken(request: HttpRequest) -> JsonResponse:
    raise ZeroDivisionError("a secret detail")


urlpatterns = [path("wait", wait), path("broken", broken), path("healthz", broken)]

"""When a page is ready, by what Chromium says of it and in which order."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runner.pages.tab import Tab, TabGone
from runner.wire import WaitUntil

LOADED = ("Page.loadEventFired", {})
IDLE = {"frameId": "T", "name": "networkIdle"}


def shows(document: str, frame: str = "T") -> tuple[str, dict[str, Any]]:
    return "Page.frameNavigated", {"frame": {"id": frame, "loaderId": document}}


def leaves(kind: str = "differentDocument") -> tuple[str, dict[str, Any]]:
    return "Page.frameStartedNavigating", {"frameId": "T", "navigationType": kind}


STOPPED = ("Page.frameStoppedLoading", {"frameId": "T"})


async def ready(*events: tuple[str, dict[str, Any]], sent_to: str = "D", state: WaitUntil = "load") -> bool:
    """Whether a tab that was sent to a document has reached `state` after these events."""
    tab = Tab(cast(Any, None), context="C", target="T", session="S")
    tab.sent_to(sent_to)
    for method, params in events:
        tab.on_event(method, params)
    waiting = asyncio.create_task(tab.reach(state))
    await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    return done


@pytest.mark.parametrize(
    "events",
    [
        [leaves(), shows("D"), LOADED],
        [leaves(), shows("D"), LOADED, STOPPED],
        [leaves(), shows("D"), shows("E"), LOADED],  # another one has taken its place
        [shows("D"), LOADED, leaves("sameDocument")],
        [shows("D"), LOADED, leaves(), STOPPED],  # it stays after all
        [shows("D"), LOADED, shows("F", frame="child")],
    ],
)
async def test_a_page_is_ready_once_its_last_document_is(events: list[tuple[str, dict[str, Any]]]) -> None:
    assert await ready(*events)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [shows("D")],
        [LOADED],  # the blank page's
        [LOADED, leaves(), STOPPED],  # the blank page's too, late
        [leaves(), LOADED, shows("D")],
        [shows("D"), LOADED, leaves()],
        [shows("D"), LOADED, leaves(), shows("E")],
        [shows("D", frame="child"), LOADED],
    ],
)
async def test_nothing_else_makes_it_ready(events: list[tuple[str, dict[str, Any]]]) -> None:
    assert not await ready(*events)


async def test_the_network_of_another_document_says_nothing() -> None:
    mine = ("Page.lifecycleEvent", {**IDLE, "loaderId": "D"})
    blank = ("Page.lifecycleEvent", {**IDLE, "loaderId": "B"})

    assert await ready(shows("D"), mine, state="networkidle")
    assert not await ready(blank, shows("D"), state="networkidle")
    assert not await ready(shows("D"), blank, state="networkidle")
    assert not await ready(shows("D"), LOADED, state="networkidle")


async def test_a_page_that_dies_ends_the_wait() -> None:
    tab = Tab(cast(Any, None), context="C", target="T", session="S")
    waiting = asyncio.create_task(tab.reach("load"))
    await asyncio.sleep(0)
    tab.on_event("Inspector.targetCrashed", {})

    with pytest.raises(TabGone):
        await waiting

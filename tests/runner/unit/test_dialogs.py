"""Which dialogs are answered for clients, and how."""

from __future__ import annotations

import asyncio

import pytest

from runner import dialogs
from runner.dialogs import CLOSED, OPENING, Dialogs
from tests.patience import PATIENCE


class Watch:
    """The dialogs of a browser, and the answers that they get."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, bool]] = []
        self.dialogs = Dialogs(lambda session, accept: self.answers.append((session, accept)))

    def opens(self, frame: str, kind: str = "confirm") -> None:
        self.dialogs.on_event(OPENING, {"frameId": frame, "type": kind}, f"session of {frame}")

    def closes(self, frame: str) -> None:
        self.dialogs.on_event(CLOSED, {"frameId": frame}, f"session of {frame}")

    async def answered(self, count: int = 1) -> list[tuple[str, bool]]:
        """The answers, once there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.answers) < count:
                await asyncio.sleep(0)
        return self.answers


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(dialogs, "GRACE_SECONDS", 0.02)
    return Watch()


@pytest.mark.parametrize(
    ("kind", "accept"), [("alert", False), ("confirm", False), ("prompt", False), ("beforeunload", True)]
)
async def test_a_dialog_that_no_client_was_told_of_is_answered(watch: Watch, kind: str, accept: bool) -> None:
    watch.opens("F", kind)

    assert await watch.answered() == [("session of F", accept)]


@pytest.mark.parametrize("first", ["the client", "we"])
async def test_a_dialog_that_a_client_was_told_of_is_the_clients(watch: Watch, first: str) -> None:
    if first == "the client":
        watch.dialogs.client_told("client", "F")
    watch.opens("F")
    if first == "we":
        watch.dialogs.client_told("client", "F")
    watch.opens("other")

    assert await watch.answered() == [("session of other", False)]


async def test_news_counts_for_one_dialog(watch: Watch) -> None:
    watch.opens("F")
    watch.dialogs.client_told("client", "F")
    watch.closes("F")
    watch.opens("F")

    assert await watch.answered() == [("session of F", False)]


async def test_news_of_an_unknown_frame_may_be_of_any_open_dialog(watch: Watch) -> None:
    watch.opens("F")
    watch.opens("G")
    watch.dialogs.client_told("client", None)
    watch.opens("later")

    assert await watch.answered() == [("session of later", False)]


async def test_old_news_counts_no_more(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogs, "TOLD_SECONDS", -1.0)
    watch.dialogs.client_told("client", "F")
    watch.opens("F")

    assert await watch.answered() == [("session of F", False)]


async def test_a_dialog_that_is_over_is_not_answered(watch: Watch) -> None:
    watch.opens("F")
    watch.closes("F")
    watch.opens("G")

    assert await watch.answered() == [("session of G", False)]


@pytest.mark.parametrize("others", [[], ["other"]])
async def test_a_dialog_of_a_client_that_left_is_ours_unless_another_was_told(watch: Watch, others: list[str]) -> None:
    watch.opens("F")
    for client in ["client", *others]:
        watch.dialogs.client_told(client, "F")
    watch.dialogs.client_left("client")
    watch.opens("G")

    expected = [("session of F", False), ("session of G", False)]
    assert await watch.answered(2 - len(others)) == expected[len(others) :]


async def test_a_browser_that_ends_leaves_no_timer(watch: Watch) -> None:
    watch.opens("F")

    watch.dialogs.close()

    assert watch.dialogs._open["F"].timer is None

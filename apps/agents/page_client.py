"""Pages for the quick calls: asks the runner to load one, and gives its failures the API's names.

Asynchronous, so that a call that waits for a page holds no thread. A caller that is cancelled hangs up, and the runner
frees the page at once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import cast

from apps.agents import identity
from apps.agents.control_client import RunnerBusy, ask, runner_session
from apps.agents.control_client import close as close  # what callers get: for them this module is the source
from apps.core.errors import ApiError, UpstreamTimeout, UpstreamUnavailable, UrlNotAllowed, ValidationFailed
from runner.wire import Blockable, PageFailure, PageFormat, PageRequest, WaitUntil, page_answer
from runner.wire import PageResult as PageResult

# Beyond the page's own time: the runner's wait for a slot (it gives up after 120 s itself), and the answer's way.
PATIENCE_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class PageWish:
    """A page to load. `queue` is whom it is for: the runner gives queues their turns alternately."""

    url: str
    queue: str
    formats: tuple[str, ...]
    os_type: str
    country: str
    wait_until: str = "load"
    wait_for: str | None = None
    timeout_ms: int = 60_000
    max_chars: int = 100_000
    full_page: bool = True
    block_resources: tuple[str, ...] = field(default=())


async def fetch(wish: PageWish) -> PageResult:
    """The page. Raises RunnerAway, NoEgress and RunnerBusy when none was loaded; what `error_of` names when it gave
    nothing.
    """
    seconds = wish.timeout_ms / 1000 + PATIENCE_SECONDS
    content = _request(wish).to_json()
    try:
        answer = await ask(runner_session(), "POST", "/pages", page_answer, content=content, seconds=seconds)
    except RunnerBusy as error:
        raise RunnerBusy("The cloud runner had no slot for the page in time. It is safe to try again.") from error
    if isinstance(answer, PageFailure):
        raise error_of(dataclasses.replace(answer, message=_sound(answer.message)))
    return dataclasses.replace(
        answer,
        url=_sound(answer.url),
        title=_sound(answer.title),
        html=answer.html and _sound(answer.html),
        text=answer.text and _sound(answer.text),
        links=answer.links and [_sound(link) for link in answer.links],
        flat=answer.flat and _sound(answer.flat),
        body=answer.body and _sound(answer.body),
        content_type=_sound(answer.content_type),
    )


def error_of(failed: PageFailure) -> ApiError:
    """The API's name for a page that gave nothing. Pure."""
    match failed.failure:
        case "not_allowed":
            reason = f"This address may not be reached from here: {failed.message}."
            return UrlNotAllowed(reason, fields={"url": [reason]})
        case "bad_selector":
            return ValidationFailed({"wait_for": [failed.message]})
        case "timeout":
            return UpstreamTimeout(f"The page was not ready in time: {failed.message}.")
        case "unreachable":
            return UpstreamUnavailable(f"The page can't be reached: {failed.message}.")
        case "download":
            return UpstreamUnavailable(f"There is no page to read: {failed.message}.")
        case "too_large":
            return UpstreamUnavailable(f"The page is too large: {failed.message}.")
        case _:
            return UpstreamUnavailable(f"The page could not be read: {failed.message}.")


def _sound(text: str) -> str:
    """A script may put NUL and halves of surrogate pairs into a page; neither JSON columns nor UTF-8 can hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\x00", "\ufffd")


def _request(wish: PageWish) -> PageRequest:
    """The wish's words have been checked where they came in."""
    return PageRequest(
        url=wish.url,
        os_family=identity.FAMILIES[wish.os_type],
        country=wish.country,
        formats=cast(list[PageFormat], list(wish.formats)),
        queue=wish.queue,
        wait_until=cast(WaitUntil, wish.wait_until),
        wait_for=wish.wait_for,
        timeout_ms=wish.timeout_ms,
        max_chars=wish.max_chars,
        full_page=wish.full_page,
        block_resources=cast(list[Blockable], list(wish.block_resources)),
    )

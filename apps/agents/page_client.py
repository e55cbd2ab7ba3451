"""Pages for the quick calls: asks the runner to load one, and gives its failures the API's names.

Asynchronous, so that whoever waits for a page holds no thread. A caller that is cancelled hangs up, and the runner
frees the page at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from weakref import WeakKeyDictionary

import aiohttp
from django.conf import settings

from apps.agents import identity
from apps.core.errors import ApiError, UpstreamTimeout, UpstreamUnavailable, UrlNotAllowed, ValidationFailed
from runner.wire import Blockable, PageFailure, PageFormat, PageRequest, WaitUntil, page_answer
from runner.wire import PageResult as PageResult  # what callers get: for them this module is the source

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
# Beyond the page's own time: the runner's wait for a place (it gives up after 120 s itself), and the answer's way.
PATIENCE_SECONDS = 150.0
KEEPALIVE_SECONDS = 30.0


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


class RunnerAway(UpstreamUnavailable):
    """The cloud runner can't be reached. It is safe to try again."""


class NoPlace(UpstreamTimeout):
    """The cloud runner had no place for the page in time. It is safe to try again."""


async def fetch(wish: PageWish) -> PageResult:
    """The page. Raises RunnerAway and NoPlace when nobody has tried, and what `error_of` names when it gave nothing."""
    answer = await _ask(_request(wish))
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
            return UrlNotAllowed(f"This address may not be reached from here: {failed.message}.")
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


async def _ask(request: PageRequest) -> PageResult | PageFailure:
    seconds = request.timeout_ms / 1000 + PATIENCE_SECONDS
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
    session, content = _session(), request.to_json()
    try:
        try:
            status, answer = await _post(session, content, timeout)
        except aiohttp.ServerDisconnectedError:
            # A kept connection that the runner had closed. To load a page twice does no harm.
            status, answer = await _post(session, content, timeout)
    except aiohttp.ConnectionTimeoutError as error:
        log.warning("the runner can't be reached", extra={"cause": type(error).__name__})
        raise RunnerAway from error
    except TimeoutError as error:
        raise NoPlace from error
    except aiohttp.ClientError as error:
        log.warning("the runner can't be reached", extra={"cause": type(error).__name__})
        raise RunnerAway from error
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        raise NoPlace
    if status != HTTPStatus.OK:
        log.warning("the runner refused", extra={"status": status, "answer": answer[:500].decode(errors="replace")})
        raise RunnerAway
    try:
        return page_answer(answer)
    except ValueError as error:
        log.error("the runner's answer can't be read", exc_info=error)
        raise RunnerAway from error


async def _post(session: aiohttp.ClientSession, content: bytes, timeout: aiohttp.ClientTimeout) -> tuple[int, bytes]:
    async with session.post("http://runner/pages", data=content, timeout=timeout) as answer:
        return answer.status, await answer.read()


_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], aiohttp.ClientSession]] = (
    WeakKeyDictionary()
)


def _session() -> aiohttp.ClientSession:
    """One for each event loop, which keeps its connections."""
    if not settings.RUNNER_URL:
        raise UpstreamUnavailable("No runner is configured: set BROWSA_RUNNER_URL.")
    address = (settings.RUNNER_URL, settings.RUNNER_TOKEN)
    ours = _sessions.setdefault(asyncio.get_running_loop(), {})
    if address not in ours:
        ours[address] = _open(*address)
    return ours[address]


def _open(address: str, token: str) -> aiohttp.ClientSession:
    # The runner says how many pages load at once: here nobody waits for a connection.
    path = address.removeprefix("unix:")
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path, limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )


async def close() -> None:
    """Closes this event loop's connections."""
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()

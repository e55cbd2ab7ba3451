"""The files that an agent's browser has downloaded. They are in its jail, and the runner reads them there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus

import aiohttp

from apps.agents.control_client import CONNECT_SECONDS, RunnerAway, runner_session
from apps.core.errors import AgentNotRunning, Conflict, NotFound
from runner.wire import Download

SILENCE_SECONDS = 30.0  # of a runner that sends a file
CHUNK = 64 * 2**10
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # and marks that turn text around


def pick(downloads: Iterable[Download], wanted: str) -> Download:
    """The download whose id or, of the newest one, whose name is `wanted`; a complete one goes before others.

    Raises NotFound, or Conflict for one that is not complete.
    """
    named = [one for one in downloads if one.id == wanted] or [one for one in downloads if one.name == wanted]
    if not named:
        raise NotFound("This agent has no such download.")
    found = next((one for one in named if one.state == "completed"), named[0])
    if found.state != "completed":
        raise Conflict(f"The download is not complete: it is {found.state}.")
    return found


def file_name(download: Download) -> str:
    """Its name for a header and for a person's disk: no control characters, no folders."""
    return _CONTROL.sub("_", download.name).replace("/", "_").replace("\\", "_").strip(" .") or "download"


class Content:
    """The bytes of one download, to be iterated once. `close` ends the connection if they are not."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    @property
    def size(self) -> int:
        return self._answer.content_length or 0

    @classmethod
    async def open(cls, agent_id: str, download: Download) -> Content:
        """Raises RunnerAway, NotFound when the file is gone, AgentNotRunning when the agent is."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        path = f"/leases/{agent_id}/downloads/{download.id}"
        try:
            answer = await runner_session().get(f"http://runner{path}", timeout=timeout)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RunnerAway from error
        if answer.status == HTTPStatus.OK:
            return cls(answer)
        refusal = await answer.read()
        if answer.status != HTTPStatus.NOT_FOUND:
            raise RunnerAway
        if b"no_lease" in refusal:
            raise AgentNotRunning("The agent is not running: its downloads are gone.")
        raise NotFound("The file of this download is gone.")

    def close(self) -> None:
        self._answer.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with self._answer:
            async for chunk in self._answer.content.iter_chunked(CHUNK):
                yield chunk

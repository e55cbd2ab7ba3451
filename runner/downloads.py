"""The files that a browser has downloaded: a list kept from Chromium's events, and safe reads from its jail.

Everything about a download is hostile: its name and address come from a page, the path from a client, and a jailed
program can replace the file by a link, a FIFO or a file without end.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import PurePosixPath

from runner.cdp import CdpConnection, Params
from runner.chromium import Chromium
from runner.wire import Download, DownloadState

MAX_DOWNLOADS = 1000  # remembered of each browser; the oldest ones are forgotten first
MAX_BYTES = 512 * 2**20  # of one file: more does not fit into a jail's folders, but a sparse file may claim it
MAX_NAME, MAX_URL = 1024, 2048  # characters
CHUNK = 256 * 2**10

_STATES: Mapping[str, DownloadState] = {"inProgress": "in_progress", "completed": "completed", "canceled": "canceled"}


class NoDownload(Exception):
    """There is no such download, or its file cannot be read."""


class Downloads:
    """Our CDP connection for one browser's download events. It changes nothing for clients: `default` is in effect."""

    def __init__(self, browser: Chromium) -> None:
        self._browser = browser
        self._cdp: CdpConnection | None = None
        self._known: dict[str, Download] = {}  # by guid, oldest first
        self._paths: dict[str, str] = {}  # of completed ones, as Chromium names them

    async def start(self) -> None:
        """Raises CdpError or ChromiumError."""
        self._cdp = await self._browser.connect(self._on_event)
        await self._cdp.call("Browser.setDownloadBehavior", {"behavior": "default", "eventsEnabled": True})

    async def close(self) -> None:
        if self._cdp is not None:
            await self._cdp.close()

    def newest_first(self) -> list[Download]:
        return list(reversed(self._known.values()))

    def open(self, guid: str) -> tuple[int, int]:
        """A descriptor of a completed download's file, and its size. Raises NoDownload."""
        path = self._paths.get(guid)
        if path is None:
            raise NoDownload("there is no such download, or it is not complete")
        return open_beneath(self._browser.folders, path)

    def _on_event(self, method: str, params: Params, session: str | None) -> None:
        guid = str(params.get("guid", ""))
        if method == "Browser.downloadWillBegin":
            name, url = _sound(params["suggestedFilename"], MAX_NAME), _sound(params["url"], MAX_URL)
            self._known[guid] = Download(guid, name, url, 0, "in_progress", time.time())
            while len(self._known) > MAX_DOWNLOADS:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self._paths.pop(oldest, None)
        elif method == "Browser.downloadProgress" and (known := self._known.get(guid)) is not None:
            size, state = int(params["receivedBytes"]), _STATES[params["state"]]
            self._known[guid] = dataclasses.replace(known, size=size, state=state)
            if params["state"] == "completed" and "filePath" in params:
                self._paths[guid] = str(params["filePath"])


def open_beneath(folders: Mapping[str, int], path: str) -> tuple[int, int]:
    """A descriptor to read the regular file `path`, and its size. Raises NoDownload.

    `folders` has descriptors of the folders beneath which the file may be; a relative path begins in the first one. No
    component may be a link, so the path cannot lead out of them. Nothing but a regular file is opened.
    """
    wanted = PurePosixPath(next(iter(folders), "/"), path)
    root = next((folder for folder in folders if wanted.is_relative_to(folder)), None)
    parts = wanted.relative_to(root).parts if root is not None else ()
    if root is None or not parts or ".." in parts:
        raise NoDownload("its file is not in a folder for downloads")
    with ExitStack() as opened:
        at = folders[root]
        try:
            for part, flags in [*((part, os.O_DIRECTORY) for part in parts[:-1]), (parts[-1], 0)]:
                at = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=at)
                opened.callback(os.close, at)
            status = os.fstat(at)
            if not stat.S_ISREG(status.st_mode):
                raise NoDownload("it is not a regular file")
            if status.st_size > MAX_BYTES:
                raise NoDownload("the file is too large")
            # `at` is only a place in the tree (O_PATH). To open it again through /proc follows no link of the jail.
            return os.open(f"/proc/self/fd/{at}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), status.st_size
        except (OSError, ValueError) as error:  # a ValueError: a null byte in the path
            raise NoDownload("its file cannot be read") from error


def _sound(text: str, most: int) -> str:
    """At most so many characters of it, without halves of surrogate pairs."""
    return text[:most].encode(errors="replace").decode()

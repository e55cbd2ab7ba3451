"""Only regular files are read from a jail, even if its programs replace them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from runner.chromium import Chromium
from runner.downloads import MAX_BYTES, MAX_DOWNLOADS, MAX_NAME, MAX_URL, Downloads, NoDownload, open_beneath

FOLDER = os.O_PATH | os.O_DIRECTORY


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "home" / "Downloads").mkdir(parents=True)
    (tmp_path / "home" / "Downloads" / "file").write_text("loot")
    return tmp_path / "home"


@pytest.fixture
def folders(home: Path) -> Iterator[dict[str, int]]:
    """The jail calls it /home/agent."""
    descriptor = os.open(home, FOLDER)
    yield {"/home/agent": descriptor}
    os.close(descriptor)


def content(folders: dict[str, int], path: str) -> bytes:
    file, size = open_beneath(folders, path)
    try:
        return os.pread(file, size, 0)
    finally:
        os.close(file)


@pytest.mark.parametrize("path", ["/home/agent/Downloads/file", "Downloads/file", "/home/agent//Downloads/./file"])
def test_a_file_is_read(folders: dict[str, int], path: str) -> None:
    assert content(folders, path) == b"loot"


def test_a_folder_that_a_windows_client_names_is_one_below_home(home: Path, folders: dict[str, int]) -> None:
    folder = "C:\\Users\\me\\Temp"
    (home / folder).mkdir()
    (home / folder / "guid").write_text("loot")

    assert content(folders, f"{folder}/guid") == b"loot"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/home/agent",
        "/home/agent/",
        "/home/agent/Downloads",
        "/home/agent/Downloads/nothing",
        "/home/agent/../outside/secret",
        "/home/agent/Downloads/../../outside/secret",
        "../outside/secret",
        "/home/agentX/file",
        "/home/agent/Downloads/file/x",
        "/home/agent/a\0b",
        "/home/agent/" + "x" * 300,
        "",
        "/",
    ],
)
def test_every_other_path_is_refused(folders: dict[str, int], path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(NoDownload):
        open_beneath(folders, path)

    assert len(os.listdir("/proc/self/fd")) == before


def link(home: Path) -> None:
    (home / "Downloads" / "trick").symlink_to(home.parent / "outside" / "secret")


def relative_link(home: Path) -> None:
    (home / "Downloads" / "trick").symlink_to("file")


def link_to_proc(home: Path) -> None:
    (home / "Downloads" / "trick").symlink_to("/proc/self/fd/0")


def fifo(home: Path) -> None:
    os.mkfifo(home / "Downloads" / "trick")


def folder(home: Path) -> None:
    (home / "Downloads" / "trick").mkdir()


def listening(home: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(home / "Downloads")  # the path of a socket is short
    try:
        listener.bind("trick")
    finally:
        os.chdir(here)
        listener.close()


def endless(home: Path) -> None:
    with (home / "Downloads" / "trick").open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def linked_folder(home: Path) -> None:
    (home / "Downloads" / "file").unlink()
    (home / "Downloads").rmdir()
    (home / "Downloads").symlink_to(home.parent / "outside")
    (home.parent / "outside" / "trick").write_text("secret")


@pytest.mark.parametrize(
    "put",
    [link, relative_link, link_to_proc, fifo, folder, listening, endless, linked_folder],
    ids=lambda f: f.__name__,
)
def test_what_is_no_file_is_not_opened(home: Path, folders: dict[str, int], put: Any) -> None:
    put(home)

    with pytest.raises(NoDownload):
        open_beneath(folders, "/home/agent/Downloads/trick")


def listed(downloads: Downloads) -> list[tuple[str, int, str]]:
    return [(one.name, one.size, one.state) for one in downloads.newest_first()]


def begin(downloads: Downloads, guid: str, name: str = "a", url: str = "https://x.test/") -> None:
    downloads._on_event("Browser.downloadWillBegin", {"guid": guid, "suggestedFilename": name, "url": url}, None)


def progress(downloads: Downloads, guid: str, state: str, **more: Any) -> None:
    params = {"guid": guid, "receivedBytes": 7.0, "totalBytes": 7.0, "state": state, **more}
    downloads._on_event("Browser.downloadProgress", params, None)


@pytest.fixture
def downloads(folders: dict[str, int]) -> Downloads:
    class FakeChromium:
        def __init__(self) -> None:
            self.folders = folders

    return Downloads(cast(Chromium, FakeChromium()))


def test_events_make_the_list(downloads: Downloads) -> None:
    for guid in ("1", "2", "3"):
        begin(downloads, guid, name=f"file {guid}")
    progress(downloads, "1", "completed", filePath="/home/agent/Downloads/file")
    progress(downloads, "2", "canceled")
    progress(downloads, "unknown", "completed")

    assert listed(downloads) == [("file 3", 0, "in_progress"), ("file 2", 7, "canceled"), ("file 1", 7, "completed")]
    os.close(downloads.open("1")[0])
    for guid in ("2", "3", "unknown"):
        with pytest.raises(NoDownload):
            downloads.open(guid)


def test_what_a_page_names_is_bounded(downloads: Downloads) -> None:
    for number in range(MAX_DOWNLOADS + 3):
        begin(downloads, str(number), name="\ud800" * 9999, url="data:," + "x" * 9999)
        progress(downloads, str(number), "completed", filePath="/x")

    kept = downloads.newest_first()
    assert (len(kept), kept[-1].id) == (MAX_DOWNLOADS, "3")
    assert (kept[0].name, len(kept[0].url)) == ("?" * MAX_NAME, MAX_URL)
    assert len(downloads._paths) == MAX_DOWNLOADS

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.home import Home, StackError, locate, opened, private_directory, socket_directory

LONGEST = 107 - len("/pg/.s.PGSQL.5432")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return locate(tmp_path / "home")


def test_sockets_live_in_the_first_directory_that_is_short_enough() -> None:
    chosen = socket_directory(Path("/home/me/.browsa"), 1000, ["/" + "deep/" * 20, "/run/user/1000", "/short"])

    assert chosen.parent == Path("/run/user/1000")
    assert len(str(chosen)) <= LONGEST


def test_a_deep_home_does_not_make_socket_paths_longer() -> None:
    assert len(str(socket_directory(Path("/" + "d" * 4000), 0, ["/short"]))) <= LONGEST


def test_each_home_and_user_has_its_own_socket_directory() -> None:
    places = {socket_directory(Path(path), uid, ["/short"]) for path in ("/a", "/b") for uid in (1, 2)}

    assert len(places) == 4


def test_without_a_short_directory_the_message_says_what_to_set() -> None:
    with pytest.raises(StackError, match="TMPDIR"):
        socket_directory(Path("/a"), 0, ["/" + "x" * 120])


def test_a_home_is_private_and_its_sockets_are_removed_with_the_stack(home: Home) -> None:
    with opened(home):
        assert home.path.stat().st_mode & 0o777 == 0o700
        assert home.sockets.stat().st_mode & 0o777 == 0o700

    assert not home.sockets.exists()


def test_a_home_has_one_stack_at_a_time(home: Home) -> None:
    with opened(home), pytest.raises(StackError, match=f"pid {os.getpid()}.*BROWSA_HOME"), opened(home):
        pass

    with opened(home):
        pass


def test_sockets_of_a_killed_stack_are_removed(home: Home) -> None:
    home.sockets.mkdir(mode=0o700)
    (home.sockets / "redis.sock").touch()

    with opened(home):
        assert list(home.sockets.iterdir()) == []


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")

    with pytest.raises(StackError, match="not a directory that you own"):
        private_directory(tmp_path / "link")


def test_a_directory_that_others_can_enter_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)

    private_directory(tmp_path / "open")

    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700

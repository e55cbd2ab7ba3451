from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner.browsers import find_chromium, find_headless_shell
from stack.child import ROOT

PROGRAM = b"\x7fELF and so on"


def program(path: Path, content: bytes = PROGRAM) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_what_the_operator_names_comes_first(tmp_path: Path) -> None:
    named = program(tmp_path / "mine" / "chrome")
    program(tmp_path / "bin" / "chromium")

    assert find_chromium({"BROWSA_CHROMIUM": str(named), "PATH": str(tmp_path / "bin")}) == named


def test_a_wrong_name_is_an_error_and_not_a_second_choice(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "chromium")
    script = program(tmp_path / "chromium-launcher", b"#!/bin/sh\n")

    for wrong in (tmp_path / "none", script):
        with pytest.raises(FileNotFoundError, match="BROWSA_CHROMIUM="):
            find_chromium({"BROWSA_CHROMIUM": str(wrong), "PATH": str(tmp_path / "bin")})


def test_a_program_on_the_path_is_found_behind_its_link(tmp_path: Path) -> None:
    real = program(tmp_path / "opt" / "chrome")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "chromium").symlink_to(real)

    assert find_chromium({"PATH": str(tmp_path / "bin")}) == real


def test_snaps_launcher_is_no_browser(tmp_path: Path) -> None:
    snap = program(tmp_path / "usr" / "snap")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "chromium").symlink_to(snap)

    assert find_chromium({"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}) != snap


@pytest.mark.parametrize("layout", ["chrome-linux/chrome", "chrome-linux64/chrome"])
def test_the_newest_of_playwrights_builds_is_taken(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.browsers._CHROMIUM_PLACES", ())
    program(tmp_path / "chromium-999" / layout)
    newest = program(tmp_path / "chromium-1255" / layout)
    program(tmp_path / "chromium_headless_shell-1255" / "chrome-linux" / "headless_shell")

    assert find_chromium({"PATH": "", "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}) == newest


def test_playwrights_headless_shell_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.browsers._SHELL_PLACES", ())
    shell = program(
        tmp_path / "chromium_headless_shell-1255" / "chrome-headless-shell-linux64" / "chrome-headless-shell"
    )
    program(tmp_path / "chromium-1255" / "chrome-linux" / "chrome")

    assert find_headless_shell({"PATH": "", "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}) == shell


def test_no_browser_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.browsers._CHROMIUM_PLACES", ())

    assert find_chromium({"PATH": "", "HOME": str(tmp_path)}) is None


def test_it_needs_nothing_installed() -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runner.browsers"

    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)

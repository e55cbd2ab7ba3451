"""The set-up steps, without a network: which are skipped, what they print, what is tried next."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from stack import bootstrap
from stack.bootstrap import BootstrapError
from tests.patience import PATIENCE

Steps = list[tuple[str, list[str]]]


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """A project in a temporary directory. Its steps are recorded and succeed."""
    taken: Steps = []

    def attempt(what: str, command: list[str], seconds: float) -> bool:
        taken.append((what, command))
        return True

    (tmp_path / ".venv").mkdir()
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text(f"{name}==1\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "attempt", attempt)
    return taken


def test_requirements_are_installed_once(steps: Steps) -> None:
    bootstrap.ensure_requirements("requirements.txt")
    bootstrap.ensure_requirements("requirements.txt")

    assert [what for what, _ in steps] == ["Installing requirements.txt"]


def test_a_changed_requirement_is_installed(steps: Steps) -> None:
    bootstrap.ensure_requirements("requirements.txt", "requirements-dev.txt")
    (bootstrap.ROOT / "requirements-dev.txt").write_text("another==2\n")

    bootstrap.ensure_requirements("requirements.txt")
    bootstrap.ensure_requirements("requirements.txt", "requirements-dev.txt")

    assert len(steps) == 2


def test_pip_is_tried_when_uv_fails(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(what: str, command: list[str], seconds: float) -> bool:
        steps.append((what, command))
        return not command[0].endswith("/uv")

    monkeypatch.setattr(bootstrap, "attempt", attempt)

    bootstrap.ensure_requirements("requirements.txt")

    assert [what for what, _ in steps] == ["Installing requirements.txt", "Trying again with pip"]


def test_browsers_come_from_playwright_and_then_from_the_system(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []

    def find(name: str) -> Path | None:
        return Path("/bin/true") if name in installed else None

    def apt_install(package: str) -> bool:
        installed.append(package)
        return True

    monkeypatch.setattr("runner.browsers.find_chromium", lambda env: find("chromium"))
    monkeypatch.setattr("runner.browsers.find_headless_shell", lambda env: find("chromium-headless-shell"))
    monkeypatch.setattr(bootstrap, "apt_install", apt_install)

    bootstrap.ensure_browsers()

    assert steps[0][1][1:] == ["install", "chromium", "chromium-headless-shell"]
    assert installed == ["chromium", "chromium-headless-shell"]


def test_a_missing_headless_shell_is_no_error_and_is_not_tried_again(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runner.browsers.find_chromium", lambda env: Path("/bin/true"))
    monkeypatch.setattr("runner.browsers.find_headless_shell", lambda env: None)
    monkeypatch.setattr(bootstrap, "apt_install", lambda package: False)

    bootstrap.ensure_browsers()
    bootstrap.ensure_browsers()

    assert len(steps) == 1
    assert "BROWSA_CHROMIUM_SHELL" in capsys.readouterr().out


def test_without_a_chromium_the_message_says_what_to_install(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.browsers.find_chromium", lambda env: None)
    monkeypatch.setattr("runner.browsers.find_headless_shell", lambda env: None)
    monkeypatch.setattr(bootstrap, "apt_install", lambda package: False)

    with pytest.raises(BootstrapError, match=r"apt install chromium.*BROWSA_CHROMIUM"):
        bootstrap.ensure_browsers()


def test_a_failed_step_shows_the_end_of_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    script = "import sys; print('first'); print('the reason', file=sys.stderr); sys.exit(1)"

    assert not bootstrap.attempt("Trying", [sys.executable, "-c", script], PATIENCE)

    assert capsys.readouterr().out.startswith("· Trying … failed:\n    ")


def test_a_step_that_hangs_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()

    assert not bootstrap.attempt("Waiting", ["sh", "-c", "sleep 600 & sleep 600"], 0.2)

    assert time.monotonic() - begun < PATIENCE
    assert "stopped after" in capsys.readouterr().out


def test_an_old_python_is_refused_with_the_needed_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST_PYTHON", (3, 99))

    with pytest.raises(BootstrapError, match=r"3\.11 or newer"):
        bootstrap.need_python()

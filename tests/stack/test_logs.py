from __future__ import annotations

from pathlib import Path

import pytest

from stack import logs
from stack.child import tail
from stack.logs import LogFile, alert_text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"level": "warning", "message": "no jail"}', "warning: no jail"),
        ('{"level": "info", "message": "GET /v1/agents"}', None),
        ('{"level": "info", "message": "ERROR is only a word here"}', None),
        ("{not json", None),
        ("2026-11-21 21:38:39.713 UTC [7] PANIC:  no space", "PANIC:  no space"),
        ("2026-11-21 21:38:39.713 UTC [7] LOG:  database system is ready", None),
        ("2026-11-21 21:38:39,713 WARNING browsa.runner no jails", "WARNING browsa.runner no jails"),
        ("7:M # WARNING Memory overcommit must be enabled!", None),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_only_warnings_and_errors_are_shown(line: str, said: str | None) -> None:
    assert alert_text(line) == said


def test_a_shown_line_is_short() -> None:
    assert len(alert_text("ERROR " + "x" * 10_000) or "") <= 300


def test_alerts_are_whole_lines_however_they_arrive(tmp_path: Path) -> None:
    alerts: list[str] = []
    log = LogFile(tmp_path / "api.log", alerts.append)

    log.write(b'{"level": "err')
    log.write(b'or", "message": "bad"}\nfine\n')
    log.close()

    assert alerts == ["error: bad"]
    assert (tmp_path / "api.log").read_text().endswith("fine\n")


def test_a_log_has_a_limited_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LIMIT", 1000)
    log = LogFile(tmp_path / "api.log", lambda line: None)

    for number in range(1000):
        log.write(f"line {number}\n".encode())
    log.close()

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert tail(tmp_path / "api.log", lines=1) == "line 999"


def test_a_log_is_appended_to_that_of_the_last_stack(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        log = LogFile(tmp_path / "api.log", lambda line: None)
        log.write(text)
        log.close()

    assert tail(tmp_path / "api.log") == "first\nsecond"
    assert tail(tmp_path / "api.log", since=log.began_at) == "second"


def test_the_tail_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == ""

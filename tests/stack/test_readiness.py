from __future__ import annotations

import socket
from typing import Any

from stack.readiness import Readiness, ask, judge


def body(**checks: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ready", "checks": checks}


def test_a_stack_whose_checks_pass_is_ready() -> None:
    state = judge(200, body(runner={"ok": True}, worker_and_beat={"ok": True, "last_tick_seconds_ago": 0.5}), 3.0)

    assert state.ready
    assert state.working == {"runner", "worker_and_beat"}


def test_a_tick_from_before_the_start_does_not_count() -> None:
    state = judge(200, body(runner={"ok": True}, worker_and_beat={"ok": True, "last_tick_seconds_ago": 9.0}), 3.0)

    assert not state.ready
    assert list(state.missing) == ["worker_and_beat"]


def test_what_is_missing_is_named_with_its_reason() -> None:
    state = judge(503, body(database={"ok": True}, runner={"ok": False, "error": "no warm browser"}), 1.0)

    assert not state.ready
    assert state.missing == {"runner": "no warm browser"}


def test_an_unexpected_answer_is_not_ready() -> None:
    assert not judge(404, {"error": "x"}, 1.0).ready


def test_a_port_without_a_server_is_not_reachable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        assert ask(silent.getsockname()[1], 0.0) == Readiness()

from __future__ import annotations

import signal

import pytest

from stack.services import StopMode, applications, count_failures, describe_exit, restart_delay, stop_order


def test_restarts_wait_longer_each_time_up_to_five_seconds() -> None:
    delays = [restart_delay(failures) for failures in range(1, 8)]

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert restart_delay(1_000_000) == 5.0


def test_a_long_run_resets_the_count_of_failures() -> None:
    assert count_failures(6, ran_for=1.0) == 7
    assert count_failures(6, ran_for=60.0) == 1


def test_the_runner_and_the_worker_end_while_the_api_still_listens() -> None:
    order = stop_order(list(applications(8000, {}, {})))

    assert [{service.name for service in stage} for stage in order] == [{"worker", "beat", "runner"}, {"api"}]


def test_the_runner_stops_at_once_on_sigint_and_drains_on_sigterm() -> None:
    runner = {service.name: service for service in applications(8000, {}, {})}["runner"]

    assert runner.signals(StopMode.NOW)[0][0] == signal.SIGINT
    assert runner.signals(StopMode.DRAIN)[0][0] == signal.SIGTERM


def test_the_runner_gets_the_configured_time_to_drain() -> None:
    runner = {s.name: s for s in applications(8000, {}, {"BROWSA_DRAIN_SECONDS": "90"})}["runner"]

    assert runner.signals(StopMode.DRAIN)[0][1] > 90


def test_the_api_listens_on_loopback_only() -> None:
    api = applications(9000, {}, {})[0]

    assert api.command[api.command.index("--host") + 1] == "127.0.0.1"
    assert api.command[api.command.index("--port") + 1] == "9000"


def test_the_api_gets_lifespan_events() -> None:
    api = applications(9000, {}, {})[0]

    assert api.command[api.command.index("--lifespan") + 1] == "on"


@pytest.mark.parametrize(("status", "words"), [(-9, "killed by SIGKILL"), (3, "exit status 3")])
def test_how_a_process_ended_is_put_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words

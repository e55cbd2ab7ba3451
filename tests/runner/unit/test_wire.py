"""Messages between the API and a runner survive the trip, and an upgrade of either end."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner import wire

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

numbers = st.floats(0, 1e12, allow_nan=False)

messages = st.one_of(
    st.builds(
        wire.LeaseRequest,
        lease_id=st.text(),
        os_family=st.sampled_from(wire.OS_FAMILIES),
        country=st.text(max_size=3),
        ttl_seconds=st.integers(),
        initial_url=st.none() | st.text(),
        wait_seconds=numbers,
    ),
    st.builds(wire.LeaseGranted, *[st.text()] * 7, numbers, numbers),
    st.builds(wire.LeaseExtension, st.integers()),
    st.builds(
        wire.RunnerReport,
        st.text(),
        st.text(),
        st.lists(st.builds(wire.LeaseEnded, st.text(), st.sampled_from(["expired", "closed", "crashed"]), numbers)),
    ),
    st.builds(
        wire.RunnerStatus,
        st.text(),
        st.text(),
        st.just("ready"),
        st.text(),
        *[st.integers(0)] * 5,
        st.builds(wire.JailStatus, st.just("bwrap"), st.just("own"), st.lists(st.text())),
        st.lists(st.builds(wire.CountryEgress, st.text(), st.integers(), st.integers(), st.lists(st.text()))),
    ),
    st.builds(
        wire.EgressReport,
        st.lists(st.builds(wire.ExitCheck, *[st.text()] * 3, st.none() | st.integers(), st.none() | st.text())),
    ),
)


@unhurried
@given(messages)
def test_a_message_arrives_as_it_was_sent(message: wire.Message) -> None:
    assert type(message).from_json(message.to_json()) == message


@unhurried
@given(messages)
def test_what_a_newer_peer_adds_is_ignored(message: wire.Message) -> None:
    data = json.loads(message.to_json()) | {"added_later": [1, {"x": None}]}

    assert type(message).from_json(json.dumps(data)) == message


@unhurried
@given(messages)
def test_what_has_a_default_may_be_missing_and_nothing_else(message: wire.Message) -> None:
    data = json.loads(message.to_json())
    optional = {"initial_url", "wait_seconds", "seed", "overrides", "harness", "fingerprint", "ended", "jail", "egress"}

    for name in data:
        shorter = json.dumps({key: value for key, value in data.items() if key != name})
        if name in optional:
            type(message).from_json(shorter)
        else:
            with pytest.raises(ValueError, match=name):
                type(message).from_json(shorter)


@pytest.mark.parametrize("raw", ["", "[]", "null", "1", '"x"', "{", "{}", b"\xff", "NaN", "[" * 50_000])
@pytest.mark.parametrize(
    "kind", [wire.LeaseRequest, wire.LeaseGranted, wire.RunnerReport, wire.RunnerStatus, wire.EgressReport]
)
def test_what_is_no_message_is_a_value_error(kind: type[wire.Message], raw: str | bytes) -> None:
    with pytest.raises(ValueError):
        kind.from_json(raw)


@pytest.mark.parametrize("ended", [1, "x", {}, [1], [None], [[]], [{}], [{"lease_id": "a"}]])
def test_a_report_of_something_else_than_ends_is_a_value_error(ended: object) -> None:
    with pytest.raises(ValueError, match=r"ended|LeaseEnded"):
        wire.RunnerReport.from_json(json.dumps({"runner_id": "r1", "boot_id": "b", "ended": ended}))


def test_a_status_whose_jail_is_no_object_is_a_value_error() -> None:
    status = wire.RunnerStatus("r1", "b", "ready", "/chromium", 1, 2, 3, 4, 5)
    for jail in (1, "x", None, []):
        with pytest.raises(ValueError, match="jail"):
            wire.RunnerStatus.from_json(json.dumps(json.loads(status.to_json()) | {"jail": jail}))


@pytest.mark.parametrize("items", [1, "x", {}, [1], [None], [[]], [{}], [{"way": "direct"}]])
def test_an_egress_of_something_else_than_countries_is_a_value_error(items: object) -> None:
    status = json.loads(wire.RunnerStatus("r1", "b", "ready", "/chromium", 1, 2, 3, 4, 5).to_json())
    with pytest.raises(ValueError, match=r"egress|CountryEgress"):
        wire.RunnerStatus.from_json(json.dumps(status | {"egress": items}))
    with pytest.raises(ValueError, match=r"checks|ExitCheck"):
        wire.EgressReport.from_json(json.dumps({"checks": items}))

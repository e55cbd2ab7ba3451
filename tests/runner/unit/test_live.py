"""The live view's decisions: what a viewer may say, where a click goes, which page is in front, who gets what when."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.live.input_commands import PageSize, command
from runner.live.messages import Copy, Input, InvalidMessage, Key, Mouse, Text, Wheel, encode_message, parse
from runner.live.open_pages import OpenPages
from runner.live.pacing import FRAME_SECONDS, INPUTS_AT_ONCE, INPUTS_PER_SECOND, Allowance, Outbox, Pace

MOUSE = {"type": "mouse", "action": "down", "x": 0.5, "y": 1, "button": "left", "buttons": 1, "clicks": 2}
MESSAGES: dict[str, dict[str, Any]] = {
    "mouse": {**MOUSE, "modifiers": 8},
    "wheel": {"type": "wheel", "x": 0, "y": 0.25, "dx": -3.5, "dy": 120, "modifiers": 0},
    "key": {
        **{"type": "key", "down": True, "key": "a", "code": "KeyA", "key_code": 65},
        **{"location": 0, "repeat": False, "modifiers": 0},
    },
    "text": {"type": "text", "text": "naïve 数\n"},
    "copy": {"type": "copy"},
}


# --- What a viewer may say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("mouse", Mouse("down", 0.5, 1.0, "left", 1, 2, 8)),
        ("wheel", Wheel(0.0, 0.25, -3.5, 120.0, 0)),
        ("key", Key(True, "a", "KeyA", 65, 0, False, 0)),
        ("text", Text("naïve 数\n")),
        ("copy", Copy()),
    ],
)
def test_every_kind_of_input_is_understood(kind: str, meant: Input) -> None:
    assert parse(json.dumps(MESSAGES[kind])) == meant


@pytest.mark.parametrize("kind", MESSAGES)
def test_no_field_may_be_missing_and_none_is_ignored(kind: str) -> None:
    for name in MESSAGES[kind]:
        with pytest.raises(InvalidMessage):
            parse(json.dumps({key: value for key, value in MESSAGES[kind].items() if key != name}))
    with pytest.raises(InvalidMessage, match="unknown field"):
        parse(json.dumps({**MESSAGES[kind], "sessionId": "x"}))


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("mouse", "x", [-0.001, 1.001, "0", None, True, 10**400, [0]]),
        ("mouse", "action", ["press", "", 1, None, ["move"]]),
        ("mouse", "button", ["any", 0, {}]),
        ("mouse", "buttons", [-1, 32, 1.0, True]),
        ("mouse", "clicks", [4, -1]),
        ("mouse", "modifiers", [16, -1, 0.5]),
        ("wheel", "dy", [10_001, -10_001, "1"]),
        ("key", "key", ["k" * 33, 1, None, "\ud800"]),
        ("key", "code", ["k" * 33]),
        ("key", "key_code", [256, -1, "65"]),
        ("key", "down", [1, "true", None]),
        ("text", "text", ["x" * 50_001, 1, None, "half a pair: \udc00"]),
        ("copy", "type", ["Copy", "eval", "__class__", 1, None, ["copy"], {}]),
    ],
)
def test_every_value_has_its_bounds(kind: str, name: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(InvalidMessage):
            parse(json.dumps({**MESSAGES[kind], name: value}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_are_finite(number: str) -> None:
    with pytest.raises(InvalidMessage):
        parse(json.dumps(MESSAGES["wheel"]).replace("120", number))


NAMES = st.sampled_from(["type", "x", "y", "text", "key", "action"]) | st.text()
VALUES = st.none() | st.booleans() | st.floats() | st.text()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=8))
def test_nonsense_is_refused_and_nothing_worse(value: object) -> None:
    with pytest.raises(InvalidMessage):
        assert parse(json.dumps(value)) == Copy()  # the one message that has no other field
        raise InvalidMessage


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters()))
def test_what_is_said_can_be_sent_whatever_a_page_calls_itself(title: str) -> None:
    assert json.loads(encode_message("page", title=title).encode())["type"] == "page"


# --- Where it goes --------------------------------------------------------------------------------------------------

SIZE = PageSize(width=1512, height=862)


def test_a_place_in_the_picture_is_one_in_the_page() -> None:
    assert SIZE.point(0, 0) == {"x": 0, "y": 0}
    assert SIZE.point(0.5, 0.5) == {"x": 756, "y": 431}
    assert SIZE.point(1, 1) == {"x": 1511, "y": 861}  # the last pixel, not the one behind it
    assert PageSize(1000, 500, top=100).point(0.5, 0.5) == {"x": 500, "y": 150}


@pytest.mark.parametrize(
    "metadata", [{}, {"deviceWidth": None, "deviceHeight": "x"}, {"deviceWidth": float("nan"), "deviceHeight": 1e999}]
)
def test_a_size_that_makes_no_sense_is_none(metadata: dict[str, Any]) -> None:
    assert PageSize.of(metadata) == PageSize(0, 0, 0)
    assert PageSize.of(metadata).point(1, 1) == {"x": 0, "y": 0}


def test_a_mouse_button_goes_to_its_place() -> None:
    assert command(Mouse("down", 0.5, 0.5, "right", 2, 1, 8), SIZE) == (
        "Input.dispatchMouseEvent",
        {"type": "mousePressed", "x": 756, "y": 431, "button": "right", "buttons": 2, "clickCount": 1, "modifiers": 8},
    )


def test_a_wheel_turns_at_its_place() -> None:
    assert command(Wheel(0, 0, 1.5, -120, 0), SIZE) == (
        "Input.dispatchMouseEvent",
        {"type": "mouseWheel", "deltaX": 1.5, "deltaY": -120, "modifiers": 0, "x": 0, "y": 0},
    )


def key(name: str, code: str = "", *, down: bool = True, modifiers: int = 0, location: int = 0) -> dict[str, Any]:
    method, params = command(Key(down, name, code, 65, location, False, modifiers), SIZE)
    assert method == "Input.dispatchKeyEvent"
    return params


@pytest.mark.parametrize(
    ("name", "modifiers", "text"),
    [("a", 0, "a"), ("A", 8, "A"), ("é", 0, "é"), ("Enter", 0, "\r"), ("a", 2, None), ("a", 4, None), ("Tab", 0, None)],
)
def test_a_key_writes_what_it_would_in_a_browser(name: str, modifiers: int, text: str | None) -> None:
    params = key(name, modifiers=modifiers)

    assert params.get("text") == text
    assert params["type"] == ("keyDown" if text else "rawKeyDown")
    released = key(name, modifiers=modifiers, down=False)
    assert released["type"] == "keyUp" and "text" not in released


@pytest.mark.parametrize(
    ("name", "modifiers", "commands"),
    [("a", 4, ["selectAll"]), ("z", 4, ["undo"]), ("Z", 12, ["redo"]), ("q", 4, []), ("a", 2, None)],
)
def test_a_macs_shortcuts_edit(name: str, modifiers: int, commands: list[str] | None) -> None:
    assert key(name, modifiers=modifiers).get("commands") == commands


def test_a_keypad_is_one() -> None:
    assert key("1", "Numpad1", location=3)["isKeypad"] is True


def test_a_paste_is_text_and_nothing_else() -> None:
    assert command(Text("rm -rf\n"), SIZE) == ("Input.insertText", {"text": "rm -rf\n"})


# --- Which page is in front -----------------------------------------------------------------------------------------


def pages(*names: str) -> OpenPages:
    made = OpenPages()
    for name in names:
        made.add(name, name.upper(), title=name, url=f"http://{name}")
        made.set_visible(name, True)
    return made


def active(of: OpenPages) -> str | None:
    return of.active.session if of.active is not None else None


def test_the_newest_visible_page_is_in_front() -> None:
    tabs = pages("a", "b")
    assert active(tabs) == "b"  # two windows
    tabs.set_visible("a", False)
    tabs.set_visible("a", True)
    assert active(tabs) == "a"


def test_a_page_that_is_visible_already_does_not_come_to_the_front_by_navigating() -> None:
    tabs = pages("a", "b")
    tabs.set_visible("a", True)

    assert active(tabs) == "b"


def test_a_page_that_opens_behind_stays_there() -> None:
    tabs = pages("a")
    tabs.add("b", "B", title="", url="")
    tabs.set_visible("b", False)

    assert active(tabs) == "a"


def test_what_closes_gives_way_to_what_was_in_front_before() -> None:
    tabs = pages("a", "b", "c")
    tabs.remove("c")
    assert active(tabs) == "b"
    tabs.set_visible("b", False)
    tabs.remove("b")
    assert active(tabs) == "a"
    tabs.remove("a")
    assert active(tabs) is None


def test_when_none_is_visible_the_newest_is_shown() -> None:
    tabs = pages("a", "b")
    for name in "ab":
        tabs.set_visible(name, False)

    assert active(tabs) == "b"


def test_news_of_unknown_pages_changes_nothing() -> None:
    tabs = pages("a")
    tabs.set_visible("z", True)
    tabs.remove("z")
    tabs.update("Z", title="z", url="z")

    assert active(tabs) == "a" and tabs.targets == {"A"}


def test_titles_and_addresses_are_followed_and_cut() -> None:
    tabs = pages("a")
    tabs.update("A", title="t" * 100_000, url="u" * 100_000)

    assert tabs.active is not None
    assert (len(tabs.active.title), len(tabs.active.url)) == (300, 2048)


# --- Who gets what when ---------------------------------------------------------------------------------------------


def test_frames_that_come_slowly_are_acknowledged_at_once() -> None:
    pace = Pace()

    assert [pace.acknowledge_delay(now) for now in (0.0, 0.1, 0.2)] == [0, 0, 0]
    assert not pace.behind


def test_frames_that_come_fast_wait_for_their_turn() -> None:
    pace = Pace()

    assert [pace.acknowledge_delay(0.0) for _ in range(3)] == [0, FRAME_SECONDS, pytest.approx(2 * FRAME_SECONDS)]
    assert pace.behind


def test_input_is_allowed_in_bursts_and_then_at_a_rate() -> None:
    allowance = Allowance(0.0)

    assert all(allowance.take(0.0) for _ in range(int(INPUTS_AT_ONCE)))
    assert not allowance.take(0.0)
    assert sum(allowance.take(1.0) for _ in range(1000)) == INPUTS_PER_SECOND
    assert sum(allowance.take(1000.0) for _ in range(1000)) == INPUTS_AT_ONCE


def test_a_slow_viewer_gets_the_newest_picture_and_every_word() -> None:
    outbox = Outbox()
    for number in range(100):
        outbox.set_frame(b"%d" % number)
        outbox.set_state(f"state {number}")
    outbox.add("one")
    outbox.add("two")

    assert [outbox.next() for _ in range(len(outbox))] == ["one", "two", "state 99", b"99"]
    assert len(outbox) == 0
    with pytest.raises(IndexError):
        outbox.next()

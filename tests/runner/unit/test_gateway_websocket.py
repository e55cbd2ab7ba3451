"""Who the client wants to talk to, from its first message, however its library cuts that into frames."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.gateway.http import Request
from runner.gateway.websocket import (
    MAX_SNIFF,
    Frames,
    HandshakeError,
    accept_key,
    close_frame,
    level_of,
    switching_protocols,
)
from runner.websocket import client_handshake

MASK = b"\x11\x22\x33\x44"

BROWSER = [
    {"id": 1, "method": "Browser.getVersion"},
    {"id": 1, "method": "Target.setAutoAttach", "params": {}},
    {"id": 1, "method": "SystemInfo.getInfo"},
    {"id": 1, "method": "Page.navigate", "params": {"url": "x"}, "sessionId": "S"},
    {"method": "Runtime.enable", "sessionId": "S", "id": 1},
]
PAGE = [
    {"id": 1, "method": "Page.navigate", "params": {"url": "https://example.org"}},
    {"id": 1, "method": "Runtime.evaluate", "params": {"expression": '"sessionId": "x"'}},
    {"id": 1, "method": "Runtime.evaluate", "params": {"expression": '{"method": "Target.x"}'}},
    {"id": 1, "params": {"sessionId": "inner"}, "method": "Page.enable"},
    {"id": 1, "method": "Targeted.thing"},
    {"id": 1},
]


def frame(payload: bytes, *, opcode: int = 1, final: bool = True, mask: bytes = MASK) -> bytes:
    """One frame as a client sends it (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 2**16:
        size = bytes([0x80 | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([opcode | (0x80 if final else 0)]) + size + mask + masked


def text(message: Any) -> bytes:
    return json.dumps(message).encode()


def handshake(**headers: str) -> Request:
    good = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    changed = good | {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/", {name: value for name, value in changed.items() if value})


@pytest.mark.parametrize("message", BROWSER)
def test_who_names_a_session_or_speaks_of_targets_means_the_browser(message: dict[str, Any]) -> None:
    assert level_of(frame(text(message))) == "browser"


@pytest.mark.parametrize("message", PAGE)
def test_who_just_sends_a_command_means_the_page(message: dict[str, Any]) -> None:
    assert level_of(frame(text(message))) == "page"


@pytest.mark.parametrize("message", [BROWSER[0], BROWSER[3], PAGE[0]])
def test_nothing_is_decided_before_the_message_is_whole(message: dict[str, Any]) -> None:
    data = frame(text(message))

    assert [level_of(data[:end]) for end in range(len(data))] == [None] * len(data)
    assert level_of(data) == level_of(data + b"\x81\x85more") is not None


@pytest.mark.parametrize(("message", "level"), [(BROWSER[3], "browser"), (PAGE[0], "page")])
def test_a_message_cut_into_two_fragments_anywhere_means_the_same(message: dict[str, Any], level: str) -> None:
    whole = text(message)

    for cut in range(len(whole) + 1):
        data = frame(whole[:cut], final=False) + frame(whole[cut:], opcode=0)
        assert level_of(data) == level, whole[:cut]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 80), max_size=6), st.sampled_from([*BROWSER[:4], *PAGE[:3]]), st.data())
def test_fragments_with_control_frames_between_them_mean_the_same(
    cuts: list[int], message: dict[str, Any], data: st.DataObject
) -> None:
    whole = text(message)
    edges = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    stream = b""
    for number, piece in enumerate(pieces):
        if data.draw(st.booleans()):
            stream += frame(b"ping", opcode=9)
        mask = data.draw(st.binary(min_size=4, max_size=4))
        stream += frame(piece, opcode=0 if number else 1, final=number == len(pieces) - 1, mask=mask)

    assert level_of(stream) == level_of(frame(whole))


@pytest.mark.parametrize("opcode", [9, 10])
def test_a_control_frame_first_changes_nothing(opcode: int) -> None:
    ping = frame(b"are you there", opcode=opcode)

    assert level_of(ping) is None
    assert level_of(ping + frame(text(BROWSER[0]))) == "browser"
    assert level_of(ping * 3 + frame(text(PAGE[0]))) == "page"


@pytest.mark.parametrize("length", [0, 1, 124, 125, 126, 127, 65_000, 65_535, 65_536, 70_000, 200_000])
@pytest.mark.parametrize(("method", "level"), [("Target.x", "browser"), ("Page.x", "page")])
def test_the_length_of_a_message_does_not_matter(length: int, method: str, level: str) -> None:
    message = text({"id": 1, "params": {"p": "x" * length}, "method": method})

    assert level_of(frame(message)) == level


@pytest.mark.parametrize(("message", "level"), [(BROWSER[0], "browser"), (BROWSER[4], "browser"), (PAGE[0], "page")])
def test_a_huge_message_is_judged_by_its_beginning(message: dict[str, Any], level: str) -> None:
    data = frame(text(message | {"params": {"p": "x" * (2 * MAX_SNIFF)}}))

    assert level_of(data[:1000]) is None
    assert level_of(data[: MAX_SNIFF + 1]) == level


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_bytes_are_incomplete_or_of_one_level(data: bytes) -> None:
    assert level_of(data) in (None, "browser", "page")


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"1", b"{", b"\xff\xfe", b"[" * 5000])
def test_nonsense_goes_to_the_page_which_answers_it(payload: bytes) -> None:
    assert level_of(frame(payload)) == "page"


def test_the_accept_key_is_the_one_of_the_rfc() -> None:
    assert accept_key(handshake()) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
    assert "Sec-WebSocket-Accept: KEY\r\n" in switching_protocols("KEY", "r").decode()


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade"])
def test_the_connection_header_may_say_more(connection: str) -> None:
    assert accept_key(handshake(connection=connection, upgrade="WebSocket"))


@pytest.mark.parametrize(
    "headers",
    [
        {"upgrade": ""},
        {"upgrade": "h2c"},
        {"connection": ""},
        {"connection": "close"},
        {"sec_websocket_version": ""},
        {"sec_websocket_version": "8"},
        {"sec_websocket_version": "13, 13"},
        {"sec_websocket_key": ""},
        {"sec_websocket_key": "short"},
        {"sec_websocket_key": "AAAA"},
        {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="},
        {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZ\xe9=="},
    ],
)
def test_another_handshake_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(HandshakeError):
        accept_key(handshake(**headers))


def test_only_get_upgrades() -> None:
    with pytest.raises(HandshakeError):
        accept_key(Request("POST", "/", handshake().headers))


def test_our_own_handshake_has_no_origin_and_a_key_of_its_own() -> None:
    one, two = client_handshake("/devtools/page/A", 9222), client_handshake("/devtools/page/A", 9222)

    assert one.startswith(b"GET /devtools/page/A HTTP/1.1\r\nHost: 127.0.0.1:9222\r\n")
    assert b"rigin" not in one
    assert one != two


def test_a_close_frame_fits_a_control_frame() -> None:
    made = close_frame(1011, "é" * 200)

    assert made[:2] == bytes([0x88, len(made) - 2])
    assert len(made) <= 127
    assert made[2:4] == (1011).to_bytes(2, "big")
    made[4:].decode()  # RFC 6455, 5.5.1: the reason is UTF-8


SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(SIZES), min_size=1, max_size=4), st.lists(st.integers(1, 9000), min_size=1, max_size=9))
def test_frames_are_followed_however_their_bytes_arrive(sizes: list[int], chunks: list[int]) -> None:
    stream = b"".join(frame(b"x" * size, mask=b"\0\0\0\0") for size in sizes)
    ends = set(itertools.accumulate(len(frame(b"x" * size)) for size in sizes)) | {0}
    frames, at = Frames(), 0

    for size in itertools.cycle(chunks):
        if at >= len(stream):
            break
        assert frames.between == (at in ends)
        frames.feed(stream[at : at + size])
        at += size

    assert frames.between
    assert frames.longest == max(sizes)


def test_a_frame_counts_before_its_payload_has_arrived() -> None:
    frames = Frames()

    frames.feed(frame(b"x" * 70_000)[:14])

    assert (frames.longest, frames.between) == (70_000, False)


def test_one_frame_is_followed_to_its_end() -> None:
    first, second = frame(b"x" * 300), frame(b"", opcode=8)
    frames = Frames()
    frames.feed(first[:100])

    assert frames.feed(first[100:] + second, one=True) == len(first) - 100
    assert frames.between
    assert frames.feed(second + second, one=True) == len(second)
    assert frames.opcode == 8

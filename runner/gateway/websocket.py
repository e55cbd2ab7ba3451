"""The gateway's part of WebSocket (RFC 6455): handshake, control frames, and the first message. No I/O."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Literal

from runner.gateway.http import Request
from runner.websocket import CLOSE, MAX_FRAME_HEAD, frame_head

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_METHOD = re.compile(rb'"method"\s*:\s*"([A-Za-z]+)\.')
_SESSION = re.compile(rb'"sessionId"\s*:\s*"')

# CDP domains that only a browser-level session has; the others need a page.
BROWSER_DOMAINS = frozenset({"Browser", "Target", "SystemInfo", "Tethering"})
MAX_SNIFF = 256 * 1024

Level = Literal["browser", "page"]


class HandshakeError(Exception):
    """Not a valid WebSocket handshake."""


def accept_key(request: Request) -> str:
    """The `Sec-WebSocket-Accept` header for a client's handshake. Raises HandshakeError."""
    headers = request.headers
    if request.method != "GET" or "websocket" not in headers.get("upgrade", "").lower():
        raise HandshakeError("this URL needs a WebSocket upgrade")
    if "upgrade" not in headers.get("connection", "").lower():
        raise HandshakeError("the Connection header must contain Upgrade")
    if headers.get("sec-websocket-version") != "13":
        raise HandshakeError("only WebSocket version 13 is supported")
    key = headers.get("sec-websocket-key", "")
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise HandshakeError("Sec-WebSocket-Key is not 16 bytes")
    except ValueError as error:  # binascii.Error, or a non-ASCII character
        raise HandshakeError("Sec-WebSocket-Key is not base64") from error
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def switching_protocols(accept: str, request_id: str) -> bytes:
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nX-Request-Id: {request_id}\r\n\r\n"
    ).encode()


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A control frame; `payload` is at most 125 bytes."""
    return bytes([0x80 | opcode, len(payload)]) + payload


def close_frame(code: int, reason: str) -> bytes:
    """A server's close frame. `reason` is cut to 123 bytes of UTF-8."""
    shortened = reason.encode()[:123].decode(errors="ignore")
    return server_frame(CLOSE, code.to_bytes(2, "big") + shortened.encode())


class Frames:
    """Follows the frames of one direction through a stream of bytes, by their heads.

    `longest` is the length of the longest payload so far; one counts from its head on, before it has arrived. `opcode`
    is that of the latest frame.
    """

    def __init__(self) -> None:
        self.longest = 0
        self.opcode = 0
        self._head = b""  # the start of a head that is not complete
        self._rest = 0  # bytes of the payload to come

    @property
    def between(self) -> bool:
        """Whether the stream is between two frames."""
        return not self._rest and not self._head

    def feed(self, data: bytes, *, one: bool = False) -> int:
        """Follow `data`, with `one` to the end of the current frame only. Returns where that is."""
        at = 0
        while at < len(data):
            if not self._rest:
                known = self._head + data[at : at + MAX_FRAME_HEAD]
                head = frame_head(known, 0)
                if head is None:
                    self._head = known
                    break
                at += head.start - len(self._head)
                self._head, self._rest, self.opcode = b"", head.length, head.opcode
                self.longest = max(self.longest, head.length)
            taken = min(self._rest, len(data) - at)
            self._rest -= taken
            at += taken
            if one and not self._rest:
                return at
        return len(data)


def leading_control(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The control frames (opcode, payload) at the start of `data`, and the bytes after them."""
    frames = []
    while (head := frame_head(data, 0)) is not None and head.opcode >= CLOSE:
        if len(data) < head.start + head.length:
            break
        end = head.start + head.length
        frames.append((head.opcode, _unmask(data[head.start : end], head.mask)))
        data = data[end:]
    return frames, data


def level_of(data: bytes) -> Level | None:
    """Whether the client's first message is for the browser or for a page. None when more bytes are needed.

    A message with a session id, or of a browser-level domain, is for the browser. Any other, such as `Page.navigate`,
    is for the page in the URL.
    """
    payload, whole = _first_message(data)
    if not whole:
        return None if len(data) < MAX_SNIFF else _guess(payload)
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return _guess(payload)  # not JSON; Chromium answers with an error
    if not isinstance(message, dict):
        return "page"
    domain = str(message.get("method", "")).partition(".")[0]
    return "browser" if "sessionId" in message or domain in BROWSER_DOMAINS else "page"


def _guess(payload: bytes) -> Level:
    match = _METHOD.search(payload)
    named = match is not None and match[1].decode() in BROWSER_DOMAINS
    return "browser" if named or _SESSION.search(payload) else "page"


def _first_message(data: bytes) -> tuple[bytes, bool]:
    """The unmasked payload of the first data message, as far as received, and whether it is complete."""
    payload = b""
    at = 0
    while (head := frame_head(data, at)) is not None:
        end = head.start + head.length
        if head.opcode < CLOSE:
            payload += _unmask(data[head.start : end], head.mask)
        if len(data) < end:
            break
        if head.opcode < CLOSE and head.final:
            return payload, True
        at = end
    return payload, False


def _unmask(payload: bytes, mask: bytes) -> bytes:
    if not mask or not payload:
        return payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")

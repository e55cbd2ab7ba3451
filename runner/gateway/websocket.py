"""What a gateway says in WebSocket (RFC 6455) and reads of it: nothing after the first message. No I/O here."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Literal

from runner.gateway.http import Request
from runner.websocket import CLOSE, frame_head

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_METHOD = re.compile(rb'"method"\s*:\s*"([A-Za-z]+)\.')
_SESSION = re.compile(rb'"sessionId"\s*:\s*"')

# Domains that only a browser-level DevTools session has; everything else is about one page.
BROWSER_DOMAINS = frozenset({"Browser", "Target", "SystemInfo", "Tethering"})
MAX_SNIFF = 256 * 1024

Level = Literal["browser", "page"]


class HandshakeError(Exception):
    """Not a WebSocket handshake that we can accept."""


def accept_key(request: Request) -> str:
    """The `Sec-WebSocket-Accept` for a client's handshake. Raises HandshakeError."""
    headers = request.headers
    if request.method != "GET" or "websocket" not in headers.get("upgrade", "").lower():
        raise HandshakeError("a WebSocket upgrade is needed here")
    if "upgrade" not in headers.get("connection", "").lower():
        raise HandshakeError("the Connection header does not say Upgrade")
    if headers.get("sec-websocket-version") != "13":
        raise HandshakeError("only WebSocket version 13 is spoken here")
    key = headers.get("sec-websocket-key", "")
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise HandshakeError("Sec-WebSocket-Key is not 16 bytes")
    except ValueError as error:  # binascii's, or a letter beyond ASCII
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
    """A server's close frame; of `reason` it holds what fits into 123 bytes of UTF-8."""
    shortened = reason.encode()[:123].decode(errors="ignore")
    return server_frame(CLOSE, code.to_bytes(2, "big") + shortened.encode())


def leading_control(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The control frames (opcode and payload) that `data` begins with, and what follows them."""
    frames = []
    while (head := frame_head(data, 0)) is not None and head.opcode >= CLOSE:
        if len(data) < head.start + head.length:
            break
        end = head.start + head.length
        frames.append((head.opcode, _unmask(data[head.start : end], head.mask)))
        data = data[end:]
    return frames, data


def level_of(data: bytes) -> Level | None:
    """Whom the client wants to talk to, by its first message; None when more bytes are needed to tell.

    A client that names a session, or speaks of browsers and targets, needs the browser; one that just sends
    `Page.navigate` means the page whose address it was given.
    """
    payload, whole = _first_message(data)
    if not whole:
        return None if len(data) < MAX_SNIFF else _guess(payload)
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return _guess(payload)  # nonsense that Chromium will answer
    if not isinstance(message, dict):
        return "page"
    domain = str(message.get("method", "")).partition(".")[0]
    return "browser" if "sessionId" in message or domain in BROWSER_DOMAINS else "page"


def _guess(payload: bytes) -> Level:
    match = _METHOD.search(payload)
    named = match is not None and match[1].decode() in BROWSER_DOMAINS
    return "browser" if named or _SESSION.search(payload) else "page"


def _first_message(data: bytes) -> tuple[bytes, bool]:
    """The unmasked payload of the first data message as far as it is here, and whether that is all of it."""
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

"""As much WebSocket (RFC 6455) as a gateway needs that never touches a frame after the first. No I/O here."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from typing import Literal, NamedTuple

from runner.gateway.http import Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_METHOD = re.compile(rb'"method"\s*:\s*"([A-Za-z]+)\.')
_SESSION = re.compile(rb'"sessionId"\s*:\s*"')

# Domains that only a browser-level DevTools session has; everything else is about one page.
BROWSER_DOMAINS = frozenset({"Browser", "Target", "SystemInfo", "Tethering"})
MAX_SNIFF = 256 * 1024

# Opcodes from CLOSE up are control frames (RFC 6455, 5.5).
CLOSE, PING, PONG = 8, 9, 10

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


def client_handshake(path: str, port: int) -> bytes:
    """Our own handshake with Chromium. No Origin header: Chromium would refuse most of them."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
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
    while (head := _frame_head(data, 0)) is not None and head.opcode >= CLOSE:
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
    while (head := _frame_head(data, at)) is not None:
        end = head.start + head.length
        if head.opcode < CLOSE:
            payload += _unmask(data[head.start : end], head.mask)
        if len(data) < end:
            break
        if head.opcode < CLOSE and head.final:
            return payload, True
        at = end
    return payload, False


class _Head(NamedTuple):
    """A frame's head; `start` is where its payload begins."""

    final: bool
    opcode: int
    start: int
    length: int
    mask: bytes


def _frame_head(data: bytes, at: int) -> _Head | None:
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    masked, length = second & 0x80, second & 0x7F
    at += 2
    extra = {126: 2, 127: 8}.get(length, 0)
    if len(data) < at + extra + (4 if masked else 0):
        return None
    if extra:
        length = int.from_bytes(data[at : at + extra], "big")
        at += extra
    mask = data[at : at + 4] if masked else b""
    return _Head(bool(first & 0x80), first & 0x0F, at + len(mask), length, mask)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    if not mask or not payload:
        return payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")

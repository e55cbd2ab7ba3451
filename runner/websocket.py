"""WebSocket (RFC 6455) between the runner and Chromium, and the parser of frame heads. No I/O."""

from __future__ import annotations

import base64
import os
from typing import NamedTuple

TEXT = 1
# Opcodes from CLOSE up are control frames (RFC 6455, 5.5).
CLOSE, PING, PONG = 8, 9, 10
MAX_FRAME_HEAD = 14  # bytes

Bytes = bytes | bytearray


def client_handshake(path: str, port: int) -> bytes:
    """The client's handshake with Chromium. It has no Origin header: Chromium refuses most origins."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A message in one frame. Its mask is zero, so the payload needs no XOR: masking protects proxies between client
    and server (RFC 6455, 10.3), and there are none between the runner and Chromium.
    """
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 2**16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


class FrameHead(NamedTuple):
    """A frame's head; `start` is the offset of its payload."""

    final: bool
    opcode: int
    start: int
    length: int
    mask: bytes


def frame_head(data: Bytes, at: int) -> FrameHead | None:
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
    mask = bytes(data[at : at + 4]) if masked else b""
    return FrameHead(bool(first & 0x80), first & 0x0F, at + len(mask), length, mask)


class Messages:
    """Assembles the messages of a server (unmasked frames) from chunks of any size."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted_bytes = 0  # the length of `_rest` that completes the next frame
        self._partial: tuple[int, bytearray] | None = None  # opcode and payload of an unfinished message

    def feed(self, data: bytes) -> list[tuple[int, Bytes]]:
        """Opcode and payload of each message and control frame that `data` completes."""
        source: Bytes = data
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted_bytes:
                return []
            source = self._rest
        found: list[tuple[int, Bytes]] = []
        at = self._wanted_bytes = 0
        while (head := frame_head(source, at)) is not None:
            end = head.start + head.length
            if len(source) < end:
                self._wanted_bytes = end - at
                break
            payload = source[head.start : end]
            at = end
            if head.opcode >= CLOSE or (head.final and self._partial is None):
                found.append((head.opcode, payload))
                continue
            if self._partial is None:
                self._partial = head.opcode, bytearray()
            self._partial[1].extend(payload)
            if head.final:
                found.append(self._partial)
                self._partial = None
        self._rest = bytearray(source[at:])
        return found

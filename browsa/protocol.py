"""Uvicorn's HTTP protocol with the API's error envelope for invalid requests, and with a limit on the request head.

Uvicorn answers an invalid request in plain text and without a request id, and its parser collects an endless header in
memory before the client has authenticated.
"""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apps.core import errors, tracing

MAX_HEAD_BYTES = 64 * 1024


class HeadTooLarge(Exception):
    """The request line and the headers together are over the limit."""


class Protocol(HttpToolsProtocol):
    """`uvicorn --http browsa.protocol:Protocol`."""

    _head_bytes = 0  # of the current head, as reported by the parser
    _pending_bytes = 0  # received since the parser last finished a head or a message
    _in_body = False
    _message_ended = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_body = self._message_ended = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body, self._message_ended = False, True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._message_ended = False
        super().data_received(data)
        self._pending_bytes = 0 if self._in_body or self._message_ended else self._pending_bytes + len(data)
        if self._pending_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request head is too large.")

    def send_400_response(self, msg: str) -> None:
        error = errors.BadRequest("The request is not valid HTTP, or its head is larger than 64 KiB.")
        request_id = tracing.choose_request_id(None)
        body = json.dumps(errors.envelope(error, request_id=request_id)).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            f"X-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge  # the parser stops, and the client gets its 400

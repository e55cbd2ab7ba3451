"""The gateway's subset of HTTP/1.1: parse one request head, build one short response. No I/O."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD = 16 * 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[\x21-\x7e]+")  # a bare CR or LF would start a second request to Chromium
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")  # RFC 9110, 5.5: no bare CR, LF or NUL (request smuggling)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class IncompleteHead(Exception):
    """The request head is not complete yet."""


class BadHead(Exception):
    """Not a valid HTTP/1.1 request head, or one that is too long."""


@dataclass(frozen=True, slots=True)
class Request:
    """`headers` have lower-case names; a repeated header's values are joined by a comma (RFC 9110, 5.3)."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def request_id(self) -> str:
        """The client's `X-Request-Id` when it is valid, otherwise a new id."""
        given = self.headers.get("x-request-id", "")
        return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def parse_head(data: bytes) -> tuple[Request, int]:
    """The request at the start of `data`, and where its head ends. Raises IncompleteHead or BadHead."""
    end = data.find(b"\r\n\r\n")
    if (end if end >= 0 else len(data)) > MAX_HEAD:
        raise BadHead("the request head is too long")
    if end < 0:
        raise IncompleteHead
    lines = data[:end].decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    well_formed = len(parts) == 3 and _TOKEN.fullmatch(parts[0]) and _TARGET.fullmatch(parts[1])
    if not well_formed or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadHead("malformed request line")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadHead("malformed header")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(parts[0], parts[1], headers), end + 4


def response(
    status: int,
    body: bytes,
    *,
    request_id: str,
    content_type: str = "application/json; charset=utf-8",
    headers: dict[str, str] | None = None,
    to_head: bool = False,
) -> bytes:
    """A complete response with `Connection: close`. The answer `to_head` has no body (RFC 9110, 9.3.2)."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
        "Cache-Control: no-store",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if to_head else body)


def error_response(
    status: int,
    code: str,
    message: str,
    *,
    request_id: str,
    headers: dict[str, str] | None = None,
    to_head: bool = False,
) -> bytes:
    """An error response, with the error object that the API uses too."""
    body = json.dumps({"error": message, "code": code, "request_id": request_id}).encode()
    return response(status, body, request_id=request_id, headers=headers, to_head=to_head)

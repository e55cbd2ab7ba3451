"""What the real HTTP server says to invalid and unusual requests, byte for byte on the socket."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest

from stack.harness import Stack
from tests.integration.driving import Member, answers
from tests.patience import PATIENCE

pytestmark = pytest.mark.integration

MIB = 2**20
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JSON = {"Content-Type": "application/json"}


class Reply:
    """One answer off the wire, read as HTTP/1.1 says."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content = response.read()

    def says(self, status: int, code: str) -> dict[str, Any]:
        """It is an error of the contract, in the envelope, with the same request id in both places."""
        assert (self.status, self.headers["Content-Type"]) == (status, "application/json"), self.content[:300]
        body: dict[str, Any] = json.loads(self.content)
        assert body["code"] == code, body
        assert body.keys() - {"fields"} == {"error", "code", "request_id"}
        assert isinstance(body["error"], str) and body["error"]
        assert body["request_id"] == self.headers["X-Request-Id"] != ""
        return body


class _Stream:
    """What HTTPResponse takes for a socket. It closes its file after each answer; the next still needs it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def makefile(self, mode: str) -> _Stream:
        return self

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def readline(self, size: int = -1) -> bytes:
        return self._stream.readline(size)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class Wire:
    def __init__(self, stack: Stack, key: str) -> None:
        self._stack = stack
        self.key = key

    def send(self, raw: bytes, count: int = 1, method: str = "GET") -> list[Reply]:
        """Sends `raw` as it is, and reads `count` answers."""
        with socket.create_connection(("127.0.0.1", self._stack.port), timeout=PATIENCE) as sock:
            sock.sendall(raw)
            # One buffered file for all answers: what it has read ahead belongs to the next.
            with sock.makefile("rb") as stream:
                return [self._read(stream, method) for _ in range(count)]

    @staticmethod
    def _read(stream: BinaryIO, method: str) -> Reply:
        response = http.client.HTTPResponse(_Stream(stream), method=method)  # type: ignore[arg-type]
        response.begin()
        return Reply(response)

    def head(self, method: str, path: str, version: str = "1.1", **headers: str) -> bytes:
        fields = {"Host": "127.0.0.1", "X-API-Key": self.key, **{n.replace("_", "-"): v for n, v in headers.items()}}
        lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        if body:
            headers = {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}
        (reply,) = self.send(self.head(method, path, **headers) + body, method=method)
        return reply


@pytest.fixture(scope="module")
def member(_members: Iterator[Member]) -> Member:
    return next(_members)


@pytest.fixture
def wire(stack: Stack, member: Member) -> Wire:
    return Wire(stack, member.key)


@pytest.fixture(autouse=True)
def _the_api_is_well_afterwards(stack: Stack, member: Member) -> Any:
    yield
    assert answers(stack)
    assert member.get("/v1/agents").json()["agents"] == []
    assert member.credits() == (100, 0)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/v1/nothing", 404, "NOT_FOUND"),
        ("POST", "/v1/agents/", 404, "NOT_FOUND"),
        ("GET", "/v2/%ff%fe/%00", 404, "NOT_FOUND"),
        ("GET", "//v1/agents", 404, "NOT_FOUND"),
        ("OPTIONS", "*", 404, "NOT_FOUND"),
        ("GET", "/v1/agents/agt_zz", 400, "INVALID_ID"),
        ("GET", "/v1/agents/%00", 400, "INVALID_ID"),
        ("DELETE", "/v1/agents/%ff%fe", 400, "INVALID_ID"),
        ("GET", "/v1/agents/agt_00112233445566778899", 404, "NOT_FOUND"),
        ("DELETE", "/v1/agents/agt_00112233445566778899", 404, "NOT_FOUND"),
        ("GET", "/v1/agents/agt_00112233445566778899/cdp", 404, "NOT_FOUND"),
        ("GET", "/v1/agents?limit=0", 400, "BAD_REQUEST"),
        ("GET", "/v1/agents?limit=201", 400, "BAD_REQUEST"),
        ("GET", "/v1/agents?limit=%00", 400, "BAD_REQUEST"),
        ("GET", "/v1/agents?mode=%ff", 400, "BAD_REQUEST"),
        ("GET", "/v1/agents?cursor=WzFd", 400, "BAD_REQUEST"),
        ("GET", "/v1/credits/ledger?cursor=%00", 400, "BAD_REQUEST"),
    ],
)
def test_paths_and_queries(wire: Wire, method: str, path: str, status: int, code: str) -> None:
    wire.ask(method, path).says(status, code)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/agents", {"GET", "POST", "HEAD"}),
        ("OPTIONS", "/v1/agents", {"GET", "POST", "HEAD"}),
        ("TRACE", "/v1/agents", {"GET", "POST", "HEAD"}),
        ("PURGE", "/v1/agents", {"GET", "POST", "HEAD"}),
        ("POST", "/v1/credits", {"GET", "HEAD"}),
        ("PATCH", "/v1/agents/agt_00112233445566778899", {"GET", "DELETE", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(wire: Wire, method: str, path: str, allowed: set[str]) -> None:
    reply = wire.ask(method, path)

    reply.says(405, "METHOD_NOT_ALLOWED")
    assert set(reply.headers["Allow"].split(", ")) == allowed


def test_keys(wire: Wire) -> None:
    (anonymous,) = wire.send(b"GET /v1/agents HTTP/1.1\r\nHost: x\r\n\r\n")
    anonymous.says(401, "UNAUTHORIZED")
    assert anonymous.headers["WWW-Authenticate"].startswith("Bearer")
    for wrong in ("agt_live_" + "0" * 32, "x", "agt_live_\xff\xfe", wire.key.upper(), wire.key[:-1], wire.key + "0"):
        wire.ask("GET", "/v1/agents", X_API_Key=wrong).says(401, "INVALID_API_KEY")
    (bearer,) = wire.send(f"GET /v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {wire.key}\r\n\r\n".encode())
    assert bearer.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}{}",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b'{"country": NaN}',
        b'{"ttl_seconds": 1e999}',
        b'{"country": "\\u0000"}',
        b'{"country": "\x00"}',
        b'{"country": "\\ud800"}',
        b'{"country": "\xff\xfe"}',
        b"\xef\xbb\xbf{}",
        b'{"ttl": "5m", "ttl": "1s"}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 500_000,
        b'{"ttl_seconds": ' + b"9" * 100_000 + b"}",
        b'{"persona": "' + b"a" * (MIB - 15) + b'"}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_bodies_that_are_no_request(wire: Wire, body: bytes) -> None:
    assert len(body) <= MIB
    wire.ask("POST", "/v1/agents", body).says(400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "\xff;;=", ""]
)
def test_other_media_types(wire: Wire, kind: str) -> None:
    wire.ask("POST", "/v1/agents", b"{}", Content_Type=kind).says(415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_body_over_one_mebibyte(wire: Wire) -> None:
    wire.ask("POST", "/v1/agents", b" " * (MIB + 1)).says(413, "PAYLOAD_TOO_LARGE")

    chunks = b"".join(b"%x\r\n%s\r\n" % (65_536, b" " * 65_536) for _ in range(17)) + b"0\r\n\r\n"
    head = wire.head("POST", "/v1/agents", Content_Type="application/json", Transfer_Encoding="chunked")
    (chunked,) = wire.send(head + chunks)
    chunked.says(413, "PAYLOAD_TOO_LARGE")

    # A client that waits for leave to send is told at once.
    head = wire.head(
        "POST",
        "/v1/agents",
        Content_Length=str(10 * MIB),
        Expect="100-continue",
        **{"Content_Type": "application/json"},
    )
    (refused,) = wire.send(head)
    refused.says(413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01nonsense\r\n\r\n",
        b"BREW /v1/agents HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/agents/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/agents/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n{}",
        b"POST /v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}",
        b"POST /v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        b"POST /v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/agents HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000,  # and no end
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_what_is_no_http_gets_the_envelope_too(wire: Wire, raw: bytes) -> None:
    (reply,) = wire.send(raw)

    reply.says(400, "BAD_REQUEST")
    assert UUID.fullmatch(reply.headers["X-Request-Id"])
    assert reply.headers["Connection"] == "close"


def test_request_ids_are_echoed_when_valid(wire: Wire) -> None:
    for valid in ("a", "req_01HQ8Z.x-Y", "f" * 128):
        assert wire.ask("GET", "/v1/nothing", X_Request_Id=valid).says(404, "NOT_FOUND")["request_id"] == valid
        assert wire.ask("GET", "/v1/credits", X_Request_Id=valid).headers["X-Request-Id"] == valid
    for other in ("a b", "\xe4", "f" * 129, "<script>", ""):
        assert UUID.fullmatch(wire.ask("GET", "/healthz", X_Request_Id=other).headers["X-Request-Id"])


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    paths = ["/v1/credits", "/v1/nothing", "/healthz", "/v1/agents"] * 5
    raw = b"".join(wire.head("GET", path, X_Request_Id=str(number)) for number, path in enumerate(paths))

    replies = wire.send(raw, count=len(paths))

    assert [reply.headers["X-Request-Id"] for reply in replies] == [str(number) for number in range(len(paths))]
    assert [reply.status for reply in replies] == [200, 404, 200, 200] * 5


def test_http_1_0_is_answered_and_hung_up_on(wire: Wire) -> None:
    (fine,) = wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    (refused,) = wire.send(b"GET /v1/agents HTTP/1.0\r\n\r\n")

    assert (fine.status, json.loads(fine.content), fine.headers["Connection"]) == (200, {"status": "ok"}, "close")
    refused.says(401, "UNAUTHORIZED")


def test_an_upgrade_is_politely_not_made(wire: Wire) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    reply = wire.ask("GET", "/v1/credits", Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==", **upgrade)

    assert reply.status == 200


def test_head_answers_without_a_body(wire: Wire) -> None:
    reply = wire.ask("HEAD", "/v1/credits")

    assert (reply.status, reply.content) == (200, b"")
    assert int(reply.headers["Content-Length"]) > 0


def test_a_connection_outlives_what_clients_keep_idle(stack: Stack, wire: Wire) -> None:
    """Were the server to close it first, a client's next request could be on its way already, and be lost."""
    usual = 5  # seconds, of httpx and requests' like
    with socket.create_connection(("127.0.0.1", stack.port), timeout=PATIENCE) as sock, sock.makefile("rb") as stream:
        for last in (False, True):
            sock.sendall(wire.head("GET", "/healthz"))
            assert wire._read(stream, "GET").status == 200
            assert last or select.select([sock], [], [], usual + 2)[0] == []  # else it was closed

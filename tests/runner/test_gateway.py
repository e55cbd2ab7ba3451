"""The gateway's door: who is let in, who is cut off, and what passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from runner.websocket import CLOSE, TEXT, Messages, client_frame, client_handshake
from tests.patience import PATIENCE
from tests.runner.client import Cdp
from tests.runner.endurance import carry
from tests.runner.harness import POOL_SIZE, Lease, RunnerProcess, plain_http, status_of, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
TOO_LONG = b"\x81\xff" + (101 * 2**20).to_bytes(8, "big") + b"mask"  # the head of a frame
DEAD = "/api/v1/cdp/r1-" + "0" * 48


async def ask(runner: RunnerProcess, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with plain_http() as http:
        return await http.request(method, f"http://127.0.0.1:{runner.port}{path}", headers=names)


async def raw(runner: RunnerProcess, data: bytes) -> bytes:
    """Everything that the gateway answers to `data` until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


def is_envelope(answer: httpx.Response, code: str) -> bool:
    body = answer.json()
    return (
        set(body) == {"error", "code", "request_id"}
        and body["code"] == code
        and body["request_id"] == answer.headers["x-request-id"]
    )


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://trusted.example.evil", "file://"])
@pytest.mark.parametrize("live", [True, False])
async def test_a_web_page_is_refused_before_the_upgrade(
    runner: RunnerProcess, shared: Lease, origin: str, live: bool
) -> None:
    path = shared.cdp_path if live else f"{DEAD}/ws/page/A"

    answer = await ask(runner, path, **UPGRADE, Origin=origin)

    assert answer.status_code == 403
    assert is_envelope(answer, "FORBIDDEN")


async def test_a_web_page_may_not_read_the_http_endpoints_either(runner: RunnerProcess, shared: Lease) -> None:
    path = shared.cdp_path.partition("/ws/")[0] + "/json/version"

    assert (await ask(runner, path, Origin="http://evil.example")).status_code == 403


async def test_an_origin_that_the_operator_trusts_is_let_in(shared: Lease) -> None:
    async with Cdp(shared.cdp_url, origin="http://trusted.example") as cdp:
        assert await cdp.run("1 + 1") == 2


async def test_two_origins_are_not_one_that_is_trusted(runner: RunnerProcess, shared: Lease) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    origins = "Origin: http://trusted.example\r\nOrigin: http://evil.example\r\n"

    answer = await raw(runner, f"GET {shared.cdp_path} HTTP/1.1\r\n{head}{origins}\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "path", ["/", "/json/version", f"{DEAD}/ws/page/A", f"{DEAD}/json/version", "/api/v1/cdp/x", "/devtools/browser/x"]
)
async def test_an_unknown_address_is_404_before_the_upgrade(runner: RunnerProcess, path: str) -> None:
    answer = await ask(runner, path, **UPGRADE)

    assert answer.status_code == 404
    assert is_envelope(answer, "NOT_FOUND")


async def test_an_address_dies_with_its_lease(runner: RunnerProcess) -> None:
    async with runner.lease() as lease:
        assert (await ask(runner, lease.cdp_path)).status_code == 426
    assert (await ask(runner, lease.cdp_path, **UPGRADE)).status_code == 404
    with pytest.raises(websockets.InvalidStatus, match="404"):
        await connect(lease.cdp_url, proxy=None, open_timeout=PATIENCE)


async def test_clients_are_cut_off_when_the_lease_ends_whether_they_spoke_or_not(runner: RunnerProcess) -> None:
    lease = await runner.grant()
    async with Cdp(lease.cdp_url) as speaking, Cdp(lease.cdp_url) as silent:
        await speaking.run("1")
        await lease.release()

        await asyncio.wait_for(asyncio.gather(speaking.socket.wait_closed(), silent.socket.wait_closed()), PATIENCE)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Upgrade": ""}, 426),
        ({"Connection": "close"}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 426),
    ],
)
async def test_a_bad_handshake_is_told_what_is_spoken_here(
    runner: RunnerProcess, shared: Lease, change: dict[str, str], status: int
) -> None:
    answer = await ask(runner, shared.cdp_path, **{**UPGRADE, **change})

    assert answer.status_code == status
    assert answer.headers["sec-websocket-version"] == "13"
    assert is_envelope(answer, "BAD_REQUEST")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000,
        b"\0" * 20_000,
    ],
)
async def test_what_is_no_request_is_400_and_hung_up_on(runner: RunnerProcess, data: bytes) -> None:
    answer = await raw(runner, data)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "BAD_REQUEST"


async def test_a_wrong_method_is_told_the_right_one(runner: RunnerProcess, shared: Lease) -> None:
    path = shared.cdp_path.partition("/ws/")[0] + "/json/version"

    answer = await ask(runner, path, "DELETE")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert is_envelope(answer, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "HEAD"])
async def test_a_websocket_address_takes_get_only(runner: RunnerProcess, shared: Lease, method: str) -> None:
    answer = await ask(runner, shared.cdp_path, method, **UPGRADE)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.content == b"" if method == "HEAD" else is_envelope(answer, "METHOD_NOT_ALLOWED")


async def test_head_is_answered_like_get_without_the_body(runner: RunnerProcess, shared: Lease) -> None:
    path = shared.cdp_path.partition("/ws/")[0] + "/json/version"

    plain, head = await ask(runner, path), await ask(runner, path, "HEAD")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == plain.headers["content-length"] == str(len(plain.content))


@pytest.mark.parametrize(
    ("path", "method"),
    [("/json/unknown", "GET"), ("/json/close/", "PUT"), ("/json/close/NOSUCHPAGE", "PUT"), ("/json/activate/X", "GET")],
)
async def test_what_chromium_does_not_find_is_404_in_our_words(
    runner: RunnerProcess, shared: Lease, path: str, method: str
) -> None:
    answer = await ask(runner, shared.cdp_path.partition("/ws/")[0] + path, method)

    assert answer.status_code == 404
    assert is_envelope(answer, "NOT_FOUND")


async def test_a_clients_request_id_is_echoed(runner: RunnerProcess) -> None:
    answer = await ask(runner, "/nowhere", X_Request_Id="my-own-id")

    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "my-own-id"


async def test_a_client_that_never_finishes_a_request_is_cut_off(runner: RunnerProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.port)

    async def drip() -> None:
        for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.2)

    dripping = asyncio.create_task(drip())
    with contextlib.suppress(ConnectionResetError):  # a byte may have come after the last read
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    assert not dripping.done()
    dripping.cancel()
    writer.close()


async def test_ten_megabytes_pass_in_both_directions(shared: Lease) -> None:
    await carry(shared, 10_000_000)  # a hundred: tests/faults


async def test_a_frame_that_chromium_would_not_take_is_refused_with_a_reason(shared: Lease) -> None:
    async with Cdp(shared.cdp_url) as cdp:
        assert await cdp.run("1") == 1
        cdp.socket.transport.write(TOO_LONG)
        await asyncio.wait_for(cdp.socket.wait_closed(), PATIENCE)

        assert (cdp.socket.close_code, cdp.socket.close_reason) == (
            1009,
            "a frame may have at most 104857586 bytes",
        )


async def test_an_answer_on_its_way_is_finished_before_the_refusal(runner: RunnerProcess, shared: Lease) -> None:
    wanted = {"id": 1, "method": "Runtime.evaluate", "params": {"expression": "'y'.repeat(2e7)", "returnByValue": True}}
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.port)
    writer.write(client_handshake(shared.cdp_path, runner.port))
    await reader.readuntil(b"\r\n\r\n")

    writer.write(client_frame(TEXT, json.dumps(wanted).encode()))
    begun = await asyncio.wait_for(reader.readexactly(100), PATIENCE)
    writer.write(TOO_LONG + b"more of it")
    received = begun + await asyncio.wait_for(read_to_the_end(reader), PATIENCE)
    writer.close()

    answer, farewell = Messages().feed(received)
    assert len(json.loads(answer[1])["result"]["result"]["value"]) == 20_000_000
    assert (farewell[0], farewell[1][:2]) == (CLOSE, (1009).to_bytes(2, "big"))


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """All bytes up to the reason. The gateway hangs up only after our own close frame."""
    received = bytearray()
    while not received.endswith(b"bytes") and (more := await reader.read(2**20)):
        received += more
    return bytes(received)


async def test_a_page_that_is_not_there_closes_the_connection_with_a_reason(shared: Lease) -> None:
    url = shared.cdp_url.rpartition("/")[0] + "/NOSUCHPAGE"
    async with Cdp(url) as cdp:
        with pytest.raises((websockets.ConnectionClosed, Exception), match="closed"):
            await cdp.call("Page.enable")
        await asyncio.wait_for(cdp.socket.wait_closed(), PATIENCE)

        assert cdp.socket.close_code == 1011
        assert "page" in (cdp.socket.close_reason or "")


async def test_a_client_that_waits_before_its_first_command_is_kept_alive(shared: Lease) -> None:
    async with Cdp(shared.cdp_url, ping_interval=0.05, ping_timeout=PATIENCE) as cdp:
        for _ in range(3):
            await asyncio.wait_for(await cdp.socket.ping(), PATIENCE)

        assert await cdp.run("1") == 1


async def test_a_client_that_leaves_without_a_word_is_said_goodbye_to(shared: Lease) -> None:
    async with Cdp(shared.cdp_url, close_timeout=PATIENCE) as cdp:
        await cdp.socket.close()

        assert cdp.socket.close_code == 1000


async def test_a_client_that_stops_reading_delays_no_other_client(runner: RunnerProcess, lease: Lease) -> None:
    async with Cdp(lease.cdp_url) as deaf, Cdp(lease.cdp_url) as other:
        await deaf.run("1")
        deaf.socket.transport.pause_reading()
        for number in range(5):
            command = {"expression": f"'z'.repeat({16 * 2**20})", "returnByValue": True}
            await deaf.socket.send(json.dumps({"id": 1000 + number, "method": "Runtime.evaluate", "params": command}))

        for _ in range(5):
            assert await other.run("'here'") == "here"
        deaf.socket.transport.abort()

    memory = int(status_of(runner.pid)["VmRSS"].split()[0])
    assert memory < 400 * 1024  # kB: what the deaf client did not read was not kept for it


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss (iproute2) shows a connection's timers")
async def test_the_kernel_watches_over_every_connection(runner: RunnerProcess, shared: Lease) -> None:
    """A peer that vanishes without a FIN is found by keep-alive; `ss` shows the timer that does it."""

    async def watched(client: int) -> bool:
        process = await asyncio.create_subprocess_exec(
            "ss", "-tnoH", f"( sport = :{runner.port} and dport = :{client} )", stdout=asyncio.subprocess.PIPE
        )
        return b"timer:(keepalive" in (await process.communicate())[0]

    async with Cdp(shared.cdp_url) as cdp:
        await cdp.run("1")
        # Until all is acknowledged another timer shows.
        await until(lambda: watched(cdp.socket.local_address[1]), what="the keep-alive timer")


async def test_many_connections_at_once_and_their_end_leave_no_descriptor(runner: RunnerProcess, shared: Lease) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{runner.pid}/fd"))

    async with Cdp(shared.cdp_url) as cdp:
        await cdp.run("1")
    await runner.at_rest(warm=POOL_SIZE)  # what other tests took is made again, and opens files
    before = descriptors()

    async def visit() -> None:
        async with Cdp(shared.cdp_url) as cdp:
            await cdp.run("1")

    for _ in range(3):
        await asyncio.gather(*(visit() for _ in range(12)))
    for _ in range(20):
        socket.create_connection(("127.0.0.1", runner.port)).close()

    # Sockets kept ready for the next dial are made in batches of eight.
    await until(lambda: descriptors() <= before + 8, what="the end of every connection")

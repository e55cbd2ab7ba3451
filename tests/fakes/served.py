"""The API on a real socket: uvicorn in a thread of the test process, as it runs in production."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import httpx
import uvicorn

from tests.cast import Member, Reply
from tests.patience import PATIENCE


class ServedApi:
    """`with ServedApi() as api:` serves until the block ends."""

    def __enter__(self) -> ServedApi:
        from browsa.protocol import Protocol
        from browsa.serving import Application

        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        # A connection that has been idle is left by the client: a server that does it may do so as a request is sent.
        idle = int(PATIENCE)
        config = uvicorn.Config(Application(), http=Protocol, lifespan="on", log_config=None, timeout_keep_alive=idle)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="served-api")
        self._thread.start()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        from apps.agents import page_client

        await self._server.serve([self._socket])
        await page_client.close()

    def ask(
        self, member: Member, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
    ) -> Reply:
        content = b"" if body is None else json.dumps(body).encode()
        sent = {"X-API-Key": member.secret, "Content-Type": "application/json", **(headers or {})}
        answer = self._http.request(method, path, content=content, headers=sent)
        return Reply(answer.status_code, {k.title(): v for k, v in answer.headers.items()}, answer.content)

    def post(self, member: Member, path: str, body: Any = None, **headers: str) -> Reply:
        return self.ask(member, "POST", path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def get(self, member: Member, path: str) -> Reply:
        return self.ask(member, "GET", path)

    def open(self, member: Member, path: str, body: Any, **headers: str) -> socket.socket:
        """Sends a POST and reads no answer: the caller closes the socket when it has had enough."""
        content = json.dumps(body).encode()
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: test\r\nX-API-Key: {member.secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n{more}\r\n"
        )
        client = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(head.encode() + content)
        return client

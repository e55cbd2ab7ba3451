"""The reference pages of the detection harness. Only a browser of a harness lease is served.

Each page reads one group of values, and what this server saw of the browser (`/seen`). The API judges them.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runner.egress.own_hosts import FRAME_HOST, PAGE_HOST
from runner.identity import http2_hello
from runner.identity.http2_hello import Http2Hello, NotHttp2
from runner.identity.measuring_site import FOLDER, REALM_SCRIPT, SCRIPT, MeasuringSite, page_of

log = logging.getLogger("browsa.runner.harness")

PAGES = ("automation", "coherence", "place", "drawing", "network")
PAGE = page_of(SCRIPT + (FOLDER / "harness.js").read_text())
# In a frame of another site, and in a popup.
REALM_PAGE = page_of(f"{REALM_SCRIPT} realm().then(realm => (opener ?? parent).postMessage({{ realm }}, '*'));")
SHARED_WORKER = f"{REALM_SCRIPT} onconnect = event => realm().then(found => event.ports[0].postMessage(found));"
SERVICE_WORKER = f"{REALM_SCRIPT} onmessage = event => realm().then(found => event.ports[0].postMessage(found));"


# HTTP/2 over TLS. The client of a harness lease tells its browser to accept any certificate.
HTTP2_PORT = 8443
CERTIFICATE_LIFE = timedelta(days=365)


class HarnessSite(MeasuringSite):
    """Remembers the header fields of the last request for each path."""

    def __init__(self) -> None:
        super().__init__()
        self.http2: Http2Hello | None = None  # of the first connection
        self._requests: dict[str, list[tuple[str, str]]] = {}

    async def _accept(self, sock: socket.socket, port: int) -> None:
        if port != HTTP2_PORT:
            await super()._accept(sock, port)
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: Http2Reader(self), sock, ssl=_tls())
        except OSError as error:  # also of the handshake: the certificate was refused
            log.info("a browser of the harness began no TLS: %s", error)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        fields = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        host = f"{FRAME_HOST}:" if request.headers.get("Host") == FRAME_HOST else ""
        if path == "/seen":
            return web.json_response(self._seen())
        self._requests[f"{host}{path}"] = fields
        if path.removeprefix("/") in PAGES:
            return _text(PAGE, "text/html")
        if path == "/realm":
            return _text(REALM_PAGE, "text/html")
        if path in ("/shared.js", "/service.js"):
            return _text(SHARED_WORKER if path == "/shared.js" else SERVICE_WORKER, "text/javascript")
        return web.Response(status=404)

    def _seen(self) -> dict[str, Any]:
        return {
            "requests": self._requests,
            "tls": self.hello.as_document() if self.hello is not None else None,
            "http2": self.http2.as_document() if self.http2 is not None else None,
        }


class Http2Reader(asyncio.Protocol):
    """Reads the beginning of an HTTP/2 connection and answers its first request."""

    def __init__(self, site: HarnessSite) -> None:
        self._site = site
        self._data = b""
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(http2_hello.ANSWER_SETTINGS)

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        self._data += data
        try:
            hello = http2_hello.parse(self._data)
        except NotHttp2:
            self._transport.close()
            return
        if hello.stream:
            self._answered = True
            self._site.http2 = self._site.http2 or hello
            self._transport.write(http2_hello.SETTINGS_ACK + http2_hello.no_content(hello.stream))


@functools.cache
def _tls() -> ssl.SSLContext:
    """With a key and a certificate of this process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PAGE_HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + CERTIFICATE_LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(PAGE_HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    with tempfile.NamedTemporaryFile() as file:  # `ssl` reads only files
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        file.flush()
        context.load_cert_chain(Path(file.name))
    return context


def _text(text: str, kind: str) -> web.Response:
    return web.Response(text=text, content_type=kind, headers={"Cache-Control": "no-store"})

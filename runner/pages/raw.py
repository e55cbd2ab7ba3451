"""An answer as it was sent: a navigation that is stopped at its response, whose body is read and never shown.

The same request as a page's, with the same identity and the same way out, whatever the type of the answer.
"""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass, replace
from email.message import Message

from runner.cdp import CdpError, Params
from runner.pages.tab import Tab, TabGone

CHUNK = 256 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_XML_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.-]+)""")
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` may be cut; `content_type` and `disposition` are the headers as they were sent."""

    url: str
    status: int
    content_type: str
    disposition: str
    body: bytes

    @property
    def mime_type(self) -> str:
        return self._header().get_content_type() if self.content_type else ""

    @property
    def is_shown_text(self) -> bool:
        """Whether it is text, and meant to be shown."""
        kind = self.mime_type
        text = kind.startswith("text/") or kind.endswith(("json", "xml", "yaml", "javascript"))
        return text and not self.disposition.lower().lstrip().startswith("attachment")

    @property
    def text(self) -> str:
        """Decoded as its byte order mark, its header or its XML declaration says; as UTF-8 otherwise."""
        charset = next((name for bom, name in _BOMS.items() if self.body.startswith(bom)), None)
        declared = _XML_ENCODING.match(self.body[:1024])
        charset = charset or self._header().get_content_charset() or (declared[1].decode() if declared else "utf-8")
        try:
            return self.body.decode(charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def _header(self) -> Message:
        header = Message()
        header["Content-Type"] = self.content_type
        return header


class NoAnswer(Exception):
    """The network error's name, such as net::ERR_CONNECTION_REFUSED."""


async def read_raw(tab: Tab, url: str, *, max_bytes: int, timeout: float, only_text: bool = False) -> Answer:
    """The answer to `url`, redirects followed, cut at `max_bytes`; with `only_text`, other bodies are not loaded.

    Raises NoAnswer, TabGone and CdpError.
    """
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def on_pause(paused: Params) -> None:
        request = {"requestId": paused["requestId"]}
        status = paused.get("responseStatusCode", 0)
        headers = {header["name"].lower(): header["value"] for header in paused.get("responseHeaders", ())}
        try:
            if "responseErrorReason" in paused or (status in REDIRECTS and "location" in headers):
                await tab.call("Fetch.continueRequest", request)
                return
            kind, disposition = headers.get("content-type", ""), headers.get("content-disposition", "")
            answer = Answer(paused["request"]["url"], status, kind, disposition, b"")
            if answer.is_shown_text or not only_text:
                answer = replace(answer, body=await _body(tab, request, max_bytes))
            if not answered.done():
                answered.set_result(answer)
            await tab.call("Fetch.failRequest", {**request, "errorReason": "Aborted"})
        except (CdpError, TabGone) as error:
            if not answered.done():
                answered.set_exception(error)

    tab.on_pause = on_pause
    pattern = {"urlPattern": "*", "resourceType": "Document", "requestStage": "Response"}
    await tab.call("Fetch.enable", {"patterns": [pattern]})
    try:
        reply = await tab.call("Page.navigate", {"url": url}, timeout=timeout)
        if not answered.done():
            raise NoAnswer(reply.get("errorText", "net::ERR_FAILED"))
        return await answered
    finally:
        answered.cancel()
        tab.on_pause = None
        await tab.call("Fetch.disable")


async def _body(tab: Tab, request: Params, max_bytes: int) -> bytes:
    stream = (await tab.call("Fetch.takeResponseBodyAsStream", request))["stream"]
    body = bytearray()
    while len(body) < max_bytes:
        chunk = await tab.call("IO.read", {"handle": stream, "size": min(CHUNK, max_bytes - len(body))})
        data = chunk["data"]
        body += base64.b64decode(data) if chunk.get("base64Encoded") else data.encode()
        if chunk["eof"]:
            break
    return bytes(body)

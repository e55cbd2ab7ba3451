"""Measure a browser's fingerprint in that browser, before its lease.

A hidden target loads the page of `measuring_site`. It has no tab and no window, so the browser keeps no trace of it: no
entry in the history or the session, no cache. The browser's first page is not touched; the sizes of its window are read
there. Nothing is composed: every value of the document was read by script, or sent to the runner, in this measurement,
except those of `MACHINE_PARTS`, which say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

from fingerprints.coherence import contradictions
from runner.cdp import CdpConnection
from runner.egress.own_hosts import PAGE_HOST
from runner.identity.measuring_site import MeasureError, MeasuringSite

MEASURE_SECONDS = 10.0
WINDOW = "({outerWidth, outerHeight, innerWidth, innerHeight, screenX, screenY})"
# Slow to read, and the same in every browser of one Chromium build and one set of fonts.
MACHINE_PARTS = ("webgl", "canvas", "audio", "fonts")


class MachineValues:
    """`MACHINE_PARTS` of each shape, read in the first browser of that shape which was measured."""

    def __init__(self) -> None:
        self._known: dict[Hashable, dict[str, Any]] = {}

    def get(self, shape: Hashable) -> dict[str, Any] | None:
        return self._known.get(shape)

    def add(self, shape: Hashable, seen: dict[str, Any], *, at: str) -> dict[str, Any]:
        """Keep what a page has read of `MACHINE_PARTS`, with the time."""
        return self._known.setdefault(shape, {"measured_at": at, **{part: seen[part] for part in MACHINE_PARTS}})


async def measure(
    cdp: CdpConnection,
    *,
    first_page: str,
    hidden_page: str,
    site: MeasuringSite,
    shape: Hashable,
    machine: MachineValues,
) -> dict[str, Any]:
    """The document of one browser. Raises MeasureError, or CdpError when the browser does not answer.

    `first_page` and `hidden_page` are sessions. The hidden page is blank and has the browser's identity already: its
    first request would have no client hints otherwise. The egress must serve `site` until this returns. `shape` is all
    that `MACHINE_PARTS` depend on, the Chromium version too.
    """
    known = machine.get(shape)
    url = f"http://{PAGE_HOST}/" + ("" if known else "#machine")
    await cdp.call("Page.navigate", {"url": url}, session=hidden_page)
    try:
        async with asyncio.timeout(MEASURE_SECONDS):
            seen = await site.seen
    except TimeoutError as error:
        raise MeasureError(f"no answer in {MEASURE_SECONDS:g} s") from error
    window = await cdp.call("Runtime.evaluate", {"expression": WINDOW, "returnByValue": True}, session=first_page)
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = as_document(
        {**seen, "screen": {**seen["screen"], **window["result"]["value"]}},
        headers=site.headers,
        tls=site.hello.as_document() if site.hello is not None else {},
        machine=known or machine.add(shape, seen, at=at),
        at=at,
    )
    return {**document, "coherence": {"contradictions": contradictions(document)}}


def as_document(
    seen: dict[str, Any],
    *,
    headers: list[tuple[str, str]],
    tls: dict[str, Any],
    machine: dict[str, Any],
    at: str,
) -> dict[str, Any]:
    """What was read, in the order of the API's answer."""
    navigator = seen["navigator"]
    return {
        "navigator": navigator,
        "screen": seen["screen"],
        "webgl": machine["webgl"],
        "timezone": navigator["timezone"],
        "locale": navigator["locale"],
        "canvas": machine["canvas"],
        "audio": machine["audio"],
        "tls": tls,
        "fonts": machine["fonts"],
        "headers": {
            # CDP sets the languages of a hidden page, which moves their header. Of other pages it is in its place.
            "order": [name for name, _ in headers if name.lower() != "accept-language"],
            "values": {name.lower(): value for name, value in headers},
        },
        "realms": seen["realms"],
        "of_the_build": {"parts": list(MACHINE_PARTS), "measured_at": machine["measured_at"]},
        "measured_at": at,
    }

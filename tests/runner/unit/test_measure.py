"""Measuring without a browser: what is asked of it, and what its page may answer."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from runner.cdp import CdpConnection
from runner.identity.measure import MachineValues, measure
from runner.identity.measuring_site import MeasureError, MeasuringSite
from tests.fingerprints.documents import DOCUMENT

MACHINE = {name: DOCUMENT[name] for name in ("webgl", "canvas", "audio", "fonts")}
SEEN = {name: DOCUMENT[name] for name in ("navigator", "screen", "realms")}


class FakeCdp:
    """A browser whose page reads `answer`."""

    def __init__(self, site: MeasuringSite, answer: dict[str, Any]) -> None:
        self.site = site
        self.answer = answer
        self.opened: list[str] = []

    async def call(self, method: str, params: dict[str, Any], *, session: str) -> dict[str, Any]:
        if method == "Page.navigate":
            assert session == "hidden"
            self.opened.append(params["url"])
            self.site._take(json.dumps(self.answer).encode())
            return {}
        assert session == "first"
        return {"result": {"value": {"outerWidth": 1000}}}


async def measured(answer: dict[str, Any], machine: MachineValues) -> tuple[dict[str, Any], list[str]]:
    site = MeasuringSite()
    site.headers = list(zip(DOCUMENT["headers"]["order"], DOCUMENT["headers"]["values"].values(), strict=True))
    cdp = FakeCdp(site, answer)
    document = await measure(
        cast(CdpConnection, cdp), first_page="first", hidden_page="hidden", site=site, shape="mac", machine=machine
    )
    return document, cdp.opened


async def test_the_slow_values_are_read_in_the_first_browser_of_a_shape() -> None:
    machine = MachineValues()
    first, opened = await measured({**SEEN, **MACHINE}, machine)
    second, opened_later = await measured(SEEN, machine)

    assert (opened, opened_later) == (["http://browsa.localhost/#machine"], ["http://browsa.localhost/"])
    assert second["webgl"] == first["webgl"] == MACHINE["webgl"]
    assert second["of_the_build"] == {
        "parts": ["webgl", "canvas", "audio", "fonts"],
        "measured_at": first["measured_at"],
    }


async def test_window_sizes_are_those_of_the_first_page() -> None:
    document, _ = await measured({**SEEN, **MACHINE}, MachineValues())

    assert document["screen"] == {**DOCUMENT["screen"], "outerWidth": 1000}


async def test_what_contradicts_itself_is_in_the_document() -> None:
    navigator = {**DOCUMENT["navigator"], "webdriver": True}
    document, _ = await measured({**SEEN, "navigator": navigator, **MACHINE}, MachineValues())

    codes = [one["code"] for one in document["coherence"]["contradictions"]]
    assert "webdriver" in codes


async def test_a_script_that_fails_is_an_error() -> None:
    with pytest.raises(MeasureError, match="TypeError"):
        await measured({"error": "TypeError: no"}, MachineValues())

"""A seed gives a browser the same fingerprint each time; overrides replace what was drawn."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.site import Site
from tests.runner.client import Cdp
from tests.runner.harness import RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

READ = """({screen: [screen.width, screen.height, devicePixelRatio, screen.colorDepth],
  cores: navigator.hardwareConcurrency, touch: navigator.maxTouchPoints, agent: navigator.userAgent,
  coarse: matchMedia("(pointer: coarse)").matches})"""


async def seen(runner: RunnerProcess, site: Site, **fields: Any) -> dict[str, Any]:
    async with runner.lease(**fields) as lease, Cdp(lease.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))
        return {"seed": lease.granted.seed, **(await cdp.run(READ))}


async def test_a_seed_gives_the_same_fingerprint_each_time(runner: RunnerProcess, site: Site) -> None:
    first = await seen(runner, site, os_family="windows", seed="12")
    second = await seen(runner, site, os_family="windows", seed="12")

    assert first == second
    assert first["seed"] == "12"


async def test_overrides_replace_what_was_drawn(runner: RunnerProcess, site: Site) -> None:
    computer = await seen(runner, site, os_family="windows", overrides={"screen_resolution": "1600x900"})
    phone = await seen(runner, site, os_family="windows", overrides={"screen_resolution": "mobile-android-pixel"})

    assert computer["screen"][:2] == [1600, 900]
    assert (computer["touch"], computer["coarse"]) == (0, False)
    assert "Android" in phone["agent"]
    assert (phone["touch"], phone["coarse"]) == (5, True)


async def test_an_allowed_position_is_told_at_once(runner: RunnerProcess, site: Site) -> None:
    wanted = {"geolocation_mode": "allow", "geolocation_data": "52.5,13.4"}
    async with runner.lease(overrides=wanted) as lease, Cdp(lease.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))
        position = await cdp.run(
            "new Promise((done, failed) => navigator.geolocation.getCurrentPosition("
            "at => done([at.coords.latitude, at.coords.longitude]), failed))"
        )

    assert position == [52.5, 13.4]


@pytest.mark.parametrize(("mode", "kinds"), [("masked", ["audioinput", "audiooutput", "videoinput"]), ("real", [])])
async def test_a_page_sees_usual_media_devices_unless_the_real_ones_are_asked_for(
    runner: RunnerProcess, site: Site, mode: str, kinds: list[str]
) -> None:
    async with runner.lease(overrides={"media_devices_mode": mode}) as lease, Cdp(lease.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))
        found = await cdp.run("navigator.mediaDevices.enumerateDevices().then(all => all.map(one => one.kind))")

    assert sorted(set(found)) == kinds

"""Ideas of other projects' suites (Playwright's and Puppeteer's), in our own code: a leased browser does what the same
Chromium does when its client starts it. Differences are listed in `differences`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Error, Playwright

from tests.fakes.site import Site
from tests.runner.harness import RunnerProcess
from tests.runner.peers import connecting, network, places, popups, typing_keys  # noqa: F401 (they fill IDEAS)
from tests.runner.peers.differences import BY_DESIGN
from tests.runner.peers.pair import IDEAS, Side, pair
from tests.runner.test_clients import needs_node, node

pytestmark = pytest.mark.integration
in_session = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sides(runner: RunnerProcess, playwright: Playwright, site: Site) -> AsyncIterator[tuple[Side, Side]]:
    async with runner.lease(os_family="linux") as lease, pair(playwright, lease, site) as sides:
        yield sides


def test_every_listed_difference_is_one_of_the_ideas() -> None:
    puppeteers = {name for name in BY_DESIGN if name.startswith("puppeteer_")}

    assert set(BY_DESIGN) - puppeteers <= set(IDEAS)


@in_session
@pytest.mark.parametrize("name", IDEAS)
async def test_a_leased_browser_does_what_chromium_does(sides: tuple[Side, Side], name: str) -> None:
    idea = IDEAS[name]

    leased, direct = await asyncio.gather(told(idea.act(sides[0])), idea.act(sides[1]))

    assert as_json(direct) == as_json(idea.right)
    compare(name, leased, direct)


async def told(act: Any) -> Any:
    """What an idea tells of the leased browser; the error if Playwright fails."""
    try:
        return await act
    except Error as error:
        return f"error: {error.message}"


def compare(name: str, leased: Any, direct: Any) -> None:
    if name in BY_DESIGN:
        assert as_json(leased) != as_json(direct), f"it differs no more: remove it from `differences` ({name})"
    else:
        assert as_json(leased) == as_json(direct)


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@in_session
@needs_node
async def test_puppeteer_does_the_same_with_both(sides: tuple[Side, Side]) -> None:
    leased, direct = await asyncio.gather(
        *(node("peers.mjs", side.address, side.site.url("/")) for side in sides),
    )

    assert not [value for value in direct.values() if "error" in str(value)]
    different = {f"puppeteer_{name}": (leased[name], value) for name, value in direct.items() if leased[name] != value}
    assert set(different) == {name for name in BY_DESIGN if name.startswith("puppeteer_")}, different

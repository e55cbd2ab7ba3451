"""The agent whose browser is watched, and the pages that it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.site import Site, html
from tests.runner.harness import Lease
from tests.runner.live.agent import Agent, agent_of

FORM = """<!doctype html><title>Form</title><style>
body > * { position: absolute; width: 35%; height: 10%; margin: 0; box-sizing: border-box }
body { background: blue; color: white }</style><body>
<input id="name" style="left: 10%; top: 10%"><input id="secret" type="password" style="left: 10%; top: 30%">
<textarea id="story" style="left: 10%; top: 50%"></textarea>
<p id="words" style="left: 10%; top: 70%">Some words to select.</p>"""
# Every frame of it is another picture, as fast as the browser can.
RESTLESS = """<!doctype html><title>Restless</title><canvas id="c" width="1500" height="850"></canvas><script>
  const pen = c.getContext("2d");
  (function draw() {
    for (let n = 0; n < 400; n++) {
      pen.fillStyle = `hsl(${Math.random() * 360} 90% 50%)`;
      pen.fillRect(Math.random() * 1500, Math.random() * 850, 40, 40);
    }
    requestAnimationFrame(draw);
  })();
</script>"""


@pytest.fixture(scope="module", autouse=True)
def _pages(site: Site) -> None:
    site.pages["/colour"] = lambda query: html(f"<title>{query['of']}</title><body style='background:{query['of']}'>")
    site.pages["/form"] = lambda query: html(FORM)
    site.pages["/restless"] = lambda query: html(RESTLESS)


@pytest_asyncio.fixture(loop_scope="session")
async def agent(shared: Lease) -> AsyncIterator[Agent]:
    """The agent of the browser that the tests of a module share. At the end it leaves one empty page."""
    async with agent_of(shared) as agent:
        yield agent
        first = shared.granted.page_id
        for target in (await agent.call("Target.getTargets"))["targetInfos"]:
            if target["type"] == "page" and target["targetId"] != first:
                await agent.call("Target.closeTarget", {"targetId": target["targetId"]})
        await agent.call("Target.activateTarget", {"targetId": first})
        await agent.show("about:blank")

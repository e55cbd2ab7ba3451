"""Overrides of browser-use: no logging, no files, one event bus lock per task, and access to a step's outcome."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import bubus.service
from browser_use import Agent, BrowserSession
from browser_use.agent.views import AgentStepInfo
from browser_use.browser.session import DEFAULT_BROWSER_PROFILE
from browser_use.browser.views import BrowserStateSummary
from bubus.service import ReentrantLock

# bubus has one lock for all event buses of a process and holds it while it handles an event, so a page that loads
# slowly would block every other task. Here each task has its own lock; asyncio tasks inherit it through the context.
_lock: ContextVar[ReentrantLock] = ContextVar("bubus_lock", default=ReentrantLock())  # noqa: B039  set per agent
bubus.service._get_global_lock = _lock.get


def use_own_bus_lock() -> None:
    """Gives the event buses that are created in this context a lock that they do not share with other tasks."""
    _lock.set(ReentrantLock())


# The import creates a directory for downloads. Downloads are off, so remove it.
with suppress(OSError):
    Path(DEFAULT_BROWSER_PROFILE.downloads_path or "").rmdir()

# Their log lines contain page content. The log of a task is its events.
for name in ("browser_use", "bubus", "cdp_use"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
# The library creates a logger for each agent, browser and tab, and loggers are never freed.
_silent = logging.getLogger("browser_use.task")


class TaskSession(BrowserSession):
    @property
    def logger(self) -> logging.Logger:
        return _silent


class TaskAgent(Agent[Any, Any]):
    """Writes nothing to disk. Keeps the browser state and the error of a step for BrowserAgent."""

    browser_state: BrowserStateSummary | None = None
    step_error: Exception | None = None
    before_observation: Callable[[], Awaitable[None]]

    @property
    def logger(self) -> logging.Logger:
        return _silent

    def _set_screenshot_service(self) -> None:
        pass

    async def _prepare_context(self, step_info: AgentStepInfo | None = None) -> BrowserStateSummary:
        await self.before_observation()
        self.browser_state = await super()._prepare_context(step_info)
        # The library keeps the title from the start of the page load, so ask for the current one.
        assert self.browser_session is not None
        page = await self.browser_session.get_or_create_cdp_session()
        target = await page.cdp_client.send.Target.getTargetInfo(params={"targetId": page.target_id})
        self.browser_state.title = str(target["targetInfo"]["title"]) or self.browser_state.title
        return self.browser_state

    async def _make_history_item(self, *args: Any, **kwargs: Any) -> None:
        pass

    async def _handle_step_error(self, error: Exception) -> None:
        self.step_error = error

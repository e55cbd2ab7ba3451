"""browser-use without what it does beside the work."""

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

# bubus has one lock for all event buses of a process and holds it while an event is handled: a page that loads slowly
# would stop every other task. Here each task has its own; its event loops' tasks inherit the context that it is in.
_lock: ContextVar[ReentrantLock] = ContextVar("bubus_lock", default=ReentrantLock())  # noqa: B039  set per agent
bubus.service._get_global_lock = _lock.get


def use_own_bus_lock() -> None:
    """For all event buses that are made in this context."""
    _lock.set(ReentrantLock())


# It makes itself a directory for downloads on import, in which there will never be one.
with suppress(OSError):
    Path(DEFAULT_BROWSER_PROFILE.downloads_path or "").rmdir()

# They say what pages hold, and a task's log is its events.
for name in ("browser_use", "bubus", "cdp_use"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
# The library would name one after each agent, browser and tab, and loggers live as long as the process.
_silent = logging.getLogger("browser_use.task")


class TaskSession(BrowserSession):
    @property
    def logger(self) -> logging.Logger:
        return _silent


class TaskAgent(Agent[Any, Any]):
    """Keeps nothing on the disk and hands what a step saw, or what went wrong in it, to BrowserAgent."""

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
        self.browser_state.title = await self._title() or self.browser_state.title
        return self.browser_state

    async def _title(self) -> str:
        """As it is now: the library keeps the one that the page had when its load began."""
        assert self.browser_session is not None
        page = await self.browser_session.get_or_create_cdp_session()
        told = await page.cdp_client.send.Target.getTargetInfo(params={"targetId": page.target_id})
        return str(told["targetInfo"]["title"])

    async def _make_history_item(self, *args: Any, **kwargs: Any) -> None:
        pass

    async def _handle_step_error(self, error: Exception) -> None:
        self.step_error = error

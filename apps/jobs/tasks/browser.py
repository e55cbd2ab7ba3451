"""The browser of a task: the agent that the caller named, or a burner that belongs to the task.

A task keeps its burner when another worker resumes it.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from apps.agents import agent_urls, selectors
from apps.agents.control_client import runner_client
from apps.agents.lifecycle import OUR_FAULT
from apps.agents.models import Agent
from apps.agents.services import provisioning, task_browsers, termination
from apps.agents.services.provisioning import ProvisionRequest
from apps.core.errors import ApiError, UpstreamTimeout, UpstreamUnavailable
from apps.jobs.tasks import services
from apps.jobs.worker.executor import Run

log = logging.getLogger(__name__)

# The browser's TTL exceeds the task's deadline by this margin, so that the task ends first.
MARGIN = timedelta(seconds=60)
RETRY_SECONDS = 1.0
WATCH_SECONDS = 1.0
# The runner reports the end of a browser within two seconds.
REPORT_SECONDS = 4.0

# A lease request blocks until a browser is free. It has its own threads, so that it does not block database work.
_lease_threads = ThreadPoolExecutor(64, thread_name_prefix="task-lease")


class BrowserGone(Exception):
    """The task's browser has ended and is not replaced. `our_fault`: neither the caller nor the TTL ended it."""

    def __init__(self, agent: Agent) -> None:
        reason = agent.end_reason or agent.error_code or agent.status
        super().__init__(f"The browser ended before the task did ({reason}).")
        self.our_fault = agent.end_reason in OUR_FAULT


class TaskBrowser:
    """The browser of one run of a task. Call `acquire` before the other methods."""

    _agent: Agent

    def __init__(self, run: Run, *, deadline: datetime) -> None:
        self._run = run
        self._deadline = deadline
        self._callers_agent_id: str = run.params.get("agent_id", "")

    async def acquire(self, *, acted: bool) -> Agent:
        """The task's running browser. Waits until one is free, and records each new browser in the job.

        A browser that has ended is replaced once, if no step has `acted` yet. Raises BrowserGone, ClaimLost.
        """
        if self._callers_agent_id:
            agent = await self._read(self._callers_agent_id)
            if agent.status != Agent.Status.RUNNING:
                raise BrowserGone(agent)
        else:
            agent = await self._own_browser(acted=acted)
        self._agent, job = agent, self._run.job
        if job.agent_id != agent.id or not job.live_url:
            live_url = agent_urls.live_url(settings.PUBLIC_URL, agent.live_view) if agent.live_view else ""
            await sync_to_async(services.attach)(self._run.claim, agent_id=agent.id, live_url=live_url)
            job.agent_id, job.live_url = agent.id, live_url
        return agent

    async def wait_until_ended(self) -> None:
        while (await self._read(self._agent.id)).status == Agent.Status.RUNNING:
            await asyncio.sleep(WATCH_SECONDS)

    async def has_ended(self) -> bool:
        """Whether the browser has ended, after its connection broke. Waits for the runner's report."""
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                await self.wait_until_ended()
        except TimeoutError:
            return False
        return True

    async def extend_for_answer(self, *, wait: timedelta) -> None:
        """Extends the TTL of the task's burner while the task waits for a human. The caller's agent keeps its TTL."""
        if self._callers_agent_id:
            return
        left = max(self._deadline - timezone.now(), timedelta())
        seconds = int((wait + left + MARGIN).total_seconds())
        agent = self._agent
        try:
            await sync_to_async(task_browsers.extend)(agent=agent, seconds=seconds, runner=runner_client())
        except ApiError as error:
            log.warning("a browser may end before the human answers", extra={"agent_id": agent.id, "cause": error.code})

    async def _own_browser(self, *, acted: bool) -> Agent:
        job_id, workspace_id, params = self._run.job.id, self._run.claim.workspace_id, self._run.params
        loop = asyncio.get_running_loop()
        while True:
            earlier = await sync_to_async(selectors.of_job)(job_id=job_id)
            ended = [agent for agent in earlier if agent.started_at and agent.status == Agent.Status.DESTROYED]
            if ended and ended[0] is earlier[0] and (acted or len(ended) > 1):
                raise BrowserGone(ended[0])
            left = max(self._deadline - timezone.now(), timedelta()) + MARGIN
            request = ProvisionRequest(
                int(left.total_seconds()),
                params["country"],
                params["os_type"],
                overrides=params.get("overrides", {}),
            )
            agent = await sync_to_async(task_browsers.admit)(workspace_id=workspace_id, job_id=job_id, request=request)
            if agent.status == Agent.Status.RUNNING:
                return agent
            wanted = provisioning.lease_request(agent)
            try:
                granted = await loop.run_in_executor(_lease_threads, runner_client().lease, wanted)
            except (UpstreamTimeout, UpstreamUnavailable) as error:
                log.info("no browser for a task yet", extra={"agent_id": agent.id, "cause": error.code})
            else:
                if await sync_to_async(provisioning.mark_running)(agent, granted):
                    return agent
                await sync_to_async(termination.release_quietly)(agent_id=agent.id, runner=runner_client())
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, agent_id: str) -> Agent:
        return await sync_to_async(selectors.agent)(workspace_id=self._run.claim.workspace_id, agent_id=agent_id)

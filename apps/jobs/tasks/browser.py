"""The browser of a task: a burner of its own, which it keeps from worker to worker, or the caller's agent."""

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
from apps.jobs.worker.executor import Run

log = logging.getLogger(__name__)

# A task's end comes before its browser's.
MARGIN = timedelta(seconds=60)
RETRY_SECONDS = 1.0
WATCH_SECONDS = 1.0
# A runner reports an end within two seconds.
REPORT_SECONDS = 4.0

# Asking for a lease may take as long as a browser takes to be free: not on the threads that keep the books.
_lease_threads = ThreadPoolExecutor(64, thread_name_prefix="task-lease")


class BrowserGone(Exception):
    """There was a browser, and there is none any more. `our_fault`: neither the caller nor its time ended it."""

    def __init__(self, agent: Agent) -> None:
        reason = agent.end_reason or agent.error_code or agent.status
        super().__init__(f"The browser ended before the task did ({reason}).")
        self.our_fault = agent.end_reason in OUR_FAULT


class TaskBrowser:
    """For one run of a task: call `acquire` first."""

    _agent: Agent

    def __init__(self, run: Run, *, deadline: datetime) -> None:
        self._run = run
        self._deadline = deadline
        self._callers_agent_id: str = run.params.get("agent_id", "")

    async def acquire(self, *, acted: bool) -> Agent:
        """A running browser: the one that the task has, or a new one if none of its steps has acted yet. Waits for as
        long as there is none to be had. Says so in the job, once for each browser. Raises BrowserGone, LeaseLost.
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
            await self._run.attach(agent_id=agent.id, live_url=live_url)
            job.agent_id, job.live_url = agent.id, live_url
        return agent

    async def wait_until_ended(self) -> None:
        while (await self._read(self._agent.id)).status == Agent.Status.RUNNING:
            await asyncio.sleep(WATCH_SECONDS)

    async def has_ended(self) -> bool:
        """Whether a connection that broke means that the browser ended, or only that."""
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                await self.wait_until_ended()
        except TimeoutError:
            return False
        return True

    async def extend_for_answer(self, *, wait: timedelta) -> None:
        """Lets the task's own browser live on while a human is asked. Whoever's agent is the caller's sees to it."""
        if self._callers_agent_id:
            return
        left = max(self._deadline - timezone.now(), timedelta())
        seconds = int((wait + left + MARGIN).total_seconds())
        agent = self._agent
        try:
            await sync_to_async(task_browsers.extend)(agent=agent, seconds=seconds, runner=runner_client())
        except ApiError as error:
            log.warning("a browser may end before its human answers", extra={"agent_id": agent.id, "cause": error.code})

    async def _own_browser(self, *, acted: bool) -> Agent:
        job_id, workspace_id, params = self._run.job.id, self._run.claim.workspace_id, self._run.params
        loop = asyncio.get_running_loop()
        while True:
            earlier = await sync_to_async(selectors.of_job)(job_id=job_id)
            ended = [agent for agent in earlier if agent.started_at and agent.status == Agent.Status.DESTROYED]
            if ended and ended[0] is earlier[0] and (acted or len(ended) > 1):
                raise BrowserGone(ended[0])
            left = max(self._deadline - timezone.now(), timedelta()) + MARGIN
            request = ProvisionRequest(int(left.total_seconds()), params["country"], params["os_type"])
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

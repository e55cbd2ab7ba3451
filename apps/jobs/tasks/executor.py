"""Does a task: an agent with the caller's model, in a browser, step by step.

After each step its event, its price and the agent's sealed state are one transaction, so that whoever takes the task up
again goes on after the last completed step, in the same browser. What a dead worker had begun and not recorded, nobody
knows: then the agent is told so, and looks at the page.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from apps.agents import agent_urls
from apps.agents import selectors as agents
from apps.agents.models import Agent
from apps.core.sealing import Unreadable
from apps.jobs.results import screenshot_url
from apps.jobs.tasks import result as task_result
from apps.jobs.tasks import schema_validation, selectors, services
from apps.jobs.tasks.browser import BrowserGone, TaskBrowser
from apps.jobs.tasks.domains import AllowedDomains
from apps.jobs.tasks.llm import keys
from apps.jobs.tasks.llm.names import ModelName
from apps.jobs.tasks.services import ResumePoint, StepRecord
from apps.jobs.tasks.workdirs import remove_stale_workdirs, workdir
from apps.jobs.worker.executor import Cancelled, Completed, Failed, Outcome, Run, Waiting
from apps.jobs.worker.retry import retried, unless_cancelled

if TYPE_CHECKING:
    from apps.jobs.tasks.browser_agent import BrowserAgent, Final, Step, TaskModel

log = logging.getLogger(__name__)

# Answers in a row that are no step; and connections to a browser that lives, in a row.
MAX_UNUSABLE_ANSWERS = 3
MAX_CONNECTIONS = 4

_MODULE = "apps.jobs.tasks.browser_agent"


async def task(run: Run) -> Outcome:
    return await TaskExecution(run).execute()


class TaskExecution:
    """One run of a task. `steps`: how many are completed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._params = run.params
        self._wallclock = timedelta(seconds=run.params["wallclock_seconds"])
        self._steps: int = run.job.step_count
        self._redact: Callable[[str], str] = str  # until there is a key
        self._agent: Agent | None = None
        self._answer_rejected = False

    async def execute(self) -> Outcome:
        """Raises LeaseLost."""
        try:
            start = await self._resume()
        except Unreadable as error:
            message = f"What the task had done so far can't be read any more ({error}). Send the task again."
            return await self._failed("INTERNAL_ERROR", f"{message} Nothing was charged.", used=0)
        if not start.hold_open:
            return Failed("INSUFFICIENT_CREDIT", "The credits that were set aside for this task are gone.")
        left = (start.deadline_at - timezone.now()).total_seconds()
        limit = asyncio.timeout(max(0.0, left))
        try:
            async with limit:
                return await unless_cancelled(self._run, self._work(start)) or Cancelled()
        except keys.KeyUnavailable as error:
            message = f"The LLM key of this task is gone ({error}): it is never stored. Send the task again."
            return await self._failed("INTERNAL_ERROR", f"{message} Nothing was charged.", used=0)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"The task took longer than its {self._wallclock.total_seconds():g} s (wallclock_seconds)."
            return await self._failed("TIMEOUT", message)

    async def _work(self, start: ResumePoint) -> Outcome:
        """Raises KeyUnavailable."""
        key = await self._model_key()
        library = await _library()
        name = ModelName.parse(self._params["llm"])
        model: TaskModel = library.TaskModel(name, base_url=self._params.get("llm_base_url", ""), key=key)
        self._redact = functools.partial(_redacted, key)
        browser = TaskBrowser(self._run, deadline=start.deadline_at)
        try:
            with workdir(self._run.job.id) as directory:
                return await self._in_browsers(browser, start, model, directory)
        except BrowserGone as gone:
            used = 0 if gone.our_fault else None
            charged = " Nothing was charged." if gone.our_fault else ""
            return await self._failed("INTERNAL_ERROR", f"{gone}{charged}", used=used)
        finally:
            await model.close()

    async def _model_key(self) -> str:
        """Raises KeyUnavailable. A Redis that restarts may have kept it."""
        get = functools.partial(sync_to_async(keys.get), job_id=self._run.job.id)
        return await retried(get, passing=lambda error: isinstance(error, keys.KeyStoreUnavailable))

    async def _in_browsers(
        self, browser: TaskBrowser, start: ResumePoint, model: TaskModel, directory: Path
    ) -> Outcome:
        library = await _library()
        for connection in range(MAX_CONNECTIONS):
            agent = self._agent = await browser.acquire(acted=start.acting_step > 0)
            await browser.attach(agent)
            browser_agent = library.BrowserAgent(
                self._goal(library),
                model=model,
                cdp_url=_cdp_url(agent),
                directory=directory / str(connection),
                before_actions=self._begin_step,
                state=start.state,
            )
            try:
                return await _unless_ended(
                    browser.wait_until_ended(agent), self._run_steps(browser_agent, browser, start, model)
                )
            except (library.Disconnected, _BrowserEnded) as error:
                cause = self._redact(str(error))[:200]  # it may be what the provider answered meanwhile
                log.info("a task lost its browser", extra={"agent_id": agent.id, "cause": cause})
                if not await browser.has_ended(agent):
                    await asyncio.sleep(1)
            finally:
                await browser_agent.close()
            start = await self._resume()
        return await self._failed("INTERNAL_ERROR", "The browser could not be held. Nothing was charged.", used=0)

    async def _resume(self) -> ResumePoint:
        return await sync_to_async(services.resume)(self._run.claim, wallclock=self._wallclock)

    async def _run_steps(
        self, browser_agent: BrowserAgent, browser: TaskBrowser, start: ResumePoint, model: TaskModel
    ) -> Outcome:
        library = await _library()
        await browser_agent.open()
        if (
            final := browser_agent.final()
        ) is not None:  # whoever recorded the last step died before it could end the task
            outcome = await self._accept(final, browser_agent)
            if outcome is not None:
                return outcome
        await self._brief(browser_agent, start)
        unusable = 0
        while self._steps < self._params["max_steps"]:
            try:
                step: Step = await browser_agent.step(self._steps + 1)
            except library.UnusableAnswer as error:
                if model.failure is not None:
                    return await self._failed(model.failure.code, model.failure.message)
                unusable += 1
                if unusable >= MAX_UNUSABLE_ANSWERS:
                    said = f"The model's answers can't be used, {unusable} in a row: {error}"
                    return await self._failed("LLM_ERROR", said)
                browser_agent.add_note(f"Your answer could not be used: {str(error)[:1000]}", as_error=True)
                continue
            unusable = 0
            outcome = await self._record(step, browser_agent, browser, model)
            if outcome is not None:
                return outcome
        return await self._failed("STALLED", self._out_of_steps())

    async def _brief(self, browser_agent: BrowserAgent, start: ResumePoint) -> None:
        """What the agent has to know that its state doesn't say."""
        if start.state is None and self._params.get("initial_url") and not start.acting_step:
            await browser_agent.go_to(self._params["initial_url"])
        if start.human_answer is not None:
            browser_agent.add_note(f"The human answered: {start.human_answer}")
        elif start.acting_step > self._steps:
            browser_agent.add_note(
                f"Step {start.acting_step} was interrupted: its actions may have been carried out, in part or in"
                " full. Look at the page before you do anything again."
            )

    async def _begin_step(self) -> None:
        await sync_to_async(services.begin_step)(self._run.claim, number=self._steps + 1)

    async def _record(
        self, step: Step, browser_agent: BrowserAgent, browser: TaskBrowser, model: TaskModel
    ) -> Outcome | None:
        """Records a step. None when there is more to do."""
        number = self._steps + 1
        url = screenshot_url(self._run.job.id, number) if step.screenshot else None
        event = task_result.step_event(step, screenshot_url=url, redact=self._redact)
        record = StepRecord(number, event, browser_agent.state(), step.screenshot)
        if step.question:
            assert self._agent is not None
            await browser.extend_for_answer(self._agent, wait=timedelta(seconds=settings.INPUT_WAIT_SECONDS))
            question = task_result.clean(self._redact(step.question))
            await sync_to_async(services.ask)(self._run.claim, record, question=question)
            return Waiting()
        await sync_to_async(services.record_step)(self._run.claim, record)
        self._steps = number
        if model.failure is not None:  # of a call that an action made
            return await self._failed(model.failure.code, model.failure.message)
        final = browser_agent.final()
        return None if final is None else await self._accept(final, browser_agent)

    async def _accept(self, final: Final, browser_agent: BrowserAgent) -> Outcome | None:
        """None when the answer does not fit and may be given once more."""
        answer = self._redact(final.answer)
        if not final.success:
            out_of_steps = self._steps >= self._params["max_steps"]
            why = self._out_of_steps() if out_of_steps else "The agent decided to give up."
            return await self._failed("STALLED", f"{why} It said: {answer[:1000]}", answer=answer)
        schema = self._params.get("output_schema")
        if schema is None:
            return Completed(result=await self._result(answer, success=True))
        try:
            output = task_result.parse_answer(answer)
            if (problem := await schema_validation.problem(output, schema)) is not None:
                raise task_result.InvalidAnswer(problem)
        except task_result.InvalidAnswer as invalid:
            if self._answer_rejected:
                message = f"The agent's final answer does not fit output_schema: {invalid}"
                return await self._failed("STALLED", message, answer=answer)
            self._answer_rejected = True
            browser_agent.add_note(
                f"Your final answer does not fit the JSON Schema: {invalid}. Call done again.", as_error=True
            )
            return None
        return Completed(result={**await self._result(answer, success=True), "output": output})

    def _out_of_steps(self) -> str:
        return f"The agent ran out of steps: {self._params['max_steps']} (max_steps) were not enough."

    async def _failed(self, code: str, message: str, *, used: int | None = None, answer: str | None = None) -> Failed:
        """With what was done so far; the completed steps are charged unless it says otherwise."""
        result = await self._result(answer, success=False) if self._steps else None
        return Failed(code, task_result.clean(self._redact(message)), used=used, result=result)

    async def _result(self, answer: str | None, *, success: bool) -> dict[str, Any]:
        tokens = await sync_to_async(selectors.token_usage)(job_id=self._run.job.id)
        trust_score = await sync_to_async(agents.trust_score)(agent_id=self._run.job.agent_id)
        return task_result.result(
            answer=answer,
            success=success,
            steps=self._steps,
            trust_score=trust_score,
            tokens=tokens,
        )

    def _goal(self, library: Any) -> Any:
        return library.AgentGoal(
            task=task_result.prompt(self._params["task"], self._params.get("output_schema")),
            max_steps=self._params["max_steps"],
            vision=self._params["use_vision"],
            allowed=AllowedDomains.of(self._params.get("allowed_domains", ())),
        )


class _BrowserEnded(Exception):
    """The browser has ended."""


async def _unless_ended(ending: Coroutine[Any, Any, None], work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """What `work` returns or raises. Raises _BrowserEnded when the browser ended first."""
    over, working = asyncio.ensure_future(ending), asyncio.ensure_future(work)
    try:
        await asyncio.wait({over, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        over.result()
        raise _BrowserEnded("the browser has ended")
    finally:
        over.cancel()
        working.cancel()
        await asyncio.gather(over, working, return_exceptions=True)


async def _library() -> Any:
    """The module that imports browser-use, which takes seconds: on a thread, so that leases are kept meanwhile."""
    return await asyncio.to_thread(_import)


@functools.cache
def _import() -> Any:
    """Whoever comes while another thread imports it waits: in `sys.modules` it is there before it is whole."""
    remove_stale_workdirs()
    # It would go through ten thousand classes again and again: a third of the time. Not `browsa.gc_freeze`: other jobs
    # run meanwhile, and what is theirs now must be garbage later.
    gc.disable()
    try:
        return importlib.import_module(_MODULE)
    finally:
        gc.enable()


def _cdp_url(agent: Agent) -> str:
    return agent_urls.cdp_urls(settings.GATEWAY_URL, profile=agent.profile, page_id=agent.page_id).cdp_url


def _redacted(key: str, text: str) -> str:
    return text.replace(key, "[the key]")

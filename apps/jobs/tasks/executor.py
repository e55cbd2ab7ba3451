"""Executes a task: an agent with the caller's model works in a browser, step by step.

One transaction records each completed step: its event, its price and the agent's sealed state. After a crash another
worker resumes after the last completed step, in the same browser. How far the step of the crashed worker came is
unknown, so the agent is told to look at the page first.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from apps.agents import agent_urls
from apps.agents import selectors as agent_selectors
from apps.agents.models import Agent
from apps.core.sealing import Unreadable
from apps.jobs.results import screenshot_url
from apps.jobs.tasks import result as task_result
from apps.jobs.tasks import schema_validation, selectors, services
from apps.jobs.tasks.allowed_domains import AllowedDomains
from apps.jobs.tasks.browser import BrowserGone, TaskBrowser
from apps.jobs.tasks.llm import keys, prices
from apps.jobs.tasks.llm.names import ModelName
from apps.jobs.tasks.llm.prices import ModelPrice, Tokens
from apps.jobs.tasks.process import load_browser_agent, workdir
from apps.jobs.tasks.services import ResumePoint, StepRecord
from apps.jobs.worker.executor import Cancelled, Completed, Failed, Outcome, Run, Waiting
from apps.jobs.worker.retry import retried, unless_cancelled

if TYPE_CHECKING:
    from apps.jobs.tasks.browser_agent import BrowserAgent, Step, TaskModel

log = logging.getLogger(__name__)

# The task fails after this many consecutive unusable answers of the model, or connections to browsers.
MAX_UNUSABLE_ANSWERS = 3
MAX_CONNECTIONS = 4


async def task(run: Run) -> Outcome:
    return await TaskExecution(run).execute()


class TaskFailed(Exception):
    """Ends the task. `used`: credits to charge; None charges the completed steps."""

    def __init__(self, code: str, message: str, *, used: int | None = None, answer: str | None = None) -> None:
        super().__init__(message)
        self.code, self.used, self.answer = code, used, answer


class TaskExecution:
    """One run of a task. `_steps`: how many are completed.

    The route: `execute` starts or resumes the task, `_work` connects its agent to a browser, `_run_steps` is the loop
    of its steps, `_record` writes each of them, `_check_final` judges the final answer.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._params = run.params
        self._wallclock = timedelta(seconds=run.params["wallclock_seconds"])
        self._steps: int = run.job.step_count
        self._redact: Callable[[str], str] = str  # until there is a key
        self._answer_rejected = False
        self._model: TaskModel | None = None

    async def execute(self) -> Outcome:
        """Runs the task until it ends or waits for a human. Raises ClaimLost."""
        try:
            start = await self._resume()
        except Unreadable as error:
            message = f"The saved state of the task can't be decrypted ({error}). Send the task again."
            return await self._failed(TaskFailed("INTERNAL_ERROR", f"{message} Nothing was charged.", used=0))
        if not start.hold_open:
            return Failed("INSUFFICIENT_CREDIT", "The credits that were held for this task have been released.")
        limit = asyncio.timeout(max(0.0, (start.deadline_at - timezone.now()).total_seconds()))
        try:
            async with limit:
                return await unless_cancelled(self._run, self._work(start)) or Cancelled()
        except TaskFailed as failure:
            return await self._failed(failure)
        except BrowserGone as gone:
            used, charged = (0, " Nothing was charged.") if gone.our_fault else (None, "")
            return await self._failed(TaskFailed("INTERNAL_ERROR", f"{gone}{charged}", used=used))
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"The task took longer than its {self._wallclock.total_seconds():g} s (wallclock_seconds)."
            return await self._failed(TaskFailed("TIMEOUT", message))

    async def _resume(self) -> ResumePoint:
        return await sync_to_async(services.resume)(self._run.claim, wallclock=self._wallclock)

    async def _work(self, start: ResumePoint) -> Outcome:
        """Raises TaskFailed and BrowserGone."""
        key = await self._model_key()
        self._redact = lambda text: text.replace(key, "[the key]")
        library = await load_browser_agent()
        name = ModelName.parse(self._params["llm"])
        model: TaskModel = library.TaskModel(name, base_url=self._params.get("llm_base_url", ""), key=key)
        self._model = model
        browser = TaskBrowser(self._run, deadline=start.deadline_at)
        try:
            with workdir(self._run.job.id) as directory:
                for connection in range(MAX_CONNECTIONS):
                    agent = await browser.acquire(acted=start.acting_step > 0)
                    browser_agent = self._browser_agent(library, agent, model, directory / str(connection), start.state)
                    try:
                        steps = self._run_steps(library, browser_agent, browser, model, start)
                        return await _unless_ended(browser.wait_until_ended(), steps)
                    except (library.Disconnected, _BrowserEnded) as error:
                        cause = self._redact(str(error))[:200]  # the text may contain a provider's answer
                        log.info("a task lost its browser", extra={"agent_id": agent.id, "cause": cause})
                        if not await browser.has_ended():
                            await asyncio.sleep(1)
                    finally:
                        await browser_agent.close()
                    start = await self._resume()
        finally:
            await model.close()
        raise TaskFailed("INTERNAL_ERROR", "The browser connection broke too often. Nothing was charged.", used=0)

    async def _model_key(self) -> str:
        """Retries while Redis is away: it may still have the key after a restart. Raises TaskFailed."""
        get = functools.partial(sync_to_async(keys.get), job_id=self._run.job.id)
        try:
            return await retried(get, passing=lambda error: isinstance(error, keys.KeyStoreUnavailable))
        except keys.KeyUnavailable as error:
            message = f"The LLM key of this task is not available ({error}): it is never stored. Send the task again."
            raise TaskFailed("INTERNAL_ERROR", f"{message} Nothing was charged.", used=0) from error

    def _browser_agent(
        self, library: Any, agent: Agent, model: TaskModel, directory: Path, state: bytes | None
    ) -> BrowserAgent:
        goal = library.AgentGoal(
            task=task_result.prompt(self._params["task"], self._params.get("output_schema")),
            max_steps=self._params["max_steps"],
            vision=self._params["use_vision"],
            allowed=AllowedDomains.of(self._params.get("allowed_domains", ())),
        )
        urls = agent_urls.cdp_urls(settings.GATEWAY_URL, profile=agent.profile, page_id=agent.page_id)
        made: BrowserAgent = library.BrowserAgent(
            goal,
            model=model,
            cdp_url=urls.cdp_url,
            directory=directory,
            before_actions=self._begin_step,
            state=state,
        )
        return made

    async def _begin_step(self) -> None:
        await sync_to_async(services.begin_step)(self._run.claim, number=self._steps + 1)

    async def _run_steps(
        self, library: Any, browser_agent: BrowserAgent, browser: TaskBrowser, model: TaskModel, start: ResumePoint
    ) -> Outcome:
        """Raises TaskFailed, and `library.Disconnected`."""
        await browser_agent.open()
        await self._check_cost(browser_agent)
        # Another worker may have recorded the last step, and crashed before it could end the task.
        if (completed := await self._check_final(browser_agent)) is not None:
            return completed
        if start.state is None and self._params.get("initial_url") and not start.acting_step:
            await browser_agent.go_to(self._params["initial_url"])
        if start.human_answer is not None:
            browser_agent.add_note(f"The human answered: {start.human_answer}")
        elif start.acting_step > self._steps:
            browser_agent.add_note(
                f"Step {start.acting_step} was interrupted: some or all of its actions may have been executed."
                " Look at the page before you repeat anything."
            )
        unusable = 0
        while self._steps < self._params["max_steps"]:
            try:
                step = await browser_agent.step(self._steps + 1)
            except library.UnusableAnswer as error:
                _check_provider(model)
                await self._check_cost(browser_agent)
                unusable += 1
                if unusable >= MAX_UNUSABLE_ANSWERS:
                    message = task_result.unusable(unusable, str(error), said=model.said)
                    raise TaskFailed("LLM_ERROR", message) from error
                browser_agent.add_note(f"Your answer could not be used: {str(error)[:1000]}", as_error=True)
                continue
            unusable = 0
            await self._record(step, browser_agent.state(), browser)
            await self._check_cost(browser_agent)
            if step.question:
                return Waiting()
            _check_provider(model)  # an action may have called the provider, too
            if (completed := await self._check_final(browser_agent)) is not None:
                return completed
        raise TaskFailed("STALLED", self._out_of_steps())

    async def _record(self, step: Step, state: bytes, browser: TaskBrowser) -> None:
        number = self._steps + 1
        url = screenshot_url(self._run.job.id, number) if step.screenshot else None
        event = task_result.step_event(step, screenshot_url=url, redact=self._redact)
        record = StepRecord(number, event, state, step.screenshot)
        if step.question and await self._over_budget(step) is None:
            await browser.extend_for_answer(wait=timedelta(seconds=settings.INPUT_WAIT_SECONDS))
            question = task_result.clean(self._redact(step.question))
            await sync_to_async(services.ask)(self._run.claim, record, question=question)
        else:
            await sync_to_async(services.record_step)(self._run.claim, record)
            self._steps = number

    async def _over_budget(self, step: Step | None = None) -> str | None:
        """Why the task may not go on, with `step` if it is not recorded yet."""
        limit = self._params.get("max_cost_usd")
        return limit and task_result.over_budget(await self._tokens(step), price=self._price, limit=limit)

    async def _check_cost(self, browser_agent: BrowserAgent) -> None:
        """Raises TaskFailed, with the final answer if there is one."""
        if (problem := await self._over_budget()) is not None:
            final = browser_agent.final()
            raise TaskFailed("BUDGET_EXCEEDED", problem, answer=None if final is None else self._redact(final.answer))

    async def _tokens(self, step: Step | None = None) -> Tokens:
        """All tokens of the task: of its recorded steps, of `step`, and of answers that did not become a step."""
        recorded = await sync_to_async(selectors.token_usage)(job_id=self._run.job.id)
        counts = [recorded, (0, 0) if self._model is None else self._model.tokens]
        if step is not None:
            counts.append((step.input_tokens, step.output_tokens))
        return sum(count[0] for count in counts), sum(count[1] for count in counts)

    @property
    def _price(self) -> ModelPrice | None:
        return prices.price_of(ModelName.parse(self._params["llm"]), settings.MODEL_PRICES)

    async def _check_final(self, browser_agent: BrowserAgent) -> Completed | None:
        """The end of the task. None without a final answer, or after the first one that does not fit the schema.

        Raises TaskFailed.
        """
        final = browser_agent.final()
        if final is None:
            return None
        answer = self._redact(final.answer)
        if not final.success:
            out_of_steps = self._steps >= self._params["max_steps"]
            why = self._out_of_steps() if out_of_steps else "The agent decided to give up."
            raise TaskFailed("STALLED", f"{why} It said: {answer[:1000]}", answer=answer)
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
                raise TaskFailed("STALLED", message, answer=answer) from invalid
            self._answer_rejected = True
            note = f"Your final answer does not fit the JSON Schema: {invalid}. Call done again."
            browser_agent.add_note(note, as_error=True)
            return None
        return Completed(result={**await self._result(answer, success=True), "output": output})

    def _out_of_steps(self) -> str:
        return f"The agent ran out of steps: {self._params['max_steps']} (max_steps) were not enough."

    async def _failed(self, failure: TaskFailed) -> Failed:
        """The outcome, with the result of the completed steps."""
        result = await self._result(failure.answer, success=False) if self._steps else None
        message = task_result.clean(self._redact(str(failure)))
        return Failed(failure.code, message, used=failure.used, result=result)

    async def _result(self, answer: str | None, *, success: bool) -> dict[str, Any]:
        trust_score = await sync_to_async(agent_selectors.trust_score)(agent_id=self._run.job.agent_id)
        return task_result.result(
            answer=answer,
            success=success,
            steps=self._steps,
            trust_score=trust_score,
            tokens=await self._tokens(),
            price=self._price,
        )


def _check_provider(model: TaskModel) -> None:
    if model.failure is not None:
        raise TaskFailed(model.failure.code, model.failure.message)


class _BrowserEnded(Exception):
    """The browser ended while the agent worked in it."""


async def _unless_ended(ending: Coroutine[Any, Any, None], work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """What `work` returns or raises. Raises _BrowserEnded when `ending` returns first."""
    ended, working = asyncio.ensure_future(ending), asyncio.ensure_future(work)
    try:
        await asyncio.wait({ended, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        ended.result()
        raise _BrowserEnded("the browser has ended")
    finally:
        ended.cancel()
        working.cancel()
        await asyncio.gather(ended, working, return_exceptions=True)

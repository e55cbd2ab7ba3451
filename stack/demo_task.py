"""The demo's task. Uses a real model if ANTHROPIC_API_KEY or OPENAI_API_KEY is set, else a scripted one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.child import ROOT

_TASK = "Read the page that is open and tell me its main heading, word for word."
_MODELS = {"ANTHROPIC_API_KEY": "anthropic:claude-haiku-4-5", "OPENAI_API_KEY": "openai:gpt-4.1-mini"}
_HEADING = re.compile(r"^# (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DemoModel:
    """`fields` go into the body of the task. `address` is the scripted model's, which the policy must allow."""

    name: str
    fields: dict[str, Any]
    address: str = ""


@contextmanager
def chosen_model(environ: Mapping[str, str] = os.environ) -> Iterator[DemoModel]:
    for variable, llm in _MODELS.items():
        if key := environ.get(variable):
            yield DemoModel(f"{llm}, with your {variable}", {"llm": llm, "llm_api_key": key})
            return
    with ExitStack() as running:
        yield _scripted(running)


def _scripted(running: ExitStack) -> DemoModel:
    """Start the tests' scripted model. No served code depends on it."""
    sys.path.insert(0, str(Path(ROOT)))
    from tests.fakes.model import Done, Extract, ScriptedModel

    found = ["no heading"]

    def read(prompt: str) -> str:
        """`prompt` contains the page as Markdown."""
        found[0] = (_HEADING.findall(prompt) or found)[0]
        return found[0]

    scripted = running.enter_context(ScriptedModel())
    reading = Extract("What is the main heading?", read, goal="Read the page.")
    scripted.play(
        "demo", [reading, lambda prompt: Done(f"The main heading is “{found[0]}”.", goal="Report the heading.")]
    )
    fields = {"llm": "anthropic:claude-demo", "llm_api_key": "no-key", "llm_base_url": scripted.base_url}
    name = "a scripted model (set ANTHROPIC_API_KEY or OPENAI_API_KEY for a real one)"
    return DemoModel(name, fields, f"127.0.0.1:{scripted.port}")


def task_body(model: DemoModel, url: str) -> dict[str, Any]:
    """The body of POST /v1/tasks."""
    return {"task": _TASK, "initial_url": url, "max_steps": 6, **model.fields}


def summary(job: dict[str, Any], steps: list[dict[str, Any]]) -> list[str]:
    """The lines that the demo prints for a finished task."""
    lines = [f"  step {step['number']}  {step['duration_ms']:5d} ms  {step['goal'] or '-'}"[:100] for step in steps]
    if job["status"] != "completed":
        return [*lines, f"  {job['status']}: {job['error_code']}: {job['error_message']}"]
    return [*lines, f"  {job['result']['final_result']}"]

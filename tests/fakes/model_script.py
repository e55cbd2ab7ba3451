"""What a scripted model is told to do: actions, and failures.

A step is one action, a list of them, or a function of the prompt that returns either. `Failing` and `Always` say what
goes wrong before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.model_page import clickable, typeable

Json = dict[str, Any]


# --- Actions -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Action(ABC):
    """What the agent shall do. `goal` is shown as its next goal."""

    goal: str = ""

    @abstractmethod
    def on(self, prompt: str) -> Json:
        """The action as browser-use reads it. Raises NotShown."""


@dataclass(frozen=True, slots=True)
class Navigate(Action):
    """Open `url` in the tab."""

    url: str

    def on(self, prompt: str) -> Json:
        return {"navigate": {"url": self.url, "new_tab": False}}


@dataclass(frozen=True, slots=True)
class Click(Action):
    """Click what shows `text`, or is named so."""

    text: str

    def on(self, prompt: str) -> Json:
        return {"click": {"index": clickable(prompt, self.text)}}


@dataclass(frozen=True, slots=True)
class Type(Action):
    """Replace what is in the field with that label, placeholder or name."""

    label: str
    value: str

    def on(self, prompt: str) -> Json:
        return {"input": {"index": typeable(prompt, self.label), "text": self.value}}


@dataclass(frozen=True, slots=True)
class Extract(Action):
    """Have the page read by the model, which answers the same query with `answer`: text, or data under a schema.

    The reading is a call of its own, without a step number; `answer` may fail like a step, or be a function of that
    call's prompt, which holds the page as Markdown.
    """

    query: str
    answer: str | Json | Callable[[str], Any] | Failing | Always = "Nothing was found."

    def on(self, prompt: str) -> Json:
        return {"extract": {"query": self.query}}


@dataclass(frozen=True, slots=True)
class Done(Action):
    """End the task. `data` instead of `text` where the task has an output schema."""

    text: str = ""
    success: bool = True
    data: Json | None = None

    def on(self, prompt: str) -> Json:
        said = {"text": self.text} if self.data is None else {"data": self.data}
        return {"done": {**said, "success": self.success}}


@dataclass(frozen=True, slots=True)
class AskHuman(Action):
    """Browsa's own action: a question to the user who gave the task."""

    question: str

    def on(self, prompt: str) -> Json:
        return {"ask_human": {"question": self.question}}


@dataclass(frozen=True, slots=True)
class Wait(Action):
    """browser-use sleeps one second less than it is told to: 1 is no time at all."""

    seconds: int = 1

    def on(self, prompt: str) -> Json:
        return {"wait": {"seconds": self.seconds}}


@dataclass(frozen=True, slots=True)
class Act(Action):
    """Any action, as browser-use reads it: `Act({"scroll": {"down": True}})`."""

    action: Json

    def on(self, prompt: str) -> Json:
        return self.action


# --- Failures ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Failure:
    """What a provider does instead of answering."""


@dataclass(frozen=True, slots=True)
class Unauthorized(Failure):
    """401. OpenAI's wording repeats a masked part of the key; `echo` makes both providers repeat all of it."""

    echo: bool = False


@dataclass(frozen=True, slots=True)
class OutOfCredit(Failure):
    """The account is empty: OpenAI says it with 429 `insufficient_quota`, Anthropic with 400. Waiting is no use."""


@dataclass(frozen=True, slots=True)
class RateLimited(Failure):
    """429, with Retry-After (seconds) or without."""

    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Overloaded(Failure):
    """529 of Anthropic, 503 of OpenAI."""


@dataclass(frozen=True, slots=True)
class ServerError(Failure):
    """500, or another one of that hundred."""

    status: int = 500


@dataclass(frozen=True, slots=True)
class BadRequest(Failure):
    """400."""

    message: str = "prompt is too long"


@dataclass(frozen=True, slots=True)
class Garbage(Failure):
    """200 with prose where a tool call, or JSON, was asked for."""

    text: str = "I'm sorry, but I can't click on that."


@dataclass(frozen=True, slots=True)
class Malformed(Failure):
    """200 with a body that is no JSON."""


@dataclass(frozen=True, slots=True)
class Raw(Failure):
    """These bytes, with that status and content type."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Hang(Failure):
    """No answer until the server closes or the client hangs up."""


@dataclass(frozen=True, slots=True)
class HangUp(Failure):
    """The connection is closed without an answer."""


@dataclass(frozen=True, slots=True)
class Always:
    """Fails at every attempt."""

    failure: Failure


@dataclass(frozen=True, slots=True, init=False)
class Failing:
    """Each attempt uses up one failure; `then` is what happens afterwards."""

    failures: tuple[Failure, ...] = field(default=())
    then: Any = None

    def __init__(self, *failures: Failure, then: Step) -> None:
        object.__setattr__(self, "failures", failures)
        object.__setattr__(self, "then", then)


Step = Action | list[Action] | Callable[[str], "Action | list[Action]"] | Failing | Always

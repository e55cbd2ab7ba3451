"""A language model that plays a script: Anthropic's Messages and OpenAI's Chat Completions on loopback.

with ScriptedModel() as model:
    model.play("login", [
        Navigate(site.url("/login")),
        [Type("Email", "alice@example.com"), Click("Sign in")],
        Failing(RateLimited(retry_after=1), Overloaded(), then=Extract("the balance", "12 dollars")),
        lambda prompt: Done(re.search("Result (.*)", prompt)[1]),
    ])
    ... Agent(llm=ChatAnthropic(model="claude-login", base_url=model.base_url, ...))

The model's name chooses the script: `claude-login` and `gpt-login` play "login". Which step answers is read from the
prompt, in which browser-use numbers its steps, so it makes no difference which process asks, and how often. Past its
end a script repeats its last step. browser-use counts a step whose call failed finally as a step: the next call gets
the answer of the step after it.

A step that can't be taken (its element is not on the page, its function raised) ends the task: `done`, without
success, and the reason for a text. So does the last step that browser-use allows, unless the script ends it itself.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.fakes import model_wire as wire
from tests.fakes.model_page import NotShown, clickable, shown, step_number, typeable
from tests.fakes.model_script import (
    Act,
    Action,
    Always,
    AskHuman,
    BadRequest,
    Click,
    Done,
    Extract,
    Failing,
    Failure,
    Garbage,
    Hang,
    HangUp,
    Json,
    Malformed,
    Navigate,
    OutOfCredit,
    Overloaded,
    RateLimited,
    Raw,
    ServerError,
    Step,
    Type,
    Unauthorized,
    Wait,
)
from tests.patience import PATIENCE

__all__ = [
    "Act", "Action", "Always", "AskHuman", "BadRequest", "Click", "Done", "Extract", "Failing", "Failure", "Garbage",
    "Hang", "HangUp", "Malformed", "Navigate", "NotShown", "OutOfCredit", "Overloaded", "RateLimited",
    "Raw", "ScriptedModel", "Seen", "ServerError", "Step", "Type", "Unauthorized", "Wait", "clickable", "shown",
    "typeable",
]  # fmt: skip

Kind = Literal["step", "extract", "judge", "text"]

_QUERY = re.compile(r"<query>\n(.*?)\n</query>", re.DOTALL)
_ONLY_DONE = 'Your only tool available is the "done" tool.'


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that named a script. `step` is browser-use's number, from 1; None for all but an agent's steps."""

    provider: wire.Provider
    model: str
    script: str
    kind: Kind
    step: int | None
    api_key: str
    has_image: bool
    prompt: str
    at: float


class ScriptedModel:
    """Serves on 127.0.0.1 until the block ends. Every answer takes `think_seconds`."""

    def __init__(self, *, think_seconds: float = 0.0) -> None:
        self.think_seconds = think_seconds
        self.requests: list[Seen] = []
        self.closing = threading.Event()
        self._scripts: dict[str, list[Step]] = {}
        self._failed: dict[tuple[str, int | str, str], int] = {}
        self._news = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.model = self
        self.port = int(self._server.server_address[1])
        self.base_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ScriptedModel:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def play(self, name: str, steps: Iterable[Step]) -> None:
        """What `claude-<name>` and `gpt-<name>` answer from now on; earlier failures are forgotten."""
        script = list(steps)
        assert script, "a script has at least one step"
        with self._news:
            self._scripts[name] = script
            self._failed = {key: count for key, count in self._failed.items() if key[0] != name}

    def wait_for(self, condition: Callable[[list[Seen]], Any], *, seconds: float = PATIENCE) -> list[Seen]:
        """The requests so far, once they fulfil `condition`. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: condition(self.requests), seconds):
                raise TimeoutError(f"{[(seen.script, seen.kind, seen.step) for seen in self.requests]}")
            return list(self.requests)

    # --- What it answers -----------------------------------------------------------------------------------------
    def ask(self, provider: wire.Provider, key: str, raw: bytes) -> wire.Answer | Failure:
        try:
            asked = wire.read(provider, key, raw)
        except wire.Unreadable as error:
            return wire.error(provider, BadRequest(str(error)), key)
        if not key:
            return wire.error(provider, Unauthorized(), key)
        if asked.script not in self._scripts:
            return wire.no_such_model(provider, asked.model)
        kind, step = self._note(asked)
        self.closing.wait(self.think_seconds)
        said = self._said(asked, kind, step)
        match said:
            case Garbage(text=text):
                return wire.answer(asked, text)
            case Malformed() | Raw() | Hang() | HangUp():
                return said
            case Failure():
                return wire.error(provider, said, key)
        return wire.answer(asked, said)

    def _note(self, asked: wire.Asked) -> tuple[Kind, int | None]:
        number = step_number(asked.prompt)
        kind: Kind = "text"
        if number is not None or asked.wants("action"):
            kind, number = "step", number or 1
        elif asked.wants("verdict"):
            kind = "judge"
        elif _QUERY.search(asked.prompt):
            kind = "extract"
        with self._news:
            of = asked.provider, asked.model, asked.script, kind, number
            self.requests.append(Seen(*of, asked.api_key, asked.has_image, asked.prompt, time.monotonic()))
            self._news.notify_all()
        return kind, number

    def _said(self, asked: wire.Asked, kind: Kind, number: int | None) -> str | Json | Failure:
        script = self._scripts[asked.script]
        match kind:
            case "step":
                assert number is not None
                return self._step(asked, script[min(number, len(script)) - 1], number)
            case "judge":
                return {"reasoning": "", "verdict": True, "failure_reason": "", "impossible_task": False,
                        "reached_captcha": False}  # fmt: skip
            case "extract":
                return self._extracted(asked, script)
        return "Understood."

    def _step(self, asked: wire.Asked, step: Step, number: int) -> Json | Failure:
        try:
            found = self._settled(asked, number, step)
            if isinstance(found, Failure):
                return found
            actions = found if isinstance(found, list) else [found]
            taken = [action.on(asked.prompt) for action in actions]
        except Exception as error:  # a script's function may raise anything; the task's result shows it
            actions = [Done(f"The script's step {number} can't be taken: {error}", success=False)]
            taken = [action.on(asked.prompt) for action in actions]
        if _ONLY_DONE in asked.prompt and "done" not in taken[0]:
            actions = [Done("The script was not at its end.", success=False)]
            taken = [action.on(asked.prompt) for action in actions]
        goal = next((action.goal for action in actions if action.goal), f"{type(actions[0]).__name__} next.")
        thoughts = {
            "thinking": f"This is step {number} of {asked.script}.",
            "evaluation_previous_goal": "Success.",
            "memory": f"Now at step {number}.",
            "next_goal": goal,
        }
        return {**{k: v for k, v in thoughts.items() if asked.schema is None or asked.wants(k)}, "action": taken}

    def _extracted(self, asked: wire.Asked, script: list[Step]) -> str | Json | Failure:
        queries = [query.strip() for query in _QUERY.findall(asked.prompt)]
        for action in (action for step in script for action in _actions(step)):
            if isinstance(action, Extract) and action.query.strip() in queries:
                found: str | Json | Failure = self._settled(asked, action.query, action.answer)
                return found
        return "Nothing was found."

    def _settled(self, asked: wire.Asked, what: int | str, step: Any) -> Any:
        """What is left when failures are used up and functions are called."""
        if isinstance(step, Always):
            return step.failure
        if isinstance(step, Failing):
            key = asked.script, what, asked.api_key
            with self._news:
                count = self._failed.get(key, 0)
                if count < len(step.failures):
                    self._failed[key] = count + 1
                    return step.failures[count]
            return self._settled(asked, what, step.then)
        return step(asked.prompt) if callable(step) else step


def _actions(step: Any) -> list[Action]:
    """Those of a step that are known before it is taken."""
    if isinstance(step, Failing):
        return _actions(step.then)
    found = step if isinstance(step, list) else [step]
    return [action for action in found if isinstance(action, Action)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    model: ScriptedModel

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed, or have given up, are what it is for."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        provider = wire.PATHS.get(urlsplit(self.path).path)
        if provider is None:
            self._send(404, b'{"error": {"message": "Not found"}}', {})
            return
        model = self.server.model
        match model.ask(provider, wire.api_key(self.headers), raw):
            case wire.Answer(status=status, body=body, headers=headers):
                self._send(status, json.dumps(body).encode(), headers)
            case Malformed():
                self._send(200, b'{"id": "msg_01', {})
            case Raw(body=sent, status=status, content_type=kind):
                self._send(status, sent, {"Content-Type": kind})
            case Hang():
                self.close_connection = True
                while not model.closing.wait(0.05) and not _hung_up(self.connection):
                    pass
            case HangUp():
                self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _hung_up(client: socket.socket) -> bool:
    readable, _, _ = select.select([client], [], [], 0)
    return bool(readable) and client.recv(1, socket.MSG_PEEK) == b""

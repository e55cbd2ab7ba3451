"""An errand of four steps, which shows what was lost and what was done twice, and harms nothing by it.

Each page writes its step into the browser's own storage and shows all that is there, so that the answer tells whether
it was one browser all along. The site hears of each visit. A form that was sent already is not sent again.
"""

from __future__ import annotations

import re
import threading
from collections import Counter

from tests.fakes.model import Act, Action, Click, Done, Navigate, ScriptedModel, Step, Type, shown
from tests.fakes.site import Site, html

STEPS = 4
CREDITS = 2
ANSWER = "1 2 noted"
SIGNUP = 10_000  # credits of a new workspace

_PAGE = """<!doctype html><title>Errand</title><p id="trail"></p>
<form action="/errand"><input type="hidden" name="of" value="{of}"><input type="hidden" name="at" value="noted">
<label>Note <input name="note"></label><button>Send</button></form>
<script>
const trail = [...JSON.parse(localStorage.getItem("{of}") || "[]"), "{at}"];
localStorage.setItem("{of}", JSON.stringify(trail));
document.getElementById("trail").textContent = "Trail: " + trail.join(" ") + ".";
</script>"""


class Visits:
    """How often the site was asked for each page of each errand."""

    def __init__(self) -> None:
        self.of: dict[str, Counter[str]] = {}

    def count(self, of: str, at: str) -> None:
        self.of.setdefault(of, Counter())[at] += 1


def lay_out(site: Site, model: ScriptedModel) -> Visits:
    """The errand's pages, and the script `errand`. A task names its errand in its text: see `text`."""
    visits = Visits()

    def page(query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        visits.count(query["of"], query["at"])
        return html(_PAGE.format(of=query["of"], at=query["at"]))

    site.pages["/errand"] = page
    model.play("errand", [walk(site, "1"), walk(site, "2"), _note, _tell])
    return visits


def text(of: str) -> str:
    return f"Do errand-{of}- as you are told."


def walk(site: Site, at: str) -> Step:
    return lambda prompt: Navigate(site.url(f"/errand?of={_which(prompt)}&at={at}"))


def _which(prompt: str) -> str:
    return re.findall(r"errand-(\w+)-", prompt)[0]


def trail(prompt: str) -> str:
    """What the page that the model was shown says that its browser has visited."""
    found = re.search(r"Trail: ([\w ]*)\.", shown(prompt))
    return found[1] if found else ""


def _note(prompt: str) -> Action | list[Action]:
    if trail(prompt).split()[-1:] == ["noted"]:  # another worker began this step and has done it
        return Act({"wait": {"seconds": 1}})
    return [Type("Note", "x"), Click("Send")]


def _tell(prompt: str) -> Done:
    seen = trail(prompt).split()
    once = [at for before, at in zip(["", *seen], seen, strict=False) if at != before]
    return Done(" ".join(once))


class Gate:
    """Holds the model's answer up until it is opened."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self._reached.set()
        assert self._opened.wait(120), "the gate was not opened"

    def until_reached(self) -> None:
        assert self._reached.wait(60), "the gate was not reached"

    def open(self) -> None:
        self._opened.set()


def paused(site: Site, gate: Gate) -> list[Step]:
    """The errand, whose third step waits for the gate."""

    def note(prompt: str) -> Action | list[Action]:
        gate.pass_through()
        return _note(prompt)

    return [walk(site, "1"), walk(site, "2"), note, _tell]

"""The trust score of an agent: a sum of labelled inputs, from 0 to 1000. Pure.

Every input is computed from a fact: how the browser was provisioned, what was measured in it before its lease, and the
newest verdict of the detection harness. docs/trust.md has the table of points, which a test compares with this module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Engine = Literal["chromium", "shell"]
Band = Literal["undetected", "suspicious", "flagged"]

BASELINE = 740
PERSISTENT = 40
WARMED_UP = 30
PROXIED = 20
DAY, MOST_AGE = 1, 15
SESSION, MOST_SESSIONS = 1, 15
# Without a verdict a score stays below the band of those that have been tested.
HARNESS, UNTESTED = 140, 100
FIRST_CONTRADICTION, SAME_ELSEWHERE, LISTED_EXCEPTION, MOST_CONTRADICTIONS = -15, -5, -5, -250
MOST_OS = -80
SOFTWARE_GRAPHICS = -20
WARNING, SCREEN_WARNING, MOST_WARNINGS = -10, -60, -150
UNMEASURED, SHELL = -60, -200

UNDETECTED_FROM, SUSPICIOUS_FROM = 850, 700

SOFTWARE_RENDERERS = ("swiftshader", "llvmpipe", "software")
SOFTWARE_CODE = "webgl_software"  # the contradiction that is the input `graphics`


class Contradiction(NamedTuple):
    """A value that one realm (page, worker, header …) of a browser gives and another does not.

    `of_machine`: the machine's own operating system shows where another one is expected. `listed`: a known exception,
    for which Chromium has no setting; it is a weaker mark, because every Chromium of a server has it.
    """

    code: str
    realm: str
    of_machine: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True)
class TrustFacts:
    """What is known of an agent.

    `contradictions` is None when the browser was not measured. `pass_rate` is that of the detection harness, 0 to 1;
    None without a recent verdict. `proxied`: its country has an upstream proxy.
    """

    engine: Engine = "chromium"
    persistent: bool = False
    warmed_up: bool = False
    proxied: bool = False
    age_days: int = 0
    sessions: int = 0
    pass_rate: float | None = None
    contradictions: tuple[Contradiction, ...] | None = None
    software_graphics: bool = False
    warnings: tuple[str, ...] = ()


def quick_facts(*, proxied: bool) -> TrustFacts:
    """Those of every quick page."""
    return TrustFacts(engine="shell", proxied=proxied)


class Knob(NamedTuple):
    """What a caller can change for the next agent, and by how many points the score moves."""

    field: str
    value: str
    points: int


class TrustInput(NamedTuple):
    name: str
    label: str
    points: int
    knob: Knob | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self._asdict(), "knob": self.knob and self.knob._asdict()}


class TrustScore(NamedTuple):
    """`inputs` sum to `score`."""

    score: int
    inputs: tuple[TrustInput, ...]


def band(score: int) -> Band:
    if score >= UNDETECTED_FROM:
        return "undetected"
    return "suspicious" if score >= SUSPICIOUS_FROM else "flagged"


@functools.lru_cache(maxsize=256)  # quick pages of a country all have the same facts
def assess(facts: TrustFacts) -> TrustScore:
    inputs = tuple(judge(facts) for judge in INPUTS.values())
    return TrustScore(sum(one.points for one in inputs), inputs)


def _baseline(facts: TrustFacts) -> TrustInput:
    return TrustInput("baseline", "A real Chromium with a drawn fingerprint", BASELINE)


def _mode(facts: TrustFacts) -> TrustInput:
    if facts.persistent:
        return TrustInput("mode", "Persistent: it comes back with its cookies and storage", PERSISTENT)
    return TrustInput(
        "mode", "Burner: it has no history", 0, Knob("mode", "persistent", PERSISTENT) if not _shell(facts) else None
    )


def _os(facts: TrustFacts) -> TrustInput:
    points = max(_points_of(one for one in facts.contradictions or () if one.of_machine), MOST_OS)
    if not points:
        return TrustInput("os", "No value shows another operating system", 0)
    return TrustInput(
        "os",
        "The machine's own operating system shows in: " + _named(facts, of_machine=True),
        points,
        Knob("os_type", "OS_TYPE_LINUX", -points),
    )


def _warmup(facts: TrustFacts) -> TrustInput:
    if facts.warmed_up:
        return TrustInput("warmup", "A warm-up recipe has run", WARMED_UP)
    knob = Knob("warmup_recipe", "google", WARMED_UP + (0 if facts.persistent else PERSISTENT))
    return TrustInput("warmup", "No warm-up", 0, None if _shell(facts) else knob)


def _country(facts: TrustFacts) -> TrustInput:
    if facts.proxied:
        return TrustInput("country", "Time zone, locale and an upstream proxy of its country", PROXIED)
    label = "Time zone and locale of its country; the address is the server's own"
    return TrustInput("country", label, 0, Knob("country", "one with an upstream proxy", PROXIED))


def _age(facts: TrustFacts) -> TrustInput:
    points = min(facts.age_days * DAY, MOST_AGE) if facts.persistent else 0
    return TrustInput("age", f"{facts.age_days} days old" if facts.persistent else "New", points)


def _sessions(facts: TrustFacts) -> TrustInput:
    points = min(facts.sessions * SESSION, MOST_SESSIONS) if facts.persistent else 0
    return TrustInput("sessions", f"{facts.sessions} earlier sessions", points)


def _harness(facts: TrustFacts) -> TrustInput:
    if facts.pass_rate is None or _shell(facts):
        return TrustInput("harness", "No verdict of the detection harness in the last 7 days", UNTESTED)
    label = f"The detection harness passed {facts.pass_rate:.0%} of its sites"
    return TrustInput("harness", label, round(HARNESS * facts.pass_rate))


def _contradictions(facts: TrustFacts) -> TrustInput:
    points = max(_points_of(one for one in facts.contradictions or () if not one.of_machine), MOST_CONTRADICTIONS)
    if not points:
        return TrustInput("contradictions", "None was found in this browser", 0)
    return TrustInput("contradictions", "Found in this browser: " + _named(facts, of_machine=False), points)


def _graphics(facts: TrustFacts) -> TrustInput:
    if facts.software_graphics:
        return TrustInput("graphics", "WebGL names a software renderer: the server has no GPU", SOFTWARE_GRAPHICS)
    return TrustInput("graphics", "WebGL names no software renderer", 0)


def _warnings(facts: TrustFacts) -> TrustInput:
    if not facts.warnings:
        return TrustInput("warnings", "Every override is given as asked", 0)
    fields = list(dict.fromkeys(text.partition(":")[0] for text in facts.warnings))
    points = max(sum(SCREEN_WARNING if one == "screen_resolution" else WARNING for one in fields), MOST_WARNINGS)
    return TrustInput(
        "warnings", "Not as asked: " + ", ".join(fields), points, Knob(", ".join(fields), "absent", -points)
    )


def _engine(facts: TrustFacts) -> TrustInput:
    if _shell(facts):
        label = "A quick page: the headless shell, which detectors know"
        return TrustInput("engine", label, SHELL, Knob("call", "POST /v1/agents", -SHELL))
    if facts.contradictions is None:
        return TrustInput("engine", "This browser was not measured before its lease", UNMEASURED)
    return TrustInput("engine", "Full Chromium, measured before its lease", 0)


# In the order of the breakdown. The limits of the points keep every sum between 0 and 1000.
INPUTS: Mapping[str, Callable[[TrustFacts], TrustInput]] = {
    "baseline": _baseline,
    "mode": _mode,
    "os": _os,
    "warmup": _warmup,
    "country": _country,
    "age": _age,
    "sessions": _sessions,
    "harness": _harness,
    "contradictions": _contradictions,
    "graphics": _graphics,
    "warnings": _warnings,
    "engine": _engine,
}


def _shell(facts: TrustFacts) -> bool:
    return facts.engine == "shell"


def _points_of(found: Iterable[Contradiction]) -> int:
    """The first realm of each code costs more than the others: it is one fault, seen in several places."""
    points, seen = 0, set()
    for one in found:
        first = LISTED_EXCEPTION if one.listed and not one.of_machine else FIRST_CONTRADICTION
        points += SAME_ELSEWHERE if one.code in seen else first
        seen.add(one.code)
    return points


def _named(facts: TrustFacts, *, of_machine: bool) -> str:
    found = [one for one in facts.contradictions or () if one.of_machine == of_machine]
    return ", ".join(dict.fromkeys(f"{one.code} ({one.realm})" if one.realm else one.code for one in found))


class Measured(NamedTuple):
    """What a browser's measured document says for the score."""

    contradictions: tuple[Contradiction, ...] | None
    software_graphics: bool


def read_document(document: Mapping[str, Any]) -> Measured:
    """The facts in a measured document; an empty document was not measured."""
    coherence = document.get("coherence")
    if not isinstance(coherence, dict):
        return Measured(None, False)
    found = coherence.get("contradictions")
    rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    contradictions = (
        Contradiction(
            str(one.get("code", "")), str(one.get("realm", "")), _of_machine(one), listed=one.get("listed") is True
        )
        for one in rows
        if one.get("code") != SOFTWARE_CODE
    )
    webgl = document.get("webgl")
    renderer = str(webgl.get("renderer", "")).lower() if isinstance(webgl, dict) else ""
    return Measured(tuple(contradictions), any(name in renderer for name in SOFTWARE_RENDERERS))


def _of_machine(contradiction: Mapping[str, Any]) -> bool:
    """Browsers run on Linux: a realm that says so, where something else is expected, shows the machine."""
    expected, seen = (str(contradiction.get(name, "")).lower() for name in ("expected", "seen"))
    return "linux" in seen and "linux" not in expected

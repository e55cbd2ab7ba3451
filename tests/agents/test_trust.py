"""The trust score: every input by itself, the limits, the bands, and the table in the documentation."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import pytest

from apps.agents import trust
from apps.agents.trust import Contradiction, Knob, TrustFacts, TrustInput, assess
from stack.child import ROOT

MEASURED = TrustFacts(contradictions=())
WORKER = Contradiction("platform", "worker", of_machine=True)
BRANDS = Contradiction("brands", "service_worker", of_machine=False)


def inputs(facts: TrustFacts) -> dict[str, TrustInput]:
    return {one.name: one for one in assess(facts).inputs}


def changed(**facts: Any) -> dict[str, int]:
    """The points of the inputs that these facts change."""
    before, after = inputs(MEASURED), inputs(dataclasses.replace(MEASURED, **facts))
    return {name: one.points for name, one in after.items() if one.points != before[name].points}


def test_a_measured_burner_without_a_contradiction_needs_a_verdict_to_be_undetected() -> None:
    plain, tested = assess(MEASURED).score, assess(dataclasses.replace(MEASURED, pass_rate=1.0)).score

    assert (plain, trust.band(plain)) == (840, "suspicious")
    assert (tested, trust.band(tested)) == (880, "undetected")


@pytest.mark.parametrize(
    ("facts", "points"),
    [
        ({"persistent": True}, {"mode": 40}),
        ({"warmed_up": True}, {"warmup": 30}),
        ({"proxied": True}, {"country": 20}),
        ({"persistent": True, "age_days": 4}, {"mode": 40, "age": 4}),
        ({"persistent": True, "age_days": 400}, {"mode": 40, "age": 15}),
        ({"persistent": True, "sessions": 3}, {"mode": 40, "sessions": 3}),
        ({"persistent": True, "sessions": 300}, {"mode": 40, "sessions": 15}),
        ({"age_days": 9, "sessions": 9}, {}),
        ({"pass_rate": 1.0}, {"harness": 140}),
        ({"pass_rate": 0.8}, {"harness": 112}),
        ({"pass_rate": 0.0}, {"harness": 0}),
        ({"contradictions": (WORKER,)}, {"os": -15}),
        ({"contradictions": (WORKER, WORKER._replace(realm="shared_worker"))}, {"os": -20}),
        ({"contradictions": (BRANDS,)}, {"contradictions": -15}),
        ({"contradictions": (BRANDS, WORKER)}, {"os": -15, "contradictions": -15}),
        ({"contradictions": (BRANDS, BRANDS._replace(code="zone"))}, {"contradictions": -30}),
        ({"contradictions": (BRANDS._replace(code="voices", listed=True),)}, {"contradictions": -5}),
        ({"contradictions": (WORKER._replace(listed=True),)}, {"os": -15}),
        ({"contradictions": None}, {"engine": -60}),
        ({"software_graphics": True}, {"graphics": -20}),
        ({"warnings": ("ja3_profile: no",)}, {"warnings": -10}),
        ({"warnings": ("ja3_profile: no", "webrtc_mode: no")}, {"warnings": -20}),
        ({"warnings": ("screen_resolution: no",)}, {"warnings": -60}),
        ({"warnings": ("geolocation_data: a", "geolocation_data: b")}, {"warnings": -10}),
        ({"engine": "shell"}, {"engine": -200}),
    ],
)
def test_each_fact_moves_its_own_input(facts: dict[str, Any], points: dict[str, int]) -> None:
    assert changed(**facts) == points


@pytest.mark.parametrize(
    ("name", "facts", "knob"),
    [
        ("mode", {}, Knob("mode", "persistent", 40)),
        ("mode", {"persistent": True}, None),
        ("mode", {"engine": "shell"}, None),
        ("os", {"contradictions": (WORKER,)}, Knob("os_type", "OS_TYPE_LINUX", 15)),
        ("os", {}, None),
        ("warmup", {}, Knob("warmup_recipe", "google", 70)),
        ("warmup", {"persistent": True}, Knob("warmup_recipe", "google", 30)),
        ("warmup", {"warmed_up": True}, None),
        ("country", {}, Knob("country", "one with an upstream proxy", 20)),
        ("country", {"proxied": True}, None),
        ("warnings", {"warnings": ("ja3_profile: no",)}, Knob("ja3_profile", "absent", 10)),
        ("engine", {"engine": "shell"}, Knob("call", "POST /v1/agents", 200)),
        ("engine", {}, None),
    ],
)
def test_the_knob_says_by_how_much_the_score_moves(name: str, facts: dict[str, Any], knob: Knob | None) -> None:
    assert inputs(dataclasses.replace(MEASURED, **facts))[name].knob == knob


def test_turning_the_knob_moves_the_score_by_what_it_says() -> None:
    burner = dataclasses.replace(MEASURED, contradictions=(WORKER, BRANDS), warnings=("ja3_profile: no",))
    turned: dict[str, TrustFacts] = {
        "mode": dataclasses.replace(burner, persistent=True),
        "os": dataclasses.replace(burner, contradictions=(BRANDS,)),
        "warmup": dataclasses.replace(burner, persistent=True, warmed_up=True),
        "country": dataclasses.replace(burner, proxied=True),
        "warnings": dataclasses.replace(burner, warnings=()),
    }

    for name, facts in turned.items():
        knob = inputs(burner)[name].knob
        assert knob is not None
        assert assess(facts).score == assess(burner).score + knob.points, name


def extremes() -> list[TrustFacts]:
    many = tuple(Contradiction(f"code{n}", "page", of_machine=bool(n % 2)) for n in range(100))
    warnings = tuple(f"field{n}: no" for n in range(50))
    found = itertools.product(
        ("chromium", "shell"), (True, False), (0.0, 1.0, None), (None, (), many), (True, False), ((), warnings)
    )
    return [
        TrustFacts(
            engine=engine,  # type: ignore[arg-type]
            persistent=good,
            warmed_up=good,
            proxied=good,
            age_days=10_000 * good,
            sessions=10_000 * good,
            pass_rate=rate,
            contradictions=contradictions,
            software_graphics=software,
            warnings=asked,
        )
        for engine, good, rate, contradictions, software, asked in found
    ]


def test_every_score_is_the_sum_of_its_inputs_and_from_0_to_1000() -> None:
    scores = [assess(facts) for facts in extremes()]

    assert all(one.score == sum(part.points for part in one.inputs) for one in scores)
    assert all([part.name for part in one.inputs] == list(trust.INPUTS) for one in scores)
    assert 0 <= min(one.score for one in scores) < 200
    assert max(one.score for one in scores) == 1000


@pytest.mark.parametrize(
    ("score", "band"),
    [
        (1000, "undetected"),
        (850, "undetected"),
        (849, "suspicious"),
        (700, "suspicious"),
        (699, "flagged"),
        (0, "flagged"),
    ],
)
def test_the_bands_are_those_of_the_specification(score: int, band: str) -> None:
    assert trust.band(score) == band


def test_a_quick_page_is_flagged_with_its_reason() -> None:
    quick = assess(trust.quick_facts(proxied=False))

    assert (quick.score, trust.band(quick.score)) == (640, "flagged")
    assert quick.inputs[-1].label == "A quick page: the headless shell, which detectors know"


def test_a_document_is_read_for_contradictions_and_graphics() -> None:
    found = [
        {"code": "platform", "realm": "worker", "expected": "Win32", "seen": "Linux x86_64"},
        {"code": "platform", "realm": "page", "expected": "Linux x86_64", "seen": "Linux armv8l"},
        {"code": "zone", "realm": "frame", "expected": "a", "seen": None, "listed": True},
        {"code": "webgl_software", "realm": "page", "expected": "a graphics card", "seen": "SwiftShader"},
    ]
    document = {"webgl": {"renderer": "ANGLE (Google, Vulkan (SwiftShader))"}, "coherence": {"contradictions": found}}

    measured = trust.read_document(document)

    assert measured.software_graphics
    assert measured.contradictions == (
        Contradiction("platform", "worker", of_machine=True),
        Contradiction("platform", "page", of_machine=False),
        Contradiction("zone", "frame", listed=True),
    )


@pytest.mark.parametrize("document", [{}, {"coherence": None}, {"navigator": {}}])
def test_a_document_without_coherence_was_not_measured(document: dict[str, Any]) -> None:
    assert trust.read_document(document).contradictions is None


@pytest.mark.parametrize("coherence", [{}, {"contradictions": None}, {"contradictions": ["x", 1]}])
def test_a_document_of_another_shape_is_read_as_far_as_it_goes(coherence: dict[str, Any]) -> None:
    assert trust.read_document({"coherence": coherence, "webgl": None}) == ((), False)


def test_the_documentation_has_the_points_of_every_input() -> None:
    text = (ROOT / "docs" / "trust.md").read_text()
    table = text.partition("| input | fact | points |")[2].partition("\n\n")[0]
    rows = {name: points.strip() for name, points in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", table, re.MULTILINE)}

    assert rows == {
        "baseline": f"{trust.BASELINE}",
        "mode": f"persistent {trust.PERSISTENT}, burner 0",
        "os": f"{trust.FIRST_CONTRADICTION} for each value, {trust.SAME_ELSEWHERE} for each other place of the same"
        f" value; {trust.MOST_OS} at most",
        "warmup": f"{trust.WARMED_UP}",
        "country": f"{trust.PROXIED}",
        "age": f"{trust.DAY} a day, {trust.MOST_AGE} at most",
        "sessions": f"{trust.SESSION} each, {trust.MOST_SESSIONS} at most",
        "harness": f"{trust.HARNESS} times the pass rate; {trust.UNTESTED} without a verdict",
        "contradictions": f"{trust.FIRST_CONTRADICTION} for each value, {trust.LISTED_EXCEPTION} for one of the known"
        f" exceptions and for each other place of the same value; {trust.MOST_CONTRADICTIONS} at most",
        "graphics": f"{trust.SOFTWARE_GRAPHICS}",
        "warnings": f"{trust.WARNING} for each field, {trust.SCREEN_WARNING} for `screen_resolution`;"
        f" {trust.MOST_WARNINGS} at most",
        "engine": f"not measured {trust.UNMEASURED}, headless shell {trust.SHELL}",
    }
    assert list(rows) == list(trust.INPUTS)
    assert f"from {trust.UNDETECTED_FROM}" in text and f"from {trust.SUSPICIOUS_FROM}" in text

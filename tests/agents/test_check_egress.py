"""`manage.py check_egress`."""

from __future__ import annotations

import json
from io import StringIO

from django.conf import LazySettings
from django.core.management import CommandError, call_command

from runner.wire import ExitCheck
from tests.fakes.runner import FakeRunner

DIRECT = ExitCheck("us", "direct", milliseconds=41, address="203.0.113.9")
WORKS = ExitCheck("de", "http://one.example:3128", milliseconds=212, address="198.51.100.7")
REFUSES = ExitCheck("de", "socks5://two.example:1080", problem="it refuses connections")
REJECTS = ExitCheck("fr", "https://three.example:443", problem="it rejects the credentials (CONNECT answered 407)")


def check(*arguments: str) -> tuple[list[str], str]:
    """The lines that were printed, and the complaint."""
    out = StringIO()
    try:
        call_command("check_egress", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue().splitlines(), str(error)
    return out.getvalue().splitlines(), ""


def test_every_way_out_has_its_line(runner: FakeRunner) -> None:
    runner.checks = [DIRECT, WORKS]

    lines, complaint = check()

    assert complaint == ""
    assert [line.split() for line in lines[1:]] == [
        ["us", "direct", "41", "ms", "203.0.113.9", "ok"],
        ["de", "http://one.example:3128", "212", "ms", "198.51.100.7", "ok"],
    ]


def test_what_does_not_work_is_said_in_words_and_by_the_exit_status(runner: FakeRunner) -> None:
    runner.checks = [DIRECT, WORKS, REFUSES]

    lines, complaint = check()

    assert lines[3].endswith("it refuses connections")
    assert complaint == "1 of 3 ways out do not work"


def test_a_country_without_any_way_out_is_named(runner: FakeRunner) -> None:
    runner.checks = [DIRECT, WORKS, REFUSES, REJECTS]

    assert check()[1] == "2 of 4 ways out do not work; countries without any: fr"


def test_for_scripts_each_line_is_json(runner: FakeRunner) -> None:
    runner.checks = [DIRECT, REFUSES]

    lines, complaint = check("--json")

    assert [json.loads(line) for line in lines] == [
        {"country": "us", "way": "direct", "problem": "", "milliseconds": 41, "address": "203.0.113.9"},
        {
            "country": "de",
            "way": "socks5://two.example:1080",
            "problem": "it refuses connections",
            "milliseconds": None,
            "address": None,
        },
    ]
    assert complaint


def test_without_a_runner_it_says_so(settings: LazySettings) -> None:
    settings.RUNNER_URL = ""

    assert check() == ([], "No runner is configured: set BROWSA_RUNNER_URL.")

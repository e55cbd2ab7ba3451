"""The table of metrics in docs/operations.md names what `/metrics` has, each one once."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stack.child import ROOT
from tests.cast import call
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db


def test_the_table_of_metrics_names_each_one_once(runner: FakeRunner) -> None:
    section = (ROOT / "docs/operations.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    named = re.findall(r"`(browsa_\w+)`", "".join(line for line in section.splitlines() if line.startswith("|")))

    families = text_string_to_metric_families(call("GET", "/metrics").content.decode())
    served = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}

    assert sorted(named) == sorted(name for name in served if name.startswith("browsa_"))

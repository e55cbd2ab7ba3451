"""The detection harness on a running stack: by command, through the gateway, with the signal that its shape gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.agents.harness_checks import SITES
from stack.harness import Stack
from tests.integration.driving import Member, all_leases, manage
from tests.patience import until

pytestmark = pytest.mark.integration


def test_a_run_by_command_is_free_and_is_the_signal_of_its_shape(member: Member, stack: Stack, tmp_path: Path) -> None:
    agent = member.post("/v1/agents", {"os_type": "OS_TYPE_MACOS"}).json()
    before = member.get("/v1/credits").json()

    printed = manage(stack, "run_harness", "--os-type", "OS_TYPE_MACOS").splitlines()
    signal = member.get(f"/v1/agents/{agent['id']}/detection-signal").json()["signal"]

    assert printed[0] == f"OS_TYPE_MACOS us: {signal['sites_passed']} of {len(SITES)} sites passed"
    assert [site["name"] for site in signal["sites"]] == list(SITES)
    assert signal["sites_tested"] == len(SITES) and signal["pass_rate"] == signal["sites_passed"] / len(SITES)
    assert member.get("/v1/credits").json() == before
    until(
        lambda: not [lease for lease in all_leases(stack) if lease.startswith("harness_")],
        what="the end of all runs; beat makes one too",
    )

    report = tmp_path / "report.html"
    manage(stack, "harness_report", str(report))
    assert "OS_TYPE_MACOS, us" in report.read_text()
    member.delete(f"/v1/agents/{agent['id']}")

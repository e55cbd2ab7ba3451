"""The names by which tests are dealt out to processes must not outlive the files that they name."""

from __future__ import annotations

import pytest

from stack.child import ROOT
from tests.dealing import FIRST, TOGETHER, group, turn


@pytest.mark.parametrize("path", [*TOGETHER, *sorted(set(FIRST) - set(TOGETHER.values()))])
def test_what_is_named_is_there(path: str) -> None:
    assert list(ROOT.glob(f"{path}*"))


def test_files_that_share_something_are_run_by_one_process_and_others_by_any() -> None:
    assert group("tests/integration/agents/test_cap.py::test_a") == group("tests/integration/test_pages.py::test_b")
    assert group("tests/core/test_logs.py::test_a[x::y]") == "tests/core/test_logs.py"


def test_what_takes_long_comes_first() -> None:
    assert turn("tests/faults/jobs/test_mixed_jobs.py::test_a") == 0
    assert turn("tests/runner/test_leases.py::test_a") < turn("tests/core/test_logs.py::test_a") == len(FIRST)

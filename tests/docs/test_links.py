"""Files, links and make goals that the documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.child import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
CODE_PATH = re.compile(r"`((?:addresses|apps|bench|browsa|docs|runner|stack|tasks|tests)/[\w./]+\.(?:py|json|md))`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_exist(document: Path) -> None:
    text = document.read_text()
    linked = {(document.parent / target if target else document): anchor for target, anchor in LINK.findall(text)}

    assert [path for path in linked if not path.exists()] == []
    assert [path for path, anchor in linked.items() if anchor and anchor not in anchors(path)] == []
    assert [name for name in CODE_PATH.findall(text) if not (ROOT / name).exists()] == []


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes from headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_make_goal_that_is_named_exists() -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {goal for path in DOCUMENTS for goal in re.findall(r"`make ([a-z-]+)`", path.read_text())}

    assert named <= goals

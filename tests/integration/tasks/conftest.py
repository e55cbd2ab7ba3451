"""Members of the shared stack who give tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.model import ScriptedModel
from tests.fakes.site import Site, html
from tests.integration.driving import Member
from tests.integration.tasks.giving import FORM, Tasks, tasks_of


@pytest.fixture
def tasks(member: Member, model: ScriptedModel, site: Site) -> Iterator[Tasks]:
    site.pages["/form"] = lambda query: html(FORM)
    site.pages["/found"] = lambda query: html(f"<!doctype html><title>Found</title><h1>{query['name']} is here</h1>")
    with tasks_of(member, model, site) as tasks:
        yield tasks

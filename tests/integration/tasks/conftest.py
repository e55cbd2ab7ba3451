"""Members of the shared stack who give tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack.harness import Stack
from tests.fakes.model import ScriptedModel
from tests.fakes.site import Site, html
from tests.integration.driving import Member, join, plain_http
from tests.integration.tasks.giving import FORM, Tasks, tasks_of


@pytest.fixture(scope="package")
def _members(stack: Stack) -> Iterator[Iterator[Member]]:
    with plain_http() as http:
        yield join(stack, http, 60)


@pytest.fixture
def tasks(member: Member, model: ScriptedModel, site: Site) -> Iterator[Tasks]:
    site.pages["/form"] = lambda query: html(FORM)
    site.pages["/found"] = lambda query: html(f"<!doctype html><title>Found</title><h1>{query['name']} is here</h1>")
    with tasks_of(member, model, site) as tasks:
        yield tasks

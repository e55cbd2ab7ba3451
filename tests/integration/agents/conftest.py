"""Members of the shared stack."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from stack.harness import Stack
from tests.integration.driving import Member, join, plain_http


@pytest.fixture(scope="package")
def http() -> Iterator[httpx.Client]:
    with plain_http() as http:
        yield http


@pytest.fixture(scope="package")
def _members(stack: Stack, http: httpx.Client) -> Iterator[Member]:
    return join(stack, http, 60)


@pytest.fixture
def outsider(_members: Iterator[Member]) -> Iterator[Member]:
    member = next(_members)
    yield member
    member.leave()

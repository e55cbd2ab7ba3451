"""One stack for everything here that breaks nothing."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from browsa.stack.harness import Stack, running_stack
from tests.fakes.site import Site
from tests.integration.driving import Database, Member, join, plain_http


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="package")
def http() -> Iterator[httpx.Client]:
    with plain_http() as http:
        yield http


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stack]:
    settings = {
        "BROWSA_POOL_SIZE": "2",
        "BROWSA_RATE_LIMITS": "off",
        "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{site.port}",
        "EGRESS_COUNTRIES": '{"us": "direct", "de": "direct"}',
    }
    with running_stack(tmp_path_factory.mktemp("shared") / "home", env=settings) as stack:
        yield stack


@pytest.fixture(scope="package")
def _members(stack: Stack, http: httpx.Client) -> Iterator[Member]:
    return join(stack, http, 60)


@pytest.fixture
def member(_members: Iterator[Member]) -> Iterator[Member]:
    """Somebody new, whose ledger holds nothing but the signup grant."""
    member = next(_members)
    yield member
    member.leave()


@pytest.fixture
def outsider(_members: Iterator[Member]) -> Iterator[Member]:
    member = next(_members)
    yield member
    member.leave()


@pytest.fixture
def database(stack: Stack) -> Database:
    return Database(stack)

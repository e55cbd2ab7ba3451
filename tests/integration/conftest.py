"""One stack for all tests of these folders that a process runs. Tests in `tests/faults` have stacks of their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from stack.harness import Stack
from tests.fakes.model import ScriptedModel
from tests.fakes.site import Site
from tests.integration.driving import Database, Member, join, plain_http
from tests.template import running_stack

# Of the shared stack: ten browsers that are asked for at once start two at a time.
LEASE_WAIT = 80  # seconds, less than what `plain_http` waits


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="package")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, site: Site, model: ScriptedModel) -> Iterator[Stack]:
    settings = {
        "BROWSA_POOL_SIZE": "2",
        "BROWSA_LEASE_WAIT_SECONDS": str(LEASE_WAIT),
        "BROWSA_RATE_LIMITS": "off",
        "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{site.port},127.0.0.1:{model.port}",
        "EGRESS_COUNTRIES": '{"us": "direct", "de": "direct"}',
    }
    with running_stack(tmp_path_factory.mktemp("shared") / "home", env=settings) as stack:
        yield stack


@pytest.fixture(scope="package")
def http() -> Iterator[httpx.Client]:
    with plain_http() as http:
        yield http


@pytest.fixture(scope="package")
def _members(stack: Stack, http: httpx.Client) -> Iterator[Member]:
    return join(stack, http, 120)


@pytest.fixture
def member(_members: Iterator[Member]) -> Iterator[Member]:
    """A new workspace, whose ledger holds nothing but the signup grant."""
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

"""One stack whose parts are broken, one after another. It must work again each time."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from stack.harness import Stack
from tests.fakes.receivers import Receiver, Receivers
from tests.integration.driving import Member, join, plain_http, runner_status
from tests.patience import until
from tests.template import running_stack

LEASE_WAIT = 5
STUCK_AFTER = 2 * LEASE_WAIT
MOST_BROWSERS = 3
SETTINGS = {
    "BROWSA_POOL_SIZE": "1",
    "BROWSA_MAX_BROWSERS": str(MOST_BROWSERS),
    "BROWSA_LEASE_WAIT_SECONDS": str(LEASE_WAIT),
    "BROWSA_RATE_LIMITS": "off",
}


@pytest.fixture(scope="package")
def http() -> Iterator[httpx.Client]:
    with plain_http() as http:
        yield http


@pytest.fixture(scope="package")
def shop() -> Iterator[Receiver]:
    """A receiver of webhooks that the stack may send to."""
    with Receivers() as receivers:
        yield receivers.answering(200)


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, shop: Receiver) -> Iterator[Stack]:
    env = {**SETTINGS, "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{shop.port}"}
    with running_stack(tmp_path_factory.mktemp("agents") / "home", env=env) as stack:
        yield stack


@pytest.fixture(scope="package")
def _members(stack: Stack, http: httpx.Client) -> Iterator[Member]:
    return join(stack, http, 40)


@pytest.fixture
def member(_members: Iterator[Member]) -> Iterator[Member]:
    member = next(_members)
    until(lambda: runner_status(member.stack)["warm"] >= 1, what="a warm browser")
    yield member
    member.leave()

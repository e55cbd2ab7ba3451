"""A stack for each file here. Its workers, browsers and Redis are killed while tasks run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.harness import Stack
from tests.fakes.model import ScriptedModel
from tests.fakes.receivers import Receiver, Receivers
from tests.fakes.site import Site
from tests.faults.tasks.errands import SIGNUP, lay_out
from tests.faults.tasks.workers import Workers
from tests.integration.driving import Member, join, plain_http
from tests.integration.tasks.giving import Tasks, tasks_of
from tests.template import running_stack

CLAIM_SECONDS = 4


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def model(site: Site) -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        lay_out(site, model)
        yield model


@pytest.fixture(scope="module")
def shop() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with Receivers() as receivers:
        yield receivers.answering(200)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """Where all processes of the stack put what is temporary, or whatever else they think of."""
    path = Path(tempfile.mkdtemp(prefix="bt-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, site: Site, model: ScriptedModel, shop: Receiver, scratch: Path
) -> Iterator[Stack]:
    env = {
        "BROWSA_POOL_SIZE": "2",
        "BROWSA_RATE_LIMITS": "off",
        "BROWSA_JOB_CLAIM_SECONDS": str(CLAIM_SECONDS),
        "BROWSA_ALLOW_ADDRESSES": ",".join(f"127.0.0.1:{one.port}" for one in (site, model, shop)),
        "SIGNUP_CREDITS": str(SIGNUP),
        "TMPDIR": str(scratch),
        # Where its sockets are, and where this process looks for them.
        "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(),
        "XDG_CONFIG_HOME": str(scratch / "config"),
    }
    with running_stack(tmp_path_factory.mktemp("tasks") / "home", env=env) as stack:
        yield stack


@pytest.fixture(scope="module")
def workers(stack: Stack) -> Iterator[Workers]:
    with Workers(stack) as workers:
        yield workers


@pytest.fixture(scope="module")
def _members(stack: Stack) -> Iterator[Iterator[Member]]:
    with plain_http() as http:
        yield join(stack, http, 12)


@pytest.fixture
def tasks(member: Member, model: ScriptedModel, site: Site) -> Iterator[Tasks]:
    with tasks_of(member, model, site) as tasks:
        yield tasks

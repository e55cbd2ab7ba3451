"""The servers and the cast that every test may use.

Postgres and Redis are real: those of DATABASE_URL and REDIS_URL, or embedded ones for the length of the run, for each
process that runs tests its own; they start once the tests are collected. The settings are read once, here, and the
environment is put back as it was: tests that start stacks of their own must not inherit this run's.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import certifi
import pytest
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from xdist.workermanage import WorkerController

from stack import postgres, redis
from stack.home import locate
from stack.servers import embedded_servers
from tests import template
from tests.cast import Member, delete_what_was_committed, join
from tests.dealing import pytest_collection_modifyitems, pytest_xdist_auto_num_workers, pytest_xdist_make_scheduler
from tests.fakes.runner import FakeRunner

__all__ = ["pytest_collection_modifyitems", "pytest_xdist_auto_num_workers", "pytest_xdist_make_scheduler"]

RUNNER_TOKEN = "the runner's token in tests"
HOME = pytest.StashKey[Path]()
TEMPLATE = "template"

_running = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    place = Path(tempfile.mkdtemp(prefix="browsa-tests-"))
    _running.callback(shutil.rmtree, place, ignore_errors=True)
    config.stash[HOME] = home = place / "home"
    if not _brought():
        os.environ.setdefault("SSL_CERT_FILE", str(one_authority(place)))
    if _deals(config):  # this process runs no tests
        if not _brought():
            _running.enter_context(template.begun(home))
        return
    home.mkdir(mode=0o700)
    gc.disable()  # what is imported stays: looking through it for garbage is a tenth of all the work
    with mock.patch.dict(os.environ, _environment(home), clear=True):
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow by design


def pytest_configure_node(node: WorkerController) -> None:
    if not _brought():
        node.workerinput[TEMPLATE] = str(node.config.stash[HOME])


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()
    config = session.config
    if _deals(config) or _brought() or config.getoption("collectonly"):
        return
    made = getattr(config, "workerinput", {}).get(TEMPLATE)
    if made:
        template.use(Path(made))
        template.copy_databases(config.stash[HOME])
        connection.settings_dict["TEST"]["TEMPLATE"] = template.MIGRATED
    _running.enter_context(embedded_servers(config.stash[HOME], durable=False))


def pytest_unconfigure(config: pytest.Config) -> None:
    _running.close()


def one_authority(place: Path) -> Path:
    """A file with one of all the authorities that a machine trusts.

    No test needs any of them, and each of a run's hundred processes that import aiohttp would read them all first.
    """
    end = "-----END CERTIFICATE-----\n"
    (file := place / "authority.pem").write_text(certifi.contents().partition(end)[0] + end)
    return file


def _deals(config: pytest.Config) -> bool:
    """Whether other processes run the tests (pytest-xdist)."""
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


def _brought() -> bool:
    """Whether both servers are there already."""
    return bool(os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))


def _environment(home: Path) -> dict[str, str]:
    at = locate(home)
    urls = {} if _brought() else {"DATABASE_URL": postgres.url(at), "REDIS_URL": redis.url(at)}
    ours = ("BROWSA_", "EGRESS_", "SIGNUP_", "STRIPE_", "CREDIT_", "RENEWAL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **kept,
        **urls,
        "DJANGO_SETTINGS_MODULE": "browsa.settings",
        "BROWSA_HOME": str(home),
        "BROWSA_SECRET_KEY": "a key for tests only, without value",
        "BROWSA_RUNNER_TOKEN": RUNNER_TOKEN,
        "BROWSA_RATE_LIMITS": "off",  # tests ask faster than clients; those of the limits switch them on
        "BROWSA_RUNNER_URL": f"unix:{home}/runner.sock",
        "EGRESS_COUNTRIES": '{"us": "direct", "de": "direct"}',
    }


@pytest.fixture(scope="session")
def _fake_runner() -> Iterator[FakeRunner]:
    with FakeRunner(Path(settings.RUNNER_URL.removeprefix("unix:"))) as runner:
        yield runner


@pytest.fixture
def runner(_fake_runner: FakeRunner) -> FakeRunner:
    """A runner that leases at once, unless the test tells it otherwise."""
    _fake_runner.reset()
    return _fake_runner


@pytest.fixture
def alice(db: None) -> Member:
    """Owns a workspace with 100 credits."""
    return join("alice")


@pytest.fixture
def bob(db: None) -> Member:
    """An outsider: another workspace, another key."""
    return join("bob")


@pytest.fixture(scope="session", autouse=True)
def _what_was_committed_is_deleted_between_tests() -> Iterator[None]:
    """Django would truncate every table and write content types and permissions again, which takes most of the test."""
    with mock.patch.object(TransactionTestCase, "_fixture_teardown", lambda case: delete_what_was_committed()):
        yield

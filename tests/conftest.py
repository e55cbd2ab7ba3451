"""The servers and the cast that every test may use.

Postgres and Redis are real: those of DATABASE_URL and REDIS_URL, or embedded ones for the length of the run. The
settings are read once, here, and the environment is put back as it was: tests that start stacks of their own must
not inherit this run's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest

_running = ExitStack()
_home = Path(tempfile.mkdtemp(prefix="browsa-tests-"))
_running.callback(shutil.rmtree, _home, ignore_errors=True)

RUNNER_TOKEN = "the runner's token in tests"


def _environment() -> dict[str, str]:
    database, redis = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if not (database and redis):
        from browsa.stack.servers import embedded_servers

        urls = _running.enter_context(embedded_servers(_home, durable=False))
        database, redis = urls.database, urls.redis
    ours = ("BROWSA_", "EGRESS_", "SIGNUP_", "STRIPE_", "CREDIT_", "RENEWAL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "browsa.settings",
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        "BROWSA_HOME": str(_home),
        "BROWSA_SECRET_KEY": "a key for tests only, of no worth to anybody",
        "BROWSA_RUNNER_TOKEN": RUNNER_TOKEN,
        "BROWSA_RATE_LIMITS": "off",  # tests ask faster than clients; those of the limits switch them on
        "BROWSA_RUNNER_URL": f"unix:{_home}/runner.sock",
        "EGRESS_COUNTRIES": '{"us": "direct", "de": "direct"}',
    }


with mock.patch.dict(os.environ, _environment(), clear=True):
    from django.conf import settings as _settings

    _settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow by design


def pytest_unconfigure(config: pytest.Config) -> None:
    _running.close()


from django.test import TransactionTestCase  # noqa: E402  needs the settings, as do those below

from tests.cast import Member, empty_database, join  # noqa: E402
from tests.fakes.runner import FakeRunner  # noqa: E402


@pytest.fixture(scope="session")
def _fake_runner() -> Iterator[FakeRunner]:
    with FakeRunner(Path(_settings.RUNNER_URL.removeprefix("unix:"))) as runner:
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
    """Django would TRUNCATE every table, and write content types and permissions anew: most of such a test's time."""
    with mock.patch.object(TransactionTestCase, "_fixture_teardown", lambda case: empty_database()):
        yield

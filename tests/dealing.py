"""Who runs which tests, when a whole run is dealt out to several processes (pytest-xdist).

A group is run by one process, in order: a file, or files that share a stack or what takes long to import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling

HURT, SHARED = "one stack that is hurt", "one stack that is not"
PROVIDERS = "the providers' own clients, and browser-use"
TOGETHER = {
    "tests/integration/surviving/": HURT,
    "tests/integration/agents/": SHARED,
    "tests/integration/tasks/": SHARED,
    "tests/integration/jobs/test_pages.py": SHARED,
    "tests/jobs/tasks/llm/test_transport.py": PROVIDERS,
    "tests/runner/test_clients.py": PROVIDERS,
    "tests/test_scripted_model": PROVIDERS,
}
# The longest first, so that no process has much left when the others are done. What isn't named comes after them.
FIRST = (
    "tests/integration/tasks_hurt/test_killed_workers.py",
    HURT,
    "tests/integration/tasks_hurt/test_outliving.py",
    "tests/integration/tasks_hurt/test_keys_stay_secret.py",
    "tests/integration/tasks_hurt/test_no_growth.py",
    "tests/runner/test_leases.py",
    "tests/integration/jobs/test_faults.py",
    SHARED,
    "tests/integration/test_stack.py",
    "tests/webhooks/test_fairness.py",
    "tests/runner/test_process.py",
    "tests/runner/live/test_input.py",
    "tests/runner/live/test_watching.py",
    "tests/runner/live/test_door.py",
    "tests/billing/test_under_load.py",
    "tests/runner/test_identity.py",
    "tests/runner/test_network.py",
    "tests/runner/test_host_secrets.py",
    "tests/runner/test_gateway.py",
    "tests/runner/test_pages.py",
    "tests/integration/test_readme.py",
    "tests/core/test_idempotency_crashes.py",
    "tests/jobs/waiting/test_streams.py",
    PROVIDERS,
)


def group(nodeid: str) -> str:
    path = nodeid.partition("::")[0]
    return next((name for start, name in TOGETHER.items() if path.startswith(start)), path)


def turn(nodeid: str) -> int:
    of = group(nodeid)
    return FIRST.index(of) if of in FIRST else len(FIRST)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are processors, since much of the time goes by waiting.

    Whoever chooses tests, or brings servers of their own, has one process, which starts faster.
    """
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or any(
        config.getoption(name, None) for name in ("keyword", "markexpr", "lf", "failedfirst", "collectonly")
    )
    if chosen or os.environ.get("DATABASE_URL") or os.environ.get("REDIS_URL"):
        return 0
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


class ByGroup(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByGroup:
    config.option.loadscopereorder = False  # the order of the collection is the one we want
    return ByGroup(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    yield
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: turn(item.nodeid))

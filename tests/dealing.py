"""Who runs which tests, when a whole run is dealt out to several processes (pytest-xdist).

A group is run by one process, in order: a file, or files that share a stack or what takes long to import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling

STACK, TASKS = "the shared stack", "the stack of tasks"
RUNNER, SECOND, PAGES = "the shared runner", "a second shared runner", "the runner of pages"
PROVIDERS = "the providers' own clients"
TOGETHER = {
    "tests/integration/tasks/": TASKS,
    "tests/integration/": STACK,
    "tests/runner/live/": SECOND,
    "tests/runner/peers/": SECOND,
    "tests/runner/pages/": PAGES,
    "tests/runner/test_upstreams.py": "tests/runner/test_upstreams.py",  # has another runner
    "tests/runner/test_": RUNNER,
    "tests/jobs/tasks/llm/test_transport.py": PROVIDERS,
    "tests/scripted_model/": PROVIDERS,
}
# The longest first, so that no process has much left when the others are done. What isn't named comes after them.
FIRST = (
    "tests/faults/jobs/test_mixed_jobs.py",
    "tests/faults/stack/test_stack.py",
    RUNNER,
    TASKS,
    STACK,
    SECOND,
    PAGES,
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

    A run of chosen tests, or one with its own servers, has one process, which starts faster.
    """
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or any(
        config.getoption(name, None) for name in ("keyword", "lf", "failedfirst", "collectonly")
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

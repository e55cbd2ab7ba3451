"""Two hundred mixed jobs while all around them is killed, stopped and emptied: none is lost, none is paid twice."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from stack.harness import Stack, running_stack
from tests.fakes.site import Site, html
from tests.integration.driving import Database, adds_up, answers, manage, verify_ledger
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

SEED = 20261121
CLAIM_SECONDS = 2
HURTS = 10
TERMINAL = {"completed", "failed", "cancelled"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        for number in range(6):
            links = "".join(f"<a href='/f{other}'>{other}</a>" for other in range(6))
            site.pages[f"/f{number}"] = lambda query, links=links: html(f"<title>Page</title><p>Text</p>{links}")
        yield site


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stack]:
    env = {
        "BROWSA_POOL_SIZE": "1",
        "BROWSA_RATE_LIMITS": "off",
        "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{site.port}",
        "BROWSA_JOB_CLAIM_SECONDS": str(CLAIM_SECONDS),
        "SIGNUP_CREDITS": "10000",
    }
    with running_stack(tmp_path_factory.mktemp("faults") / "home", env=env) as stack:
        yield stack


def mixed(site: Site, chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """Two hundred calls in a seeded order."""

    def url() -> str:
        return site.url(f"/f{chance.randrange(6)}")

    calls: list[tuple[str, dict[str, Any]]] = []
    calls += [("scrape", {"url": url(), "async": True, "formats": ["text"]}) for _ in range(130)]
    calls += [("scrape", {"url": url(), "formats": ["text"]}) for _ in range(20)]
    calls += [("extract", {"url": url(), "async": True, "prompt": "the title"}) for _ in range(25)]
    calls += [("screenshot", {"url": url(), "async": True, "full_page": False}) for _ in range(10)]
    calls += [("batch", {"urls": [url() for _ in range(4)], "formats": ["text"]}) for _ in range(10)]
    calls += [("crawl", {"url": url(), "max_pages": 4, "formats": ["text"]}) for _ in range(5)]
    chance.shuffle(calls)
    return calls


def insist(http: httpx.Client, key: str, path: str, body: dict[str, Any]) -> httpx.Response:
    """Repeats a call, as a client would, until it has an answer that is not about the moment."""

    def answer() -> httpx.Response | None:
        with contextlib.suppress(httpx.TransportError):
            got = http.post(f"/v1/quick/{path}", json=body, headers={"Idempotency-Key": key})
            return None if got.status_code in (409, 503) else got
        return None

    return until(answer, 600, what=f"an answer to {path}")


class Hurting(threading.Thread):
    """Hurts the stack in a seeded order, some seconds of work apart."""

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        super().__init__()
        self.done: list[str] = []
        self._stack = stack
        self._chance = chance
        self._pause = threading.Event()

    def run(self) -> None:
        ways = [
            "kill worker",
            "kill api",
            "kill runner",
            "stop worker",
            "stop api",
            "stop runner",
            "flush",
            "kill redis",
        ]
        order = [*ways, *self._chance.choices(ways, k=max(0, HURTS - len(ways)))]
        self._chance.shuffle(order)
        for way in order:
            self._pause.wait(self._chance.uniform(0.5, 2.0))
            what, _, name = way.partition(" ")
            until(functools.partial(self._hurt, what, name), what=way)
            self.done.append(way)

    def _hurt(self, what: str, name: str) -> bool:
        """False while the process is not back from the last time."""
        with contextlib.suppress(ProcessLookupError, KeyError, redis.RedisError):
            if what == "flush":
                url = json.loads((self._stack.home / "stack.json").read_text())["REDIS_URL"]
                with contextlib.closing(redis.Redis.from_url(url)) as client:
                    client.flushall()
            elif what == "kill":
                os.kill(self._stack.pids[name], signal.SIGKILL)
            else:
                pid = self._stack.pids[name]
                os.kill(pid, signal.SIGSTOP)
                self._pause.wait(CLAIM_SECONDS * 2.0)  # until the claim has expired
                os.kill(pid, signal.SIGCONT)
            return True
        return False


def test_two_hundred_jobs_outlive_whatever_happens_around_them(stack: Stack, site: Site) -> None:
    chance = random.Random(SEED)  # noqa: S311 (a seed, not a secret)
    calls = mixed(site, chance)
    hurting = Hurting(stack, random.Random(SEED + 1))  # noqa: S311
    headers = {"X-API-Key": stack.api_key}
    limits = httpx.Limits(max_connections=12)
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=PATIENCE, limits=limits) as http:
        hurting.start()
        with ThreadPoolExecutor(6) as threads:
            replies = list(threads.map(lambda item: insist(http, f"fault-{item[0]}", *item[1]), enumerate(calls)))
        hurting.join()
        assert len(hurting.done) == HURTS

        database = Database(stack)
        until(
            lambda: not database.rows("SELECT id FROM jobs_job WHERE status NOT IN ('completed','failed','cancelled')"),
            600,
            what="the end of every job",
        )
        until(lambda: answers(stack, "/readyz"), what="readiness")  # the last that was hurt
        jobs = database.rows("SELECT id, status, kind, credits_charged, progress_done FROM jobs_job")
        assert len(jobs) == len(calls), "a repeat of a key made a second job, or a job was lost"
        assert manage(stack, "verify_jobs") == "Every job is what its events say.\n"
        verify_ledger(stack)

        # What was captured for a job is what it says, and no page of it was paid for twice.
        captured = database.rows(
            "SELECT job_id, -sum(amount) AS credits FROM billing_ledgerentry WHERE kind = 'capture' GROUP BY job_id"
        )
        charged = {str(row["job_id"]): int(row["credits"]) for row in captured}
        assert charged == {str(job["id"]): job["credits_charged"] for job in jobs if job["credits_charged"]}
        most = {"batch": 4, "crawl": 4}
        assert all(job["credits_charged"] <= most.get(job["kind"], 1) for job in jobs)
        assert not database.rows("SELECT id FROM billing_hold WHERE status = 'open' AND job_id IS NOT NULL")
        assert database.rows("SELECT count(*) AS n FROM billing_hold WHERE job_id IS NOT NULL")[0]["n"] == len(calls)

        finished = [job for job in jobs if job["status"] == "completed"]
        assert len(finished) >= 0.9 * len(jobs), f"only {len(finished)} completed"
        assert all(job["credits_charged"] >= 1 for job in finished)
        good = [reply for reply in replies if reply.status_code in (200, 202)]
        assert len(good) >= 0.9 * len(replies)
        entries: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = http.get(f"/v1/credits/ledger?limit=200{cursor}").json()
            entries += page["entries"]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
    balance, held = adds_up(list(reversed(entries)))
    assert (balance, held) == (10_000 - sum(charged.values()), 0)

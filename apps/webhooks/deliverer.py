"""The deliverer of a worker process: one event loop on its own thread, and two threads for the database.

Hints on Redis name endpoints that have due deliveries. Once a second the deliverer also polls the database, so without
Redis (and without beat) deliveries are a second later. Claims and outcomes go to the database in batches: one claim
for all lanes that have capacity, and one statement for the outcomes that have gathered.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

import uvloop
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from apps.core.database_threads import DatabaseThreads
from apps.core.hints import listen
from apps.core.outgoing.client import Channel, OutgoingClient
from apps.webhooks import selectors
from apps.webhooks.attempt import TIMEOUT_SECONDS, attempt
from apps.webhooks.lanes import EndpointLane, EndpointLanes, Health
from apps.webhooks.services import delivery_claims
from apps.webhooks.services.delivery_claims import AttemptOutcome, ClaimedDelivery
from apps.webhooks.services.outbox import HINT_CHANNEL, EndpointRef, parse_hint

log = logging.getLogger(__name__)

DATABASE_THREADS = 2  # one records while the other claims
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
# While every lane is busy, outcomes gather for this long: fewer, larger statements.
GATHER_SECONDS = 0.01
# An endpoint's connections close after this long without a delivery. Its lane stays longer if it was failing.
IDLE_SECONDS = 2.0
IDLE_FAILING_SECONDS = 600.0

T = TypeVar("T")


class Deliverer:
    """`start`, then `stop`. `seconds` is the timeout of an attempt."""

    def __init__(self, *, seconds: float = TIMEOUT_SECONDS) -> None:
        self._seconds = seconds
        self._stopping = False
        self._wake = asyncio.Event()  # deliveries may be due, or a lane has capacity again
        self._ended = asyncio.Event()  # an attempt has ended, or all unstarted claims are released
        self._threads = DatabaseThreads(DATABASE_THREADS, "deliverer-db")
        self._thread = threading.Thread(target=self._thread_main, name="deliverer", daemon=True)
        self._reset()

    def _reset(self) -> None:
        """Drops all claims. Their deliveries are due again when the claims expire."""
        self._lanes = EndpointLanes()
        self._channels: dict[EndpointLane, Channel] = {}
        self._outcomes: list[AttemptOutcome] = []
        self._attempts: set[asyncio.Task[None]] = set()
        self._unstarted: list[ClaimedDelivery] = []
        self._released = False

    def start(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread.start()

    def stop(self, *, grace: float) -> None:
        """Stops claiming, waits up to `grace` seconds for running attempts, records their outcomes, and ends."""

        def request_stop() -> None:
            self._stopping = True
            self._wake.set()

        if self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has ended since
                self._loop.call_soon_threadsafe(request_stop)
            self._thread.join(grace)

    def _thread_main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            while not self._stopping:
                try:
                    runner.run(self._run())
                except Exception as error:  # a bug: deliveries must continue
                    log.error("the deliverer failed and restarts", exc_info=error)
                    self._reset()
                    time.sleep(RETRY_SECONDS)
        self._threads.close()

    async def _run(self) -> None:
        """Returns after `stop`. Raises unexpected errors of its loops."""
        self._client = OutgoingClient(allow=settings.ALLOW_ADDRESSES)
        loops = (
            self._record_loop(),
            self._claim_loop(),
            listen(HINT_CHANNEL, lambda message: self._mark_due(list(parse_hint(message)))),
            self._poll_loop(),
        )
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in [*tasks, *self._attempts]:
                task.cancel()
            await asyncio.gather(*tasks, *self._attempts, return_exceptions=True)
            for channel in self._channels.values():
                await channel.close()
            self._client.close()

    async def _record_loop(self) -> None:
        """Records outcomes until, after a stop, none can follow. One statement writes all that have gathered."""
        while not (self._released and not self._lanes.claimed_count and not self._outcomes):
            await self._ended.wait()
            self._ended.clear()
            if not await self._ran_on_database(self._record()):
                self._ended.set()
            await asyncio.sleep(GATHER_SECONDS)

    async def _claim_loop(self) -> None:
        """Separate from recording, so that outcomes never delay due deliveries."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._ran_on_database(self._release_unstarted() if self._stopping else self._claim()):
                self._wake.set()
            if not self._stopping:
                self._start_attempts()
                if not self._lanes.has_starved_lane:
                    await asyncio.sleep(GATHER_SECONDS)

    async def _ran_on_database(self, work: Awaitable[None]) -> bool:
        """Runs `work`. Returns False, after RETRY_SECONDS, when the database refused it."""
        try:
            await work
        except (DatabaseError, InterfaceError) as error:
            log.warning("deliveries wait for the database", extra={"cause": type(error).__name__})
            await asyncio.sleep(RETRY_SECONDS)
            return False
        return True

    async def _record(self) -> None:
        """Keeps outcomes until they are written, or until their claims have expired and they would change no row."""
        if not self._outcomes:
            return
        batch, self._outcomes = self._outcomes, []
        try:
            await self._threads.run(delivery_claims.record, batch)
        except BaseException:
            now = timezone.now()
            self._outcomes = [outcome for outcome in batch if outcome.delivery.until > now] + self._outcomes
            raise

    async def _claim(self) -> None:
        limits = self._lanes.plan_claim()
        if not limits:
            return
        try:
            claimed = await self._threads.run(delivery_claims.claim, limits)
        except BaseException:
            self._lanes.claim_failed(limits)
            raise
        self._lanes.add_claimed(limits, claimed, now=self._loop.time())
        if self._lanes.has_starved_lane or self._stopping:
            self._wake.set()

    async def _release_unstarted(self) -> None:
        """Runs after the last claim. What the database refuses stays in the list for the next try."""
        self._unstarted += self._lanes.take_unstarted()
        if self._unstarted:
            await self._threads.run(delivery_claims.release, self._unstarted)
            self._unstarted.clear()
        self._released = True
        self._ended.set()

    def _start_attempts(self) -> None:
        for lane, claimed in self._lanes.start_ready():
            task = self._loop.create_task(self._deliver(lane, claimed))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _deliver(self, lane: EndpointLane, claimed: ClaimedDelivery) -> None:
        health = None
        try:
            # A claim that expires before the attempt ends may go to another process: such a delivery is not sent here.
            if timezone.now() + delivery_claims.CLAIM_TIME / 3 < claimed.until:
                channel = self._channels.get(lane)
                if channel is None:
                    channel = self._channels[lane] = self._client.channel()
                outcome = await attempt(claimed, channel, allow=settings.ALLOW_ADDRESSES, seconds=self._seconds)
                health = Health.HEALTHY if outcome.delivered else Health.FAILING
                self._outcomes.append(outcome)
        except Exception as error:
            # Nothing is recorded: the delivery is due again when its claim expires.
            log.error("an attempt failed with a bug", extra={"delivery_id": claimed.id}, exc_info=error)
            health = Health.FAILING
        finally:
            self._lanes.finish(lane, health, now=self._loop.time())
            self._ended.set()
            self._wake.set()
            if not self._stopping:
                self._start_attempts()

    async def _poll_loop(self) -> None:
        """Finds due deliveries without a hint: retries, lost hints, claims of a dead worker. Closes idle channels."""
        while True:
            try:
                due = await self._threads.run(selectors.due)
                self._mark_due([(endpoint, workspace) for endpoint, workspace, _ in due])
            except (DatabaseError, InterfaceError) as error:
                log.warning("due deliveries can't be read", extra={"cause": type(error).__name__})
            now = self._loop.time()
            idle_before = now - IDLE_SECONDS
            self._lanes.drop_idle(before=idle_before, failing_before=now - IDLE_FAILING_SECONDS)
            for lane in [lane for lane in self._channels if not lane.in_flight and lane.last_used < idle_before]:
                await self._channels.pop(lane).close()
            await asyncio.sleep(POLL_SECONDS)

    def _mark_due(self, endpoints: list[EndpointRef]) -> None:
        if endpoints and not self._stopping:
            self._lanes.mark_due(endpoints, now=self._loop.time())
            self._wake.set()


@functools.cache
def this_deliverer() -> Deliverer:
    """This process's deliverer."""
    return Deliverer()

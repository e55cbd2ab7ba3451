"""The deliverer of a worker process: one event loop on a thread of its own, and two for the database.

Hints on Redis name endpoints that have something due; once a second it looks for itself, so without Redis (and
without beat) deliveries are a second later. It claims and records as fast as the database answers: what lanes have
room for is claimed together, and outcomes that came meanwhile are recorded together.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import uvloop
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from apps.core.database_threads import DatabaseThreads
from apps.core.hints import listen
from apps.core.outgoing.client import Channel, OutgoingClient
from apps.webhooks import hints, selectors
from apps.webhooks.attempt import TIMEOUT_SECONDS, attempt
from apps.webhooks.hints import Owned
from apps.webhooks.lanes import Lane, Lanes, Standing
from apps.webhooks.services import delivery_claims
from apps.webhooks.services.delivery_claims import Claimed, Outcome

log = logging.getLogger(__name__)

DATABASE_THREADS = 2  # one records while another claims
LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.5
# While every lane is busy outcomes may gather for so long: fewer, larger statements.
GATHER_SECONDS = 0.01
# Connections of an endpoint that has had nothing for so long are closed; that it was failing is remembered for longer.
FORGET_SECONDS = 2.0
FORGET_FAILING_SECONDS = 600.0

T = TypeVar("T")


class Deliverer:
    """`start`, then `stop`. `seconds` is what an attempt may take."""

    def __init__(self, *, seconds: float = TIMEOUT_SECONDS) -> None:
        self._seconds = seconds
        self._stopping = False
        self._wake = asyncio.Event()  # something may be due, or a lane has room again
        self._ended = asyncio.Event()  # an attempt has, or all is given back
        self._threads = DatabaseThreads(DATABASE_THREADS, "deliverer-db")
        self._thread = threading.Thread(target=self._serve, name="deliverer", daemon=True)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forgets what was claimed: it is due again when the lease is over."""
        self._lanes = Lanes()
        self._channels: dict[Lane, Channel] = {}
        self._outcomes: list[Outcome] = []
        self._flights: set[asyncio.Task[None]] = set()
        self._dropped: list[Claimed] = []
        self._given_back = False

    def start(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread.start()

    def stop(self, *, grace: float) -> None:
        """Claims nothing more, lets what flies land within `grace` seconds, records it, and ends."""
        if self._thread.is_alive():
            with suppress(RuntimeError):  # it has ended since
                self._loop.call_soon_threadsafe(self._begin_to_stop)
            self._thread.join(grace)

    def _begin_to_stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            while not self._stopping:
                try:
                    runner.run(self._run())
                except Exception as error:  # a bug: deliveries must go on all the same
                    log.error("the deliverer broke down and begins anew", exc_info=error)
                    self._begin_anew()
                    time.sleep(RETRY_SECONDS)
        self._threads.close()

    async def _run(self) -> None:
        """Until it is told to stop. Raises what nobody foresaw."""
        self._client = OutgoingClient(allow=settings.ALLOW_ADDRESSES)
        works = (self._keep_recording(), self._keep_claiming(), listen(hints.CHANNEL, self._hear), self._look())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in [*tasks, *self._flights]:
                task.cancel()
            await asyncio.gather(*tasks, *self._flights, return_exceptions=True)
            for channel in self._channels.values():
                await channel.close()
            self._client.close()

    async def _keep_recording(self) -> None:
        """Until nothing is held any more. What comes while the database answers is recorded together."""
        while not (self._given_back and not self._lanes.held and not self._outcomes):
            await self._ended.wait()
            self._ended.clear()
            if not await self._reached(self._record()):
                self._ended.set()
            await asyncio.sleep(GATHER_SECONDS)

    async def _keep_claiming(self) -> None:
        """Apart from recording, so that outcomes never hold up what is due."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._reached(self._give_back() if self._stopping else self._claim()):
                self._wake.set()
            if not self._stopping:
                self._take_off()
                if not self._lanes.starving:
                    await asyncio.sleep(GATHER_SECONDS)

    async def _reached(self, work: Awaitable[None]) -> bool:
        """Whether the database could do it; if not, after a moment."""
        try:
            await work
        except (DatabaseError, InterfaceError) as error:
            log.warning("deliveries wait for the database", extra={"cause": type(error).__name__})
            await asyncio.sleep(RETRY_SECONDS)
            return False
        return True

    async def _record(self) -> None:
        """Outcomes stay until they are written, or until their claims have run out and they would change nothing."""
        if not self._outcomes:
            return
        batch, self._outcomes = self._outcomes, []
        try:
            await self._in_thread(lambda: delivery_claims.record(batch))
        except BaseException:
            now = timezone.now()
            self._outcomes = [outcome for outcome in batch if outcome.delivery.until > now] + self._outcomes
            raise

    async def _claim(self) -> None:
        rooms = self._lanes.ask()
        if not rooms:
            return
        try:
            claimed = await self._in_thread(lambda: delivery_claims.claim(rooms))
        except BaseException:
            self._lanes.unanswered(rooms)
            raise
        self._lanes.answer(rooms, claimed, now=self._loop.time())
        if self._lanes.starving or self._stopping:
            self._wake.set()

    async def _give_back(self) -> None:
        """After the last claim, which may bring some more. What can't be given back now is kept for the next try."""
        self._dropped += self._lanes.drop_waiting()
        if self._dropped:
            await self._in_thread(lambda: delivery_claims.give_back(self._dropped))
            self._dropped.clear()
        self._given_back = True
        self._ended.set()

    def _take_off(self) -> None:
        for lane, claimed in self._lanes.take_off():
            flight = self._loop.create_task(self._fly(lane, claimed))
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    async def _fly(self, lane: Lane, claimed: Claimed) -> None:
        standing = None
        try:
            # What has waited for too long may become another's before it is done: it comes again.
            if timezone.now() + delivery_claims.LEASE / 3 < claimed.until:
                channel = self._channels.get(lane)
                if channel is None:
                    channel = self._channels[lane] = self._client.channel()
                outcome = await attempt(claimed, channel, allow=settings.ALLOW_ADDRESSES, seconds=self._seconds)
                standing = Standing.WELL if outcome.delivered else Standing.FAILING
                self._outcomes.append(outcome)
        except Exception as error:
            # Nothing is recorded: it is due again when the lease is over.
            log.error("an attempt broke down", extra={"delivery_id": claimed.id}, exc_info=error)
            standing = Standing.FAILING
        finally:
            self._lanes.land(lane, standing, now=self._loop.time())
            self._ended.set()
            self._wake.set()
            if not self._stopping:
                self._take_off()

    async def _look(self) -> None:
        """Finds what no hint told of: retries, lost hints, what a dead worker had."""
        while True:
            try:
                self._tell([(endpoint, workspace) for endpoint, workspace, _ in await self._in_thread(selectors.due)])
            except (DatabaseError, InterfaceError) as error:
                log.warning("due deliveries can't be looked up", extra={"cause": type(error).__name__})
            await self._tidy(self._loop.time())
            await asyncio.sleep(LOOK_SECONDS)

    async def _tidy(self, now: float) -> None:
        quiet = now - FORGET_SECONDS
        self._lanes.forget(before=quiet, failing_before=now - FORGET_FAILING_SECONDS)
        for lane in [lane for lane in self._channels if not lane.flying and lane.touched < quiet]:
            await self._channels.pop(lane).close()

    def _hear(self, message: bytes) -> None:
        self._tell(list(hints.read(message)))

    def _tell(self, owned: list[Owned]) -> None:
        if owned and not self._stopping:
            self._lanes.tell(owned, now=self._loop.time())
            self._wake.set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._threads, work)


@functools.cache
def this_deliverer() -> Deliverer:
    """The one of this process."""
    return Deliverer()

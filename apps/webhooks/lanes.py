"""Decides which delivery is sent next. Pure: no I/O, and the caller passes the time.

Each endpoint has a lane. The result of a lane's last delivery sets how many of its deliveries may be in flight at once:
HEALTHY_LIMIT after a success, UNPROVEN_LIMIT after a failure or before the first result. All failing lanes together
may use half of TOTAL_LIMIT, the lanes of one workspace WORKSPACE_LIMIT, and lanes are served in rotation. So receivers
that hang delay only their own deliveries.
"""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from enum import Enum

from apps.webhooks.services.delivery_claims import ClaimedDelivery
from apps.webhooks.services.outbox import EndpointRef

HEALTHY_LIMIT = 8
UNPROVEN_LIMIT = 2
PREFETCH = 24  # claimed in advance for a healthy lane, so that it does not wait for the database
WORKSPACE_LIMIT = 64
TOTAL_LIMIT = 512
MAX_CLAIMED = 2000  # claimed and not finished, over all lanes
LANES_PER_CLAIM = 64  # lanes in one claim statement


class Health(Enum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    FAILING = "failing"


class EndpointLane:
    """One endpoint's deliveries in this process. `due`: the database may have more of them."""

    def __init__(self, endpoint_id: uuid.UUID, workspace_id: uuid.UUID, *, now: float) -> None:
        self.endpoint_id = endpoint_id
        self.workspace_id = workspace_id
        self.health = Health.UNKNOWN
        self.waiting: deque[ClaimedDelivery] = deque()
        self.in_flight = 0
        self.requested = 0
        self.due = False
        self.last_used = now

    @property
    def limit(self) -> int:
        return HEALTHY_LIMIT if self.health is Health.HEALTHY else UNPROVEN_LIMIT

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.in_flight or self.due)

    def capacity(self) -> int:
        """How many deliveries to claim now: none until the buffer is half empty, then enough to fill it."""
        ahead = PREFETCH if self.health is Health.HEALTHY else 0
        if len(self.waiting) > ahead // 2:
            return 0
        return max(0, self.limit + ahead - self.in_flight - len(self.waiting))


class EndpointLanes:
    """All lanes of a process."""

    def __init__(
        self,
        *,
        total_limit: int = TOTAL_LIMIT,
        workspace_limit: int = WORKSPACE_LIMIT,
        max_claimed: int = MAX_CLAIMED,
    ) -> None:
        self._total_limit = total_limit
        self._workspace_limit = workspace_limit
        self._max_claimed = max_claimed
        self._lanes: dict[uuid.UUID, EndpointLane] = {}
        # Both are queues: the first lane is served next.
        self._due: dict[uuid.UUID, EndpointLane] = {}  # the database may have due deliveries
        self._ready: dict[uuid.UUID, EndpointLane] = {}  # claimed deliveries may start
        self._in_flight_of: Counter[uuid.UUID] = Counter()  # by workspace
        self.in_flight = 0
        self.claimed_count = 0
        self._failing = 0

    def mark_due(self, endpoints: Iterable[EndpointRef], *, now: float) -> None:
        """These endpoints have due deliveries."""
        for endpoint_id, workspace_id in endpoints:
            lane = self._lanes.get(endpoint_id)
            if lane is None:
                lane = self._lanes[endpoint_id] = EndpointLane(endpoint_id, workspace_id, now=now)
            lane.due = True
            self._due.setdefault(endpoint_id, lane)

    def plan_claim(self) -> dict[uuid.UUID, int]:
        """How many deliveries to claim for each endpoint. Call `add_claimed` or `claim_failed` with the result."""
        limits: dict[uuid.UUID, int] = {}
        free = self._max_claimed - self.claimed_count
        for endpoint_id, lane in list(self._due.items()):
            if len(limits) == LANES_PER_CLAIM or free <= 0:
                break
            capacity = min(lane.capacity(), free)
            if capacity > 0:
                limits[endpoint_id] = lane.requested = capacity
                free -= capacity
                self._due[endpoint_id] = self._due.pop(endpoint_id)  # to the end of the queue
                lane.due = False  # a hint during the claim sets it again
        return limits

    @property
    def has_starved_lane(self) -> bool:
        """Whether a lane has nothing in flight although the database may have deliveries for it."""
        idle = any(lane.in_flight == 0 for lane in self._due.values() if lane.capacity())
        return self.claimed_count < self._max_claimed and idle

    def add_claimed(self, limits: Iterable[uuid.UUID], claimed: Iterable[ClaimedDelivery], *, now: float) -> None:
        """The result of a claim. A lane that got less than it requested has no more, unless a hint came during it."""
        for delivery in claimed:
            lane = self._lanes[delivery.endpoint_id]
            lane.waiting.append(delivery)
            lane.requested -= 1
            lane.last_used = now
            self.claimed_count += 1
            self._ready.setdefault(lane.endpoint_id, lane)
        for endpoint_id in limits:
            lane = self._lanes[endpoint_id]
            lane.due = lane.due or lane.requested == 0
            lane.requested = 0
            if not lane.due:
                self._due.pop(endpoint_id, None)

    def claim_failed(self, limits: Iterable[uuid.UUID]) -> None:
        """The claim did not reach the database: the lanes stay due."""
        for endpoint_id in limits:
            self._lanes[endpoint_id].due = True
            self._lanes[endpoint_id].requested = 0

    def start_ready(self) -> Iterator[tuple[EndpointLane, ClaimedDelivery]]:
        """The deliveries that may be sent now. Each counts as in flight until `finish`."""
        skipped = 0
        while self.in_flight < self._total_limit and skipped < len(self._ready):
            endpoint_id, lane = next(iter(self._ready.items()))
            del self._ready[endpoint_id]
            if not lane.waiting or lane.in_flight >= lane.limit:
                continue  # `finish` or `add_claimed` adds it again
            self._ready[endpoint_id] = lane  # to the end of the queue
            workspace_full = self._in_flight_of[lane.workspace_id] >= self._workspace_limit
            failing_full = lane.health is Health.FAILING and self._failing >= self._total_limit // 2
            if workspace_full or failing_full:
                skipped += 1
                continue
            skipped = 0
            delivery = lane.waiting.popleft()
            lane.in_flight += 1
            self.in_flight += 1
            self._in_flight_of[lane.workspace_id] += 1
            self._failing += lane.health is Health.FAILING
            yield lane, delivery

    def finish(self, lane: EndpointLane, health: Health | None, *, now: float) -> None:
        """A delivery is no longer in flight. `health`: what its result shows; None: it was not sent."""
        if lane.health is Health.FAILING:
            self._failing -= lane.in_flight
        lane.in_flight -= 1
        lane.health = health or lane.health
        if lane.health is Health.FAILING:
            self._failing += lane.in_flight  # the lane's other deliveries count by its new health
        lane.last_used = now
        self.in_flight -= 1
        self.claimed_count -= 1
        self._in_flight_of[lane.workspace_id] -= 1
        if not self._in_flight_of[lane.workspace_id]:
            del self._in_flight_of[lane.workspace_id]
        if lane.waiting:
            self._ready.setdefault(lane.endpoint_id, lane)

    def drop_idle(self, *, before: float, failing_before: float) -> None:
        """Drops lanes that were last used before that time; failing lanes have their own, earlier limit."""
        idle = [
            lane
            for lane in self._lanes.values()
            if lane.idle and lane.last_used < (failing_before if lane.health is Health.FAILING else before)
        ]
        for lane in idle:
            del self._lanes[lane.endpoint_id]

    def take_unstarted(self) -> list[ClaimedDelivery]:
        """Removes and returns the deliveries that were claimed but not started, so that the claims can be released."""
        unstarted = [delivery for lane in self._lanes.values() for delivery in lane.waiting]
        for lane in self._lanes.values():
            self.claimed_count -= len(lane.waiting)
            lane.waiting.clear()
        return unstarted

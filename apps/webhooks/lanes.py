"""Whose delivery goes next. Decisions only: no I/O, no clock of its own.

Each endpoint has a lane. How many of its deliveries may fly at once depends on how its last one went: a receiver that
has just accepted one gets LIMIT, one of which nothing is known yet or which failed FEW. All failing lanes together get
half of the places, one workspace's lanes PER_WORKSPACE, and lanes take turns. So receivers that hang fill their
own places and nobody else's.
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
PREFETCH = 24  # claimed beforehand for a lane that is doing well, so that it never waits for the database
WORKSPACE_LIMIT = 64
TOTAL_LIMIT = 512
MAX_CLAIMED = 2000  # claimed and not finished, over all lanes
LANES_PER_CLAIM = 64  # lanes in one question to the database


class Health(Enum):
    UNKNOWN = "unknown"
    HEALTHY = "well"
    FAILING = "failing"


class EndpointLane:
    """One endpoint's deliveries in this process. `due`: there may be more in the database."""

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
        """How many to claim now: with a half-empty buffer enough to fill it."""
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
        self._due: dict[uuid.UUID, EndpointLane] = {}  # those with something due in the database, in turn
        self._ready: dict[uuid.UUID, EndpointLane] = {}  # those with something claimed that may fly, in turn
        self._in_flight_of: Counter[uuid.UUID] = Counter()
        self.in_flight = 0
        self.claimed_count = 0
        self._failing = 0

    def mark_due(self, owned: Iterable[EndpointRef], *, now: float) -> None:
        """These endpoints have something due."""
        for endpoint_id, workspace_id in owned:
            lane = self._lanes.get(endpoint_id)
            if lane is None:
                lane = self._lanes[endpoint_id] = EndpointLane(endpoint_id, workspace_id, now=now)
            lane.due = True
            self._due.setdefault(endpoint_id, lane)

    def plan_claim(self) -> dict[uuid.UUID, int]:
        """How many to claim for whom. `answer` must follow."""
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
                lane.due = False  # unless a hint comes in the meantime
        return limits

    @property
    def has_starved_lane(self) -> bool:
        """Whether some lane does nothing, and may have something to do."""
        return self.claimed_count < self._max_claimed and any(
            lane.in_flight == 0 for lane in self._due.values() if lane.capacity()
        )

    def add_claimed(self, limits: Iterable[uuid.UUID], claimed: Iterable[ClaimedDelivery], *, now: float) -> None:
        """What there was. A lane that got less than it asked for has nothing more, unless it was told so meanwhile."""
        for one in claimed:
            lane = self._lanes[one.endpoint_id]
            lane.waiting.append(one)
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
        """The database could not be asked: ask again."""
        for endpoint_id in limits:
            self._lanes[endpoint_id].due = True
            self._lanes[endpoint_id].requested = 0

    def start_ready(self) -> Iterator[tuple[EndpointLane, ClaimedDelivery]]:
        """What may be sent now; each is counted as flying until `land`."""
        for lane in self._turns():
            claimed = lane.waiting.popleft()
            lane.in_flight += 1
            self.in_flight += 1
            self._in_flight_of[lane.workspace_id] += 1
            self._failing += lane.health is Health.FAILING
            yield lane, claimed

    def _turns(self) -> Iterator[EndpointLane]:
        passed = 0
        while self.in_flight < self._total_limit and passed < len(self._ready):
            endpoint_id, lane = next(iter(self._ready.items()))
            del self._ready[endpoint_id]
            if not lane.waiting or lane.in_flight >= lane.limit:
                continue  # `land` or `answer` brings it back
            self._ready[endpoint_id] = lane
            if self._must_wait(lane):
                passed += 1
                continue
            passed = 0
            yield lane

    def _must_wait(self, lane: EndpointLane) -> bool:
        crowded = self._in_flight_of[lane.workspace_id] >= self._workspace_limit
        return crowded or (lane.health is Health.FAILING and self._failing >= self._total_limit // 2)

    def finish(self, lane: EndpointLane, health: Health | None, *, now: float) -> None:
        """One that flew is done. `standing`: how the receiver took it; None: it was not asked."""
        if lane.health is Health.FAILING:
            self._failing -= lane.in_flight
        lane.in_flight -= 1
        lane.health = health or lane.health
        if lane.health is Health.FAILING:
            self._failing += lane.in_flight  # those still in the air count as what their lane has become
        lane.last_used = now
        self.in_flight -= 1
        self.claimed_count -= 1
        self._in_flight_of[lane.workspace_id] -= 1
        if not self._in_flight_of[lane.workspace_id]:
            del self._in_flight_of[lane.workspace_id]
        if lane.waiting:
            self._ready.setdefault(lane.endpoint_id, lane)

    def drop_idle(self, *, before: float, failing_before: float) -> None:
        """Drops lanes that have had nothing to do since; failing ones are remembered for longer."""
        gone = [
            lane
            for lane in self._lanes.values()
            if lane.idle and lane.last_used < (failing_before if lane.health is Health.FAILING else before)
        ]
        for lane in gone:
            del self._lanes[lane.endpoint_id]

    def take_unstarted(self) -> list[ClaimedDelivery]:
        """What was claimed and is not begun: it is to be given back."""
        dropped = [claimed for lane in self._lanes.values() for claimed in lane.waiting]
        for lane in self._lanes.values():
            self.claimed_count -= len(lane.waiting)
            lane.waiting.clear()
        return dropped

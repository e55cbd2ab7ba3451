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

from apps.webhooks.hints import Owned
from apps.webhooks.services.delivery_claims import Claimed

LIMIT = 8
FEW = 2
AHEAD = 24  # claimed beforehand for a lane that is doing well, so that it never waits for the database
PER_WORKSPACE = 64
PLACES = 512
HELD = 2000  # claimed and not finished, over all lanes
ASKED_AT_ONCE = 64  # lanes in one question to the database


class Standing(Enum):
    UNKNOWN = "unknown"
    WELL = "well"
    FAILING = "failing"


class Lane:
    """One endpoint's deliveries in this process. `due`: there may be more in the database."""

    def __init__(self, endpoint_id: uuid.UUID, workspace_id: uuid.UUID, *, now: float) -> None:
        self.endpoint_id = endpoint_id
        self.workspace_id = workspace_id
        self.standing = Standing.UNKNOWN
        self.waiting: deque[Claimed] = deque()
        self.flying = 0
        self.asked = 0
        self.due = False
        self.touched = now

    @property
    def limit(self) -> int:
        return LIMIT if self.standing is Standing.WELL else FEW

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.flying or self.due)

    def room(self) -> int:
        """How many to claim now: with a half-empty buffer enough to fill it."""
        ahead = AHEAD if self.standing is Standing.WELL else 0
        if len(self.waiting) > ahead // 2:
            return 0
        return max(0, self.limit + ahead - self.flying - len(self.waiting))


class Lanes:
    """All lanes of a process."""

    def __init__(self, *, places: int = PLACES, per_workspace: int = PER_WORKSPACE, held: int = HELD) -> None:
        self._places = places
        self._per_workspace = per_workspace
        self._most_held = held
        self._lanes: dict[uuid.UUID, Lane] = {}
        self._hungry: dict[uuid.UUID, Lane] = {}  # those with something due in the database, in turn
        self._ready: dict[uuid.UUID, Lane] = {}  # those with something claimed that may fly, in turn
        self._of_workspace: Counter[uuid.UUID] = Counter()
        self.flying = 0
        self.held = 0
        self._failing = 0

    def tell(self, owned: Iterable[Owned], *, now: float) -> None:
        """These endpoints have something due."""
        for endpoint_id, workspace_id in owned:
            lane = self._lanes.get(endpoint_id)
            if lane is None:
                lane = self._lanes[endpoint_id] = Lane(endpoint_id, workspace_id, now=now)
            lane.due = True
            self._hungry.setdefault(endpoint_id, lane)

    def ask(self) -> dict[uuid.UUID, int]:
        """How many to claim for whom. `answer` must follow."""
        rooms: dict[uuid.UUID, int] = {}
        free = self._most_held - self.held
        for endpoint_id, lane in list(self._hungry.items()):
            if len(rooms) == ASKED_AT_ONCE or free <= 0:
                break
            room = min(lane.room(), free)
            if room > 0:
                rooms[endpoint_id] = lane.asked = room
                free -= room
                self._hungry[endpoint_id] = self._hungry.pop(endpoint_id)  # to the end of the queue
                lane.due = False  # unless a hint comes in the meantime
        return rooms

    @property
    def starving(self) -> bool:
        """Whether some lane does nothing, and may have something to do."""
        return self.held < self._most_held and any(lane.flying == 0 for lane in self._hungry.values() if lane.room())

    def answer(self, rooms: Iterable[uuid.UUID], claimed: Iterable[Claimed], *, now: float) -> None:
        """What there was. A lane that got less than it asked for has nothing more, unless it was told so meanwhile."""
        for one in claimed:
            lane = self._lanes[one.endpoint_id]
            lane.waiting.append(one)
            lane.asked -= 1
            lane.touched = now
            self.held += 1
            self._ready.setdefault(lane.endpoint_id, lane)
        for endpoint_id in rooms:
            lane = self._lanes[endpoint_id]
            lane.due = lane.due or lane.asked == 0
            lane.asked = 0
            if not lane.due:
                self._hungry.pop(endpoint_id, None)

    def unanswered(self, rooms: Iterable[uuid.UUID]) -> None:
        """The database could not be asked: ask again."""
        for endpoint_id in rooms:
            self._lanes[endpoint_id].due = True
            self._lanes[endpoint_id].asked = 0

    def take_off(self) -> Iterator[tuple[Lane, Claimed]]:
        """What may be sent now; each is counted as flying until `land`."""
        for lane in self._turns():
            claimed = lane.waiting.popleft()
            lane.flying += 1
            self.flying += 1
            self._of_workspace[lane.workspace_id] += 1
            self._failing += lane.standing is Standing.FAILING
            yield lane, claimed

    def _turns(self) -> Iterator[Lane]:
        passed = 0
        while self.flying < self._places and passed < len(self._ready):
            endpoint_id, lane = next(iter(self._ready.items()))
            del self._ready[endpoint_id]
            if not lane.waiting or lane.flying >= lane.limit:
                continue  # `land` or `answer` brings it back
            self._ready[endpoint_id] = lane
            if self._must_wait(lane):
                passed += 1
                continue
            passed = 0
            yield lane

    def _must_wait(self, lane: Lane) -> bool:
        crowded = self._of_workspace[lane.workspace_id] >= self._per_workspace
        return crowded or (lane.standing is Standing.FAILING and self._failing >= self._places // 2)

    def land(self, lane: Lane, standing: Standing | None, *, now: float) -> None:
        """One that flew is done. `standing`: how the receiver took it; None: it was not asked."""
        if lane.standing is Standing.FAILING:
            self._failing -= lane.flying
        lane.flying -= 1
        lane.standing = standing or lane.standing
        if lane.standing is Standing.FAILING:
            self._failing += lane.flying  # those still in the air count as what their lane has become
        lane.touched = now
        self.flying -= 1
        self.held -= 1
        self._of_workspace[lane.workspace_id] -= 1
        if not self._of_workspace[lane.workspace_id]:
            del self._of_workspace[lane.workspace_id]
        if lane.waiting:
            self._ready.setdefault(lane.endpoint_id, lane)

    def forget(self, *, before: float, failing_before: float) -> None:
        """Drops lanes that have had nothing to do since; failing ones are remembered for longer."""
        gone = [
            lane
            for lane in self._lanes.values()
            if lane.idle and lane.touched < (failing_before if lane.standing is Standing.FAILING else before)
        ]
        for lane in gone:
            del self._lanes[lane.endpoint_id]

    def drop_waiting(self) -> list[Claimed]:
        """What was claimed and is not begun: it is to be given back."""
        dropped = [claimed for lane in self._lanes.values() for claimed in lane.waiting]
        for lane in self._lanes.values():
            self.held -= len(lane.waiting)
            lane.waiting.clear()
        return dropped

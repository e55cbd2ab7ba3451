"""Whose delivery goes next: decisions without a database or a network."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime

from apps.webhooks.lanes import AHEAD, FEW, LIMIT, Lane, Lanes, Standing
from apps.webhooks.services.delivery_claims import Claimed

NOW = datetime(2026, 6, 9, tzinfo=UTC)
_numbers = itertools.count()


def claimed(endpoint: uuid.UUID, workspace: uuid.UUID) -> Claimed:
    number = uuid.UUID(int=next(_numbers))
    return Claimed(number, number, NOW, endpoint, workspace, "", 0, "evt", "agent.failed", NOW, "{}", ())


class Play:
    """Lanes with a database that always has more."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.flights: list[tuple[Lane, Claimed]] = []

    def endpoint(self, workspace: uuid.UUID | None = None) -> uuid.UUID:
        endpoint, self.workspace = uuid.uuid4(), workspace or uuid.uuid4()
        self.lanes.tell([(endpoint, self.workspace)], now=0)
        return endpoint

    def go_round(self) -> dict[uuid.UUID, int]:
        """Asks, gets all that it asked for, and lets fly what may. Returns what was asked for."""
        rooms = self.lanes.ask()
        owners = {lane.endpoint_id: lane.workspace_id for lane in self.lanes._lanes.values()}
        self.lanes.answer(rooms, [claimed(e, owners[e]) for e, room in rooms.items() for _ in range(room)], now=0)
        self.flights += self.lanes.take_off()
        return rooms

    def flying(self, endpoint: uuid.UUID) -> int:
        return sum(lane.endpoint_id == endpoint for lane, _ in self.flights)

    def land(self, endpoint: uuid.UUID, standing: Standing | None, count: int = 1) -> None:
        for flight in [flight for flight in self.flights if flight[0].endpoint_id == endpoint][:count]:
            self.flights.remove(flight)
            self.lanes.land(flight[0], standing, now=0)


def test_a_receiver_of_which_nothing_is_known_gets_few_at_once_and_one_that_does_well_gets_more() -> None:
    play = Play(Lanes())
    shop = play.endpoint()

    assert play.go_round() == {shop: FEW}
    assert play.flying(shop) == FEW
    play.land(shop, Standing.WELL)
    assert play.go_round() == {shop: LIMIT + AHEAD - 1}
    assert play.flying(shop) == LIMIT


def test_one_that_fails_gets_few_again_and_nothing_beforehand() -> None:
    play = Play(Lanes())
    shop = play.endpoint()
    play.go_round()
    play.land(shop, Standing.WELL, FEW)
    play.go_round()

    play.land(shop, Standing.FAILING, LIMIT)
    play.flights += play.lanes.take_off()

    assert play.flying(shop) == FEW
    assert play.go_round() == {}, "its buffer comes first"


def test_a_lane_is_not_asked_for_again_when_there_was_less_than_it_had_room_for() -> None:
    lanes = Lanes()
    shop, workspace = uuid.uuid4(), uuid.uuid4()
    lanes.tell([(shop, workspace)], now=0)
    rooms = lanes.ask()
    lanes.answer(rooms, [claimed(shop, workspace)], now=0)

    assert lanes.ask() == {}


def test_a_hint_that_comes_while_the_database_answers_is_not_lost() -> None:
    lanes = Lanes()
    shop, workspace = uuid.uuid4(), uuid.uuid4()
    lanes.tell([(shop, workspace)], now=0)
    rooms = lanes.ask()
    lanes.tell([(shop, workspace)], now=0)
    lanes.answer(rooms, [], now=0)

    assert lanes.ask() == {shop: FEW}


def test_failing_receivers_never_have_more_than_half_of_the_places() -> None:
    play = Play(Lanes(places=8))
    sick = [play.endpoint() for _ in range(4)]
    play.go_round()
    for endpoint in sick:
        play.land(endpoint, Standing.FAILING, FEW)
    for _ in range(3):
        play.go_round()
    assert sum(play.flying(endpoint) for endpoint in sick) == 4

    well = play.endpoint()
    play.go_round()

    assert play.flying(well) == FEW


def test_one_workspace_never_has_all_places() -> None:
    play = Play(Lanes(places=100, per_workspace=6))
    crowd = uuid.uuid4()
    many = [play.endpoint(crowd) for _ in range(10)]
    play.go_round()
    other = play.endpoint()
    play.go_round()

    assert sum(play.flying(endpoint) for endpoint in many) == 6
    assert play.flying(other) == FEW
    play.land(next(e for e in many if play.flying(e)), None)
    play.flights += play.lanes.take_off()
    assert sum(play.flying(endpoint) for endpoint in many) == 6


def test_lanes_take_turns_when_places_are_few() -> None:
    play = Play(Lanes(places=1))
    endpoints = [play.endpoint() for _ in range(3)]
    served = []
    for _ in range(6):
        play.go_round()
        ((lane, _),) = play.flights
        served.append(lane.endpoint_id)
        play.land(lane.endpoint_id, Standing.WELL)

    assert {served.count(endpoint) for endpoint in endpoints} == {2}


def test_no_more_is_held_than_may_be() -> None:
    play = Play(Lanes(held=3))
    for _ in range(4):
        play.endpoint()

    assert sum(play.go_round().values()) == 3
    assert play.go_round() == {}
    assert not play.lanes.starving


def test_what_was_not_begun_is_dropped_when_the_worker_stops() -> None:
    play = Play(Lanes(places=1))
    shop = play.endpoint()
    play.go_round()

    assert len(play.lanes.drop_waiting()) == FEW - 1
    play.land(shop, None)
    assert (play.lanes.held, play.lanes.flying) == (0, 0)


def test_idle_lanes_are_forgotten_and_failing_ones_later() -> None:
    play = Play(Lanes())
    lanes = play.lanes
    for standing in (Standing.WELL, Standing.FAILING):
        endpoint = play.endpoint()
        rooms = lanes.ask()
        lanes.answer(rooms, [claimed(endpoint, play.workspace)], now=0)
        play.flights += lanes.take_off()
        play.land(endpoint, standing)

    lanes.forget(before=1, failing_before=-1)
    assert [lane.standing for lane in lanes._lanes.values()] == [Standing.FAILING]
    lanes.forget(before=1, failing_before=1)
    assert not lanes._lanes

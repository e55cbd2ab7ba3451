"""Whose delivery goes next: decisions without a database or a network."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime

from apps.webhooks.lanes import HEALTHY_LIMIT, PREFETCH, UNPROVEN_LIMIT, EndpointLane, EndpointLanes, Health
from apps.webhooks.services.delivery_claims import ClaimedDelivery

NOW = datetime(2026, 6, 9, tzinfo=UTC)
_numbers = itertools.count()


def claimed(endpoint: uuid.UUID, workspace: uuid.UUID) -> ClaimedDelivery:
    number = uuid.UUID(int=next(_numbers))
    return ClaimedDelivery(number, number, NOW, endpoint, workspace, "", False, 0, "evt", "agent.failed", NOW, "{}", ())


class Play:
    """Lanes with a database that always has more."""

    def __init__(self, lanes: EndpointLanes) -> None:
        self.lanes = lanes
        self.in_flight_now: list[tuple[EndpointLane, ClaimedDelivery]] = []

    def endpoint(self, workspace: uuid.UUID | None = None) -> uuid.UUID:
        endpoint, self.workspace = uuid.uuid4(), workspace or uuid.uuid4()
        self.lanes.mark_due([(endpoint, self.workspace)], now=0)
        return endpoint

    def go_round(self) -> dict[uuid.UUID, int]:
        """Asks, gets all that it asked for, and lets fly what may. Returns what was asked for."""
        limits = self.lanes.plan_claim()
        owners = {lane.endpoint_id: lane.workspace_id for lane in self.lanes._lanes.values()}
        self.lanes.add_claimed(
            limits, [claimed(e, owners[e]) for e, capacity in limits.items() for _ in range(capacity)], now=0
        )
        self.in_flight_now += self.lanes.start_ready()
        return limits

    def in_flight(self, endpoint: uuid.UUID) -> int:
        return sum(lane.endpoint_id == endpoint for lane, _ in self.in_flight_now)

    def finish(self, endpoint: uuid.UUID, health: Health | None, count: int = 1) -> None:
        for sent in [sent for sent in self.in_flight_now if sent[0].endpoint_id == endpoint][:count]:
            self.in_flight_now.remove(sent)
            self.lanes.finish(sent[0], health, now=0)


def test_a_new_receiver_gets_few_deliveries_at_once_and_a_healthy_one_gets_more() -> None:
    play = Play(EndpointLanes())
    shop = play.endpoint()

    assert play.go_round() == {shop: UNPROVEN_LIMIT}
    assert play.in_flight(shop) == UNPROVEN_LIMIT
    play.finish(shop, Health.HEALTHY)
    assert play.go_round() == {shop: HEALTHY_LIMIT + PREFETCH - 1}
    assert play.in_flight(shop) == HEALTHY_LIMIT


def test_one_that_fails_gets_few_again_and_nothing_beforehand() -> None:
    play = Play(EndpointLanes())
    shop = play.endpoint()
    play.go_round()
    play.finish(shop, Health.HEALTHY, UNPROVEN_LIMIT)
    play.go_round()

    play.finish(shop, Health.FAILING, HEALTHY_LIMIT)
    play.in_flight_now += play.lanes.start_ready()

    assert play.in_flight(shop) == UNPROVEN_LIMIT
    assert play.go_round() == {}, "its buffer comes first"


def test_a_lane_is_not_asked_for_again_when_there_was_less_than_it_had_room_for() -> None:
    lanes = EndpointLanes()
    shop, workspace = uuid.uuid4(), uuid.uuid4()
    lanes.mark_due([(shop, workspace)], now=0)
    limits = lanes.plan_claim()
    lanes.add_claimed(limits, [claimed(shop, workspace)], now=0)

    assert lanes.plan_claim() == {}


def test_a_hint_that_comes_while_the_database_answers_is_not_lost() -> None:
    lanes = EndpointLanes()
    shop, workspace = uuid.uuid4(), uuid.uuid4()
    lanes.mark_due([(shop, workspace)], now=0)
    limits = lanes.plan_claim()
    lanes.mark_due([(shop, workspace)], now=0)
    lanes.add_claimed(limits, [], now=0)

    assert lanes.plan_claim() == {shop: UNPROVEN_LIMIT}


def test_failing_receivers_never_have_more_than_half_of_the_places() -> None:
    play = Play(EndpointLanes(total_limit=8))
    sick = [play.endpoint() for _ in range(4)]
    play.go_round()
    for endpoint in sick:
        play.finish(endpoint, Health.FAILING, UNPROVEN_LIMIT)
    for _ in range(3):
        play.go_round()
    assert sum(play.in_flight(endpoint) for endpoint in sick) == 4

    well = play.endpoint()
    play.go_round()

    assert play.in_flight(well) == UNPROVEN_LIMIT


def test_one_workspace_never_has_all_places() -> None:
    play = Play(EndpointLanes(total_limit=100, workspace_limit=6))
    crowd = uuid.uuid4()
    many = [play.endpoint(crowd) for _ in range(10)]
    play.go_round()
    other = play.endpoint()
    play.go_round()

    assert sum(play.in_flight(endpoint) for endpoint in many) == 6
    assert play.in_flight(other) == UNPROVEN_LIMIT
    play.finish(next(e for e in many if play.in_flight(e)), None)
    play.in_flight_now += play.lanes.start_ready()
    assert sum(play.in_flight(endpoint) for endpoint in many) == 6


def test_lanes_take_turns_when_places_are_few() -> None:
    play = Play(EndpointLanes(total_limit=1))
    endpoints = [play.endpoint() for _ in range(3)]
    served = []
    for _ in range(6):
        play.go_round()
        ((lane, _),) = play.in_flight_now
        served.append(lane.endpoint_id)
        play.finish(lane.endpoint_id, Health.HEALTHY)

    assert {served.count(endpoint) for endpoint in endpoints} == {2}


def test_no_more_is_held_than_may_be() -> None:
    play = Play(EndpointLanes(max_claimed=3))
    for _ in range(4):
        play.endpoint()

    assert sum(play.go_round().values()) == 3
    assert play.go_round() == {}
    assert not play.lanes.has_starved_lane


def test_what_was_not_begun_is_dropped_when_the_worker_stops() -> None:
    play = Play(EndpointLanes(total_limit=1))
    shop = play.endpoint()
    play.go_round()

    assert len(play.lanes.take_unstarted()) == UNPROVEN_LIMIT - 1
    play.finish(shop, None)
    assert (play.lanes.claimed_count, play.lanes.in_flight) == (0, 0)


def test_idle_lanes_are_forgotten_and_failing_ones_later() -> None:
    play = Play(EndpointLanes())
    lanes = play.lanes
    for health in (Health.HEALTHY, Health.FAILING):
        endpoint = play.endpoint()
        limits = lanes.plan_claim()
        lanes.add_claimed(limits, [claimed(endpoint, play.workspace)], now=0)
        play.in_flight_now += lanes.start_ready()
        play.finish(endpoint, health)

    lanes.drop_idle(before=1, failing_before=-1)
    assert [lane.health for lane in lanes._lanes.values()] == [Health.FAILING]
    lanes.drop_idle(before=1, failing_before=1)
    assert not lanes._lanes

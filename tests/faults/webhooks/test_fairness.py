"""Failing receivers delay no other receiver."""

from __future__ import annotations

import statistics
import time

import pytest

from apps.webhooks.deliverer import Deliverer
from apps.webhooks.lanes import HEALTHY_LIMIT
from apps.webhooks.services import endpoints
from tests.cast import Member, join
from tests.fakes import receivers as tempers
from tests.fakes.receivers import Receiver, Receivers
from tests.webhooks.making import happen, listen, until

ROUNDS = 3
MOST = 1.5  # times the delay among well receivers
EVENTS = 500
HEALTHY = 12
SICK = 8


def median_delay(member: Member, healthy: list[Receiver], others: list[Receiver]) -> float:
    """Seconds from an event to its arrival at a healthy receiver. Every one of them gets every event."""
    listening = []
    for receiver in (*others, *healthy):
        receiver.got.clear()
        listening.append(listen(member, receiver.url()))
    happened = time.time()
    events = set(happen(member, count=EVENTS))
    for receiver in healthy:
        until(lambda receiver=receiver: {got.headers["webhook-id"] for got in receiver.got} >= events, seconds=120)
    for endpoint in listening:  # what is to be tried again must not fall into the next round
        endpoints.delete(workspace_id=member.workspace.id, endpoint_id=endpoint.id)
    return statistics.median(got.at - happened for receiver in healthy for got in receiver.got)


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_ten_thousand_deliveries_of_which_some_go_to_sick_receivers(
    carol: Member, receivers: Receivers, loopback: None
) -> None:
    """500 events for 20 receivers, eight of them sick, and the same with all of them well: as much work, so that only
    sickness can make a difference. In turns: the machine is not the same from one second to the next."""
    healthy = [receivers.answering(200) for _ in range(HEALTHY)]
    well = [receivers.answering(200) for _ in range(SICK)]
    inside = receivers.answering(200)
    sick = [
        *(receivers.new(tempers.slowly(0.5, tempers.status(200))) for _ in range(3)),
        *(receivers.answering(500) for _ in range(3)),
        receivers.new(tempers.hang),
        receivers.answering(302, Location=inside.url()),
    ]
    assert len(sick) == SICK
    ratios = []
    deliverer = Deliverer()
    deliverer.start()
    try:
        for number in range(ROUNDS):
            among_well = median_delay(join(f"well{number}"), healthy, well)
            among_sick = median_delay(join(f"sick{number}"), healthy, sick)
            assert all(receiver.got for receiver in sick)
            print(f"\nmedian delay of healthy receivers: {among_well:.2f} s, among sick ones {among_sick:.2f} s")
            ratios.append(among_sick / among_well)
            if number == 1 and max(ratios) < MOST:
                break  # the median of three is decided
    finally:
        deliverer.stop(grace=0)
        for receiver in sick:
            receiver.temper = tempers.status(200)

    assert statistics.median(ratios) < MOST
    assert inside.got == []


def test_ten_thousand_events_of_one_workspace_do_not_delay_anothers(
    carol: Member, receivers: Receivers, deliverer: None
) -> None:
    holding = tempers.Holding(tempers.status(200), passing=100)
    crowd, shop = receivers.new(holding), receivers.answering(200)
    dave = join("dave")
    listen(carol, crowd.url())
    listen(dave, shop.url())
    happen(carol, count=3000)
    until(lambda: holding.held == HEALTHY_LIMIT)
    begun = len(crowd.got)

    for number in range(1, 4):
        happen(dave)
        shop.wait_for(number)

    came = len(crowd.got)
    holding.let_go()
    assert came == begun < 2900, "none of theirs had to end first"

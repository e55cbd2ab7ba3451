"""Money under load: many threads on one workspace, in every mix, for twenty seconds."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.billing import services
from apps.billing.models import CreditAccount, Hold, LedgerEntry
from apps.billing.services.expired_holds import release_expired
from apps.billing.verification import problems
from apps.core.errors import InsufficientCredit
from tests.cast import Member, at_once, join
from tests.patience import PATIENCE

THREADS = 64
SECONDS = 20.0
ACTS = {"hold", "settle", "top_up", "take", "repeat", "refused"}
NOTHING = services.Source()


@dataclass
class NewRowCounter:
    """What one thread did, by its own account."""

    added: int = 0
    captured: int = 0
    counts: Counter[str] = field(default_factory=Counter)


class Spender:
    """Holds, captures, releases, tops up, adjusts and repeats itself at random; leaves some holds open."""

    def __init__(self, member: Member, number: int) -> None:
        self.workspace_id = member.workspace.id
        self.number = number
        self.dice = random.Random(number)  # noqa: S311
        self.tally = NewRowCounter()
        self.open: list[tuple[str, int]] = []
        self.turn = 0

    def spend(self, done: set[str], is_over: Callable[[], bool]) -> NewRowCounter:
        while not is_over():
            self.turn += 1
            act = self.dice.choices((self.hold, self.settle, self.top_up, self.take, self.repeat), (9, 8, 2, 1, 2))[0]
            try:
                act()
                name = act.__name__
            except InsufficientCredit:
                name = "refused"
            self.tally.counts[name] += 1
            done.add(name)
        return self.tally

    def name(self) -> str:
        return f"{self.number}.{self.turn}"

    def hold(self) -> None:
        amount = self.dice.randint(0, 40)
        services.hold(workspace_id=self.workspace_id, amount=amount, reference=self.name(), source=NOTHING)
        self.open.append((self.name(), amount))

    def settle(self) -> None:
        """A capture, a release, or some of each."""
        if not self.open:
            return
        reference, amount = self.open.pop(self.dice.randrange(len(self.open)))
        used = self.dice.choice((0, amount, self.dice.randint(0, amount)))
        services.settle(workspace_id=self.workspace_id, reference=reference, used=used)
        self.tally.captured += used

    def top_up(self) -> None:
        amount = self.dice.randint(1, 30)
        services.top_up(workspace_id=self.workspace_id, amount=amount, reference=self.name(), description="")
        self.tally.added += amount

    def take(self) -> None:
        amount = self.dice.randint(1, 10)
        services.adjust(workspace_id=self.workspace_id, amount=-amount, reference=self.name(), description="")
        self.tally.added -= amount

    def repeat(self) -> None:
        """Of something that this thread has done, or is doing for the first time: it must count once."""
        reference = f"{self.number}.again.{self.turn // 10}"
        first = not LedgerEntry.objects.filter(workspace_id=self.workspace_id, reference=reference).exists()
        services.top_up(workspace_id=self.workspace_id, amount=3, reference=reference, description="")
        self.tally.added += 3 if first else 0


@pytest.mark.django_db(transaction=True)
def test_sixty_four_threads_on_one_workspace_for_twenty_seconds_stay_in_the_black() -> None:
    alice = join("alice")
    services.top_up(workspace_id=alice.workspace.id, amount=400, reference="start", description="")
    end = time.monotonic() + SECONDS
    lows: list[int] = []
    done: set[str] = set()

    def is_over() -> bool:
        now = time.monotonic()
        return now >= end and (done >= ACTS or now >= end + PATIENCE)

    def act(number: int) -> NewRowCounter:
        if number == THREADS:
            return _watch(alice, is_over, lows)
        return Spender(alice, number).spend(done, is_over)

    tallies = at_once(THREADS + 1, act)

    added, captured = sum(tally.added for tally in tallies), sum(tally.captured for tally in tallies)
    counts: Counter[str] = sum((tally.counts for tally in tallies), Counter())
    balance, held = alice.credits()
    assert balance == 500 + added - captured
    assert held == sum(Hold.objects.filter(status="open").values_list("amount", flat=True))
    assert captured == sum(Hold.objects.filter(status="settled").values_list("captured", flat=True))
    assert 0 <= held <= balance
    assert min(lows) >= 0
    assert list(problems()) == []
    assert min(counts[name] for name in ACTS) > 0, counts
    print(f"{sum(counts.values())} operations, {LedgerEntry.objects.count()} entries: {dict(counts)}")


def _watch(member: Member, is_over: Callable[[], bool], lows: list[int]) -> NewRowCounter:
    """Looks at the account all the while, as a client would."""
    while not (lows and is_over()):
        account = CreditAccount.objects.get(workspace=member.workspace)
        lows += [account.balance, account.held, account.head().available]
        release_expired()
    return NewRowCounter()


@pytest.mark.django_db(transaction=True)
def test_a_repeat_at_the_same_moment_counts_once() -> None:
    alice = join("alice")
    together = threading.Barrier(16)

    def act(number: int) -> None:
        together.wait(PATIENCE)
        services.top_up(workspace_id=alice.workspace.id, amount=10, reference="t", description="")
        services.hold(workspace_id=alice.workspace.id, amount=10, reference="h", source=NOTHING)
        services.settle(workspace_id=alice.workspace.id, reference="h", used=4)

    at_once(16, act)

    assert alice.credits() == (106, 0)
    assert LedgerEntry.objects.filter(workspace=alice.workspace).count() == 5
    assert list(problems()) == []


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_hold_and_its_end_are_two_round_trips_each(prepared: bool, settings: LazySettings) -> None:
    """The lock and what is read under it are one; all that is written is the other."""
    settings.PREPARED_STATEMENTS = prepared
    alice = join("alice")

    def hold_and_settle(reference: str) -> None:
        services.hold(workspace_id=alice.workspace.id, amount=10, reference=reference, source=NOTHING)
        services.settle(workspace_id=alice.workspace.id, reference=reference, used=4)

    hold_and_settle("first")  # prepares the statements
    with CaptureQueriesContext(connection) as asked:
        hold_and_settle("second")

    assert len([query for query in asked if query["sql"] not in ("BEGIN", "COMMIT")]) == 4
    assert alice.credits() == (92, 0)
    assert list(problems()) == []

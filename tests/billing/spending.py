"""Sixty-four threads that spend the credits of one workspace in every way, and what must be true afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from apps.billing import services
from apps.billing.models import CreditAccount, Hold, LedgerEntry
from apps.billing.services.expired_holds import release_expired
from apps.billing.verification import problems
from apps.core.errors import InsufficientCredit
from tests.cast import Member, at_once, join
from tests.patience import PATIENCE

THREADS = 64
ACTS = {"hold", "settle", "top_up", "take", "repeat", "refused"}
NOTHING = services.Source()


@dataclass
class Tally:
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
        self.tally = Tally()
        self.open: list[tuple[str, int]] = []
        self.turn = 0

    def spend(self, done: set[str], is_over: Callable[[], bool]) -> Tally:
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


def spend_and_add_up(seconds: float) -> None:
    alice = join("alice")
    services.top_up(workspace_id=alice.workspace.id, amount=400, reference="start", description="")
    end = time.monotonic() + seconds
    lows: list[int] = []
    done: set[str] = set()

    def is_over() -> bool:
        now = time.monotonic()
        return now >= end and (done >= ACTS or now >= end + PATIENCE)

    def act(number: int) -> Tally:
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


def _watch(member: Member, is_over: Callable[[], bool], lows: list[int]) -> Tally:
    """Looks at the account all the while, as a client would."""
    while not (lows and is_over()):
        account = CreditAccount.objects.get(workspace=member.workspace)
        lows += [account.balance, account.held, account.head().available]
        release_expired()
    return Tally()

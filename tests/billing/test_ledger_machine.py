"""The ledger under random operations against a model of ten lines, on the real database."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from apps.billing import services
from apps.billing.models import CreditAccount, Hold, LedgerEntry
from apps.billing.services.expired_holds import release_expired
from apps.billing.verification import problems
from apps.core.errors import InsufficientCredit
from tests.cast import join

_names = count()
amounts = st.integers(0, 60)
references = st.sampled_from(["a", "b", "c", "d"])


class Model:
    """What the ledger should do: balances, holds that are settled once, references that count once."""

    def __init__(self) -> None:
        self.balance, self.holds, self.seen = 100, dict[str, tuple[int, int | None]](), set[str]()

    def held(self) -> int:
        return sum(amount for amount, captured in self.holds.values() if captured is None)

    def move(self, reference: str, amount: int) -> bool:
        fits = reference in self.seen or self.balance - self.held() + amount >= 0
        if fits and reference not in self.seen:
            self.seen.add(reference)
            self.balance += amount
        return fits

    def hold(self, reference: str, amount: int) -> bool:
        fits = reference in self.holds or amount <= self.balance - self.held()
        if fits:
            self.holds.setdefault(reference, (amount, None))
        return fits

    def settle(self, reference: str, used: int) -> bool:
        amount, captured = self.holds.get(reference, (-1, None))
        if captured is None and 0 <= used <= amount:
            self.holds[reference] = (amount, used)
            self.balance -= used
        return captured is not None or used <= amount


class Ledger(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rolled_back = transaction.atomic()
        self.rolled_back.__enter__()

    def teardown(self) -> None:
        assert list(problems()) == []
        transaction.set_rollback(True)
        self.rolled_back.__exit__(None, None, None)

    @initialize()
    def begin(self) -> None:
        self.model = Model()
        self.workspace_id = join(f"alice {next(_names)}").workspace.id

    @rule(reference=references, amount=st.integers(1, 60))
    def top_up(self, reference: str, amount: int) -> None:
        assert self.model.move(f"t{reference}", amount)
        services.top_up(workspace_id=self.workspace_id, amount=amount, reference=f"t{reference}", description="")

    @rule(reference=references, amount=st.integers(-150, 60).filter(bool))
    def adjust(self, reference: str, amount: int) -> None:
        fits = self.model.move(f"a{reference}", amount)
        self._expect(
            fits,
            lambda: services.adjust(
                workspace_id=self.workspace_id, amount=amount, reference=f"a{reference}", description=""
            ),
        )

    @rule(reference=references, amount=st.integers(1, 150))
    def renew(self, reference: str, amount: int) -> None:
        fits = self.model.move(f"r{reference}", -amount)
        self._expect(
            fits,
            lambda: services.renew(
                workspace_id=self.workspace_id, amount=amount, reference=f"r{reference}", source=services.Source()
            ),
        )

    @rule(reference=references, amount=amounts)
    def hold(self, reference: str, amount: int) -> None:
        fits = self.model.hold(reference, amount)
        self._expect(
            fits,
            lambda: services.hold(
                workspace_id=self.workspace_id, amount=amount, reference=reference, source=services.Source()
            ),
        )

    @rule(reference=references, used=amounts)
    def settle(self, reference: str, used: int) -> None:
        fits = self.model.settle(reference, used)
        self._expect(fits, lambda: services.settle(workspace_id=self.workspace_id, reference=reference, used=used))

    @rule(days=st.sampled_from([0, 2]))
    def sweep(self, days: int) -> None:
        release_expired(now=timezone.now() + timedelta(days=days))
        for reference in list(self.model.holds) if days else ():
            self.model.settle(reference, 0)

    @invariant()
    def the_books_are_as_the_model(self) -> None:
        account = CreditAccount.objects.get(workspace_id=self.workspace_id)
        assert (account.balance, account.held) == (self.model.balance, self.model.held())
        assert account.head().available >= 0
        rows = Hold.objects.filter(workspace_id=self.workspace_id).values_list("reference", "amount", "captured")
        assert {reference: (amount, captured) for reference, amount, captured in rows} == self.model.holds
        assert LedgerEntry.objects.filter(workspace_id=self.workspace_id).count() == account.seq

    def _expect(self, fits: bool, act: object) -> None:
        assert callable(act)
        if fits:
            act()
            return
        with pytest.raises((InsufficientCredit, ValueError, Hold.DoesNotExist)):
            act()


def does_what_its_model_does(examples: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Ledger,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db
def test_the_ledger_does_what_its_model_does() -> None:
    does_what_its_model_does(examples=12)  # many more: tests/faults

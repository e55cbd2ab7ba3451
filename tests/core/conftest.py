"""What tests of the core share: a product that does not mind how quick this machine is."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime

import pytest
from django.conf import settings
from django.utils import timezone

from tests.patience import PATIENCE


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The product's clock, which stands still: ticks are late after four seconds, and so may any test be."""
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    return now


@pytest.fixture
def patient_buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Redis may be slow. With the usual time limit a request would be counted elsewhere, or refused."""
    from apps.core import ratelimit_buckets

    monkeypatch.setattr(ratelimit_buckets, "_TIMEOUT_SECONDS", PATIENCE)
    monkeypatch.setattr(ratelimit_buckets, "_shared", functools.cache(ratelimit_buckets.SharedBuckets))
    yield
    ratelimit_buckets._shared(settings.REDIS_URL).close()

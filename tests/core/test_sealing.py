"""Sealed secrets open with the right key, for what they were sealed for, and not otherwise."""

from __future__ import annotations

import pytest
from django.conf import LazySettings

from apps.core.sealing import Unreadable, seal, unseal

KEYS = {version: bytes([number]) * 32 for number, version in enumerate(("v1", "v2"), start=1)}


def test_a_secret_comes_back(settings: LazySettings) -> None:
    for keys in ({}, KEYS):
        settings.MASTER_KEYS = keys
        sealed = seal(b"secret", context="carol's")

        assert unseal(sealed, context="carol's") == b"secret"
        assert b"secret" not in sealed


def test_the_newest_key_seals_and_the_others_still_open(settings: LazySettings) -> None:
    settings.MASTER_KEYS = {"v1": KEYS["v1"]}
    old = seal(b"old", context="x")
    settings.MASTER_KEYS = {"v2": KEYS["v2"], "v1": KEYS["v1"]}

    assert unseal(old, context="x") == b"old"
    assert seal(b"new", context="x").startswith(b"v2:")


def test_what_was_sealed_before_there_were_master_keys_still_opens(settings: LazySettings) -> None:
    settings.MASTER_KEYS = {}
    sealed = seal(b"secret", context="x")
    settings.MASTER_KEYS = KEYS

    assert unseal(sealed, context="x") == b"secret"


def test_it_opens_nowhere_else(settings: LazySettings) -> None:
    settings.MASTER_KEYS = KEYS
    sealed = seal(b"secret", context="carol's")

    for damaged, context in ((sealed, "mallory's"), (sealed[:-1], "carol's"), (b"v1:", "carol's"), (b"", "carol's")):
        with pytest.raises(Unreadable):
            unseal(damaged, context=context)
    settings.MASTER_KEYS = {"v3": bytes(32)}
    with pytest.raises(Unreadable, match="not configured"):
        unseal(sealed, context="carol's")
    settings.MASTER_KEYS = {"v1": bytes(32)}
    with pytest.raises(Unreadable):
        unseal(sealed, context="carol's")

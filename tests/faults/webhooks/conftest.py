"""Receivers, a workspace and a deliverer, as the other tests of webhooks have them."""

from tests.webhooks.conftest import attempt_seconds, carol, deliverer, loopback, receivers

__all__ = ["attempt_seconds", "carol", "deliverer", "loopback", "receivers"]

"""Signals for other apps, so that accounts imports none of them."""

from django.dispatch import Signal

# Sent with `workspace`, inside the transaction that creates it: a receiver that raises undoes the creation.
workspace_created = Signal()

"""Writes to the ledger. Each has a reference that is unique in its workspace: a repeat returns the first result.

All of them lock the workspace's account first. They may run inside the caller's transaction, so that credits move
together with the work they pay for.
"""

from apps.billing.services.credits import adjust, grant, open_account, refund, renew, top_up
from apps.billing.services.holds import hold, hold_locked, settle
from apps.billing.services.ledger import Source, lock_account

__all__ = [
    "Source",
    "adjust",
    "grant",
    "hold",
    "hold_locked",
    "lock_account",
    "open_account",
    "refund",
    "renew",
    "settle",
    "top_up",
]

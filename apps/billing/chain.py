"""The rules of the ledger: how an entry follows the one before it, and what its hash covers. Pure."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The current end of a workspace's ledger. `held` is the part of `balance` that open holds reserve."""

    seq: int = 0
    balance: int = 0
    held: int = 0
    hash: str = GENESIS

    @property
    def available(self) -> int:
        return self.balance - self.held


@dataclass(frozen=True, slots=True)
class Line:
    """An entry without its place in the chain. `amount` changes the balance, `held_change` the held credits."""

    workspace_id: uuid.UUID
    kind: str
    amount: int
    held_change: int
    reference: str
    description: str
    agent_id: str
    job_id: uuid.UUID | None
    created_at: datetime


def follow(head: LedgerHead, line: Line) -> LedgerHead:
    """The head after `line`. Raises ValueError unless 0 <= held <= balance afterwards."""
    seq, balance, held = head.seq + 1, head.balance + line.amount, head.held + line.held_change
    if not 0 <= held <= balance:
        raise ValueError(f"entry {seq} would leave balance {balance} and held {held}")
    return LedgerHead(seq=seq, balance=balance, held=held, hash=digest(head.hash, line, seq, balance, held))


def digest(previous: str, line: Line, seq: int, balance_after: int, held_after: int) -> str:
    """SHA-256 over the entry and the previous hash, as JSON with sorted keys."""
    content = {
        "workspace": str(line.workspace_id),
        "seq": seq,
        "kind": line.kind,
        "amount": line.amount,
        "held_change": line.held_change,
        "balance_after": balance_after,
        "held_after": held_after,
        "reference": line.reference,
        "description": line.description,
        "agent": line.agent_id,
        "job": str(line.job_id) if line.job_id else None,
        "created_at": line.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "previous": previous,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()

"""The state of the work that a hold pays for. The apps that do the work register a resolver; billing imports none.

The prefix of a hold's reference selects the resolver: for `agent:agt_…` the one registered for `agent`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class WorkState(Enum):
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


Resolver = Callable[[str], WorkState]

_resolvers: dict[str, Resolver] = {}


def register(kind: str, resolve: Resolver) -> None:
    """`resolve` gets the part of a reference after `kind:`. It is called while the workspace's account is locked.

    An app must end its work and settle the hold in one transaction, so that ENDED work has no open hold.
    """
    _resolvers[kind] = resolve


def work_state(reference: str) -> WorkState:
    kind, _, subject = reference.partition(":")
    resolve = _resolvers.get(kind)
    return WorkState.UNKNOWN if resolve is None else resolve(subject)

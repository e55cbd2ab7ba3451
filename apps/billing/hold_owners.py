"""What became of the work that a hold was made for. The apps that do the work know; billing imports none of them.

A hold's reference says who to ask: of `agent:agt_…` the app that registered `agent`.
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
    """`resolve` gets what stands behind `kind:` in a reference. It is asked while the workspace's account is locked.

    Whoever ends work and settles its hold does both in one transaction: then what is OVER has no open hold.
    """
    _resolvers[kind] = resolve


def work_state(reference: str) -> WorkState:
    kind, _, subject = reference.partition(":")
    resolve = _resolvers.get(kind)
    return WorkState.UNKNOWN if resolve is None else resolve(subject)

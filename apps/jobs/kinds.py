"""The kinds of jobs, and the lanes in which workers run them. Pure.

A lane has a queue of its own and so many slots in each worker process: a long job of one lane never keeps a job of
another waiting, and all lanes together leave threads free for beat's ticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["task", "scrape", "extract", "screenshot", "batch", "crawl"]

KINDS: tuple[Kind, ...] = ("task", "scrape", "extract", "screenshot", "batch", "crawl")
BULK: frozenset[Kind] = frozenset({"batch", "crawl"})
# What only reads pages can be done again by anybody; an agent that has acted in the world can not.
IDEMPOTENT: frozenset[Kind] = frozenset(KINDS) - {"task"}


@dataclass(frozen=True, slots=True)
class Lane:
    """`yields`: when its worker is told to stop, its jobs go back to the queue at once instead of being finished."""

    queue: str
    kinds: tuple[Kind, ...]
    slots: int
    yields: bool


DEFAULT = Lane("default", ("scrape", "extract", "screenshot"), slots=6, yields=False)
BATCHES = Lane("bulk", ("batch", "crawl"), slots=6, yields=True)
TASKS = Lane("tasks", ("task",), slots=8, yields=True)

LANES: tuple[Lane, ...] = (DEFAULT, BATCHES, TASKS)
LANE_OF: dict[Kind, Lane] = {kind: lane for lane in LANES for kind in lane.kinds}

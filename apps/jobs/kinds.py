"""The kinds of jobs, and the lanes in which workers run them.

A lane has a queue of its own and so many slots in each worker process: a long job of one lane never keeps a job of
another waiting, and all lanes together leave threads free for beat's ticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.conf import settings

Kind = Literal["task", "scrape", "extract", "screenshot", "batch", "crawl"]

KINDS: tuple[Kind, ...] = ("task", "scrape", "extract", "screenshot", "batch", "crawl")
BULK: frozenset[Kind] = frozenset({"batch", "crawl"})


@dataclass(frozen=True, slots=True)
class Lane:
    """`yields`: when its worker is told to stop, its jobs go back to the queue instead of being finished
    (when it must end at once, those of every lane do).

    `cap`: the setting that says how many of its jobs a workspace may have under way; the others wait in the queue.
    """

    queue: str
    kinds: tuple[Kind, ...]
    slots: int
    yields: bool
    cap: str = ""

    def cap_of_a_workspace(self) -> int | None:
        return int(getattr(settings, self.cap)) if self.cap else None


DEFAULT = Lane("default", ("scrape", "extract", "screenshot"), slots=6, yields=False)
BATCHES = Lane("bulk", ("batch", "crawl"), slots=6, yields=True, cap="BULK_JOBS_PER_WORKSPACE")
TASKS = Lane("tasks", ("task",), slots=32, yields=True, cap="TASKS_PER_WORKSPACE")

LANES: tuple[Lane, ...] = (DEFAULT, BATCHES, TASKS)
LANE_OF: dict[Kind, Lane] = {kind: lane for lane in LANES for kind in lane.kinds}

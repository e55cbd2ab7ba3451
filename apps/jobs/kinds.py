"""The kinds of jobs, and the lanes in which workers execute them.

A lane has a Celery queue of its own and a number of slots in each worker process. So a long job never delays a job of
another lane, and all lanes together leave threads free for beat's ticks.
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
    """`yields`: when its worker stops, running jobs return to the queue instead of being finished. (When the worker
    must stop at once, those of every lane do.)

    `cap`: the name of the setting that limits how many of its jobs a workspace runs at once; others stay queued.
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

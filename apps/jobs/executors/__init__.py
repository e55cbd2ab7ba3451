"""What does the work of each kind of job. Importing it registers them all."""

from __future__ import annotations

from apps.jobs.execution import EXECUTORS
from apps.jobs.executors.batch import batch
from apps.jobs.executors.crawl import crawl
from apps.jobs.executors.single import single
from apps.jobs.executors.task import task

EXECUTORS.update(scrape=single, extract=single, screenshot=single, batch=batch, crawl=crawl, task=task)

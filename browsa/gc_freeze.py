"""No search for garbage while a process starts.

What is imported stays. Python would look through all of it again and again meanwhile, a tenth of the work of a start,
and now and then ever after.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_until_loaded() -> Iterator[None]:
    """What is there at the end of the block is never looked through; with it some thousand objects of garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

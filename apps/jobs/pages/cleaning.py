"""The clean text of a page, for a model to read. Pure."""

from __future__ import annotations

import re

_BLANKS = re.compile(r"[^\S\n]+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def cleaned(text: str, *, max_chars: int) -> str:
    """One space between words, no empty lines, no invisible characters; at most `max_chars` of it."""
    spaced = _BLANKS.sub(" ", _INVISIBLE.sub("", text))
    lines = (line.strip() for line in spaced.splitlines())
    return "\n".join(line for line in lines if line)[:max_chars].rstrip()

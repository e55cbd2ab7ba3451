"""The patterns by which a crawl chooses its pages. Pure.

    *        any number of any characters, `/` too          /blog/*     /blog/2026/a?page=2
    ?        exactly one character                          /p?         /p1
    [ab-d]   one of these characters, [!…] one of the others

A pattern matches the whole of an address, case counts. With `://` in it, it is compared with the canonical URL
(`https://example.com/a?b=c`); else with its path, both with and without the query. A pattern of that kind that begins
neither with `/` nor with `*` is read as if it began with `/`.

`fnmatch.translate` makes a regular expression of it. Each `*` but the last becomes an atomic group, which is never
tried again, so that matching takes time in proportion to pattern times address at worst.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

MAX_LENGTH = 200
MAX_PATTERNS = 20

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))
_SET = re.compile(r"\[!?+(.[^\]]*)\]")  # a `]` that comes first is one of its characters
_RANGE = re.compile("(.)-(.)")


@dataclass(frozen=True, slots=True)
class Glob:
    regex: re.Pattern[str]
    whole_url: bool

    @classmethod
    def parse(cls, pattern: str) -> Glob:
        """Raises ValueError, saying what is wrong with `pattern`."""
        if not pattern:
            raise ValueError("may not be empty")
        if len(pattern) > MAX_LENGTH:
            raise ValueError(f"may have {MAX_LENGTH} characters at most")
        if any(char.isspace() or not char.isprintable() for char in pattern):
            raise ValueError("may not hold spaces or control characters")
        if any(char in "{}\\" for char in pattern):
            raise ValueError(r"may not hold {, } or \: alternatives are patterns of their own")
        whole_url = "://" in pattern
        if not whole_url and pattern[0] not in "/*":
            pattern = "/" + pattern
        # A canonical address is ASCII: what a pattern spells out is written as it is there.
        pattern = quote(pattern, safe=_PRINTABLE)
        # fnmatch takes these two for text that matches, or for a set that never does.
        if "[" in _SET.sub("", pattern):
            raise ValueError("has a [ without its ]")
        for inside in _SET.findall(pattern):
            for low, high in _RANGE.findall(inside):
                if low > high:
                    raise ValueError(f"has a range that runs backwards: {low}-{high}")
        return cls(re.compile(fnmatch.translate(pattern)), whole_url)

    def matches(self, url: str) -> bool:
        """`url` is canonical."""
        if self.whole_url:
            return self.regex.match(url) is not None
        parts = urlsplit(url)
        if self.regex.match(parts.path):
            return True
        return bool(parts.query) and self.regex.match(f"{parts.path}?{parts.query}") is not None


def any_matches(globs: Sequence[Glob], url: str) -> bool:
    return any(glob.matches(url) for glob in globs)

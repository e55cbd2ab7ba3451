"""The patterns by which a crawl chooses its pages. Pure.

    *        any number of any characters, `/` too          /blog/*     /blog/2026/a?page=2
    ?        exactly one character                          /p?         /p1
    [ab-d]   one of these characters, [!…] one of the others

A pattern matches the whole of an address, case counts. With `://` in it, it is compared with the canonical URL
(`https://example.com/a?b=c`); else with its path, both with and without the query. A pattern of that kind that begins
neither with `/` nor with `*` is read as if it began with `/`.

Matching takes time in proportion to pattern times address at worst, whatever the pattern: no regular expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

MAX_LENGTH = 500
MAX_PATTERNS = 100

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class _One:
    """One character: out of `ranges`, or any that is not in them."""

    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = True

    def takes(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) != self.negated


_Token = str | _One | None  # a literal character, one of a set, or None: any number of characters


@dataclass(frozen=True, slots=True)
class Glob:
    tokens: tuple[_Token, ...]
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
        return cls(_tokens(quote(pattern, safe=_PRINTABLE)), whole_url)

    def matches(self, url: str) -> bool:
        """`url` is canonical."""
        if self.whole_url:
            return _matches(self.tokens, url)
        parts = urlsplit(url)
        with_query = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return _matches(self.tokens, with_query) or _matches(self.tokens, parts.path)


def any_matches(globs: Sequence[Glob], url: str) -> bool:
    return any(glob.matches(url) for glob in globs)


def _tokens(pattern: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    rest = pattern
    while rest:
        char, rest = rest[0], rest[1:]
        if char == "[":
            one, rest = _set(rest)
            tokens.append(one)
        elif char == "?":
            tokens.append(_One())
        elif char != "*":
            tokens.append(char)
        elif not tokens or tokens[-1] is not None:
            tokens.append(None)
    return tuple(tokens)


def _set(rest: str) -> tuple[_One, str]:
    """A set and what follows it; `rest` begins after its `[`. A `]` that comes first is one of its characters."""
    negated = rest.startswith("!")
    rest = rest[negated:]
    end = rest.find("]", 1)
    if end < 0:
        raise ValueError("has a [ without its ]")
    inside, ranges = rest[:end], []
    while inside:
        if len(inside) > 2 and inside[1] == "-":
            low, high, inside = inside[0], inside[2], inside[3:]
            if low > high:
                raise ValueError(f"has a range that runs backwards: {low}-{high}")
        else:
            low, high, inside = inside[0], inside[0], inside[1:]
        ranges.append((low, high))
    return _One(tuple(ranges), negated), rest[end + 1 :]


def _matches(tokens: Sequence[_Token], text: str) -> bool:
    """Goes back to the last `*` only: an earlier one could take no more than that one does."""
    at = token = 0
    star = resume = -1
    while at < len(text):
        if token < len(tokens) and tokens[token] is None:
            star, resume, token = token, at, token + 1
        elif token < len(tokens) and _takes(tokens[token], text[at]):
            at, token = at + 1, token + 1
        elif star >= 0:
            resume, token = resume + 1, star + 1
            at = resume
        else:
            return False
    return all(left is None for left in tokens[token:])


def _takes(token: _Token, char: str) -> bool:
    return token.takes(char) if isinstance(token, _One) else token == char

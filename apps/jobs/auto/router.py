"""Which way a task in plain English goes: to a plain scrape, or to an agent with a model. Pure.

The heuristic is the seed's ("Smart router"): one URL, a fetch verb, and none of the interactive verbs. A wrong
scrape would be a wrong answer and a needless agent only costs time, so every doubt goes to the agent.

- Verbs are whole words in any case, with hyphens, marks and full-width letters seen through: "Log-In".
  Inflections of interactive verbs count ("typed", "clicking"), also where they are nouns ("content type").
- What is inside the URL is no verb: `/login`, `?search=`.
- An address without http:// or https:// is no URL to scrape; beside one, it is a second address.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from apps.core.outgoing.urls import web_url
from apps.jobs.pages.canonical import canonical

Via = Literal["scrape", "task"]


@dataclass(frozen=True, slots=True)
class Route:
    """`url` is what to scrape, as it was written; None on the way to an agent."""

    via: Via
    reason: str
    url: str | None = None


def route(text: str) -> Route:
    urls, words = _split(text)
    if not urls:
        return Route("task", "the task names no http:// or https:// URL")
    if len({_sameness(url) for url in urls}) > 1:
        return Route("task", "the task names more than one URL")
    if problem := _doubt(urls[0], words):
        return Route("task", problem)
    if action := _found(_INTERACTIVE, words):
        return Route("task", f"the task is interactive: “{action}”")
    verb = _found(_FETCH, words)
    if verb is None:
        return Route("task", "the task has no fetch verb such as “go to” or “return”")
    return Route("scrape", f"one URL and a fetch verb (“{verb}”), nothing interactive", urls[0])


# Where a URL ends: white space, double quotes, angle brackets, and the punctuation of other scripts.
_URL = re.compile(
    r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s<>\"`\u00ab\u00bb\u2010-\u201f\u2026-\u203a\u3000-\u303f"
    r"\uff01\uff07-\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3b\uff3d\uff5b\uff5d-\uff65]+",
    re.IGNORECASE | re.ASCII,
)
_LISTED = re.compile(r"[,;](?=[a-z]+://)", re.IGNORECASE)
_AFTER = ".,;:!?'*|"
_PAIRS = {")": "(", "]": "[", "}": "{"}
# Scripts that put no space between words: after Latin letters there is no telling where the URL ends.
_GLUED = re.compile(r"[A-Za-z0-9][\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_BARE = re.compile(
    r"(?<![\w.-])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}"
    r"(?:com|org|net|io|dev|app|ai|co|gov|edu|info|biz|xyz|me|tv|shop|store|online|site|tech|cloud|news"
    r"|us|uk|eu|de|fr|nl|es|it|pl|se|ch|at|be|ru|ua|cn|jp|kr|in|br|ca|au|nz|mx|za)(?![\w-]|\.\w)",
    re.IGNORECASE | re.ASCII,
)


def _split(text: str) -> tuple[list[str], str]:
    """The URLs, and the words around them made plain."""
    text = _LISTED.sub(" ", text)
    urls: list[str] = []

    def take(found: re.Match[str]) -> str:
        url = _trimmed(found[0])
        urls.append(url)
        return f" \n {found[0][len(url) :]}"

    return urls, _plain(_URL.sub(take, text))


def _trimmed(url: str) -> str:
    """Without the sentence's punctuation, and without closing brackets that were opened before the URL."""
    surplus = {closing: url.count(closing) - url.count(opening) for closing, opening in _PAIRS.items()}
    end = len(url)
    while end:
        last = url[end - 1]
        if last in _AFTER:
            end -= 1
        elif surplus.get(last, 0) > 0:
            surplus[last] -= 1
            end -= 1
        elif url.endswith("'s", 0, end):
            end -= 2
        else:
            break
    return url[:end]


def _plain(words: str) -> str:
    """Lower case without marks, invisible characters or hyphens; full-width letters become plain ones."""
    letters = unicodedata.normalize("NFKD", words)
    seen = "".join(char for char in letters if unicodedata.category(char) not in ("Mn", "Cf"))
    return re.sub(r"[-_\u2010-\u2015\u2212/]", " ", seen.casefold())


def _sameness(url: str) -> str:
    """A fragment may be another page: many applications route by it."""
    try:
        return f"{canonical(url)}#{urlsplit(url).fragment}"
    except ValueError:
        return url


def _doubt(url: str, words: str) -> str | None:
    """Why `url` may not be the one page that the task means."""
    try:
        web_url(url)
    except ValueError as error:
        return f"the URL {error}"
    if _GLUED.search(url):
        return "it is not clear where the URL ends"
    if "://" in words:
        return "the task names more than one URL"
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    if any(other.removeprefix("www.") != host for other in _BARE.findall(words)):
        return "the task names another address beside the URL"
    return None


def _words(*patterns: str) -> re.Pattern[str]:
    """Each as whole words. Only Latin letters bound a word: other scripts need no space around English."""
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(patterns)})(?![a-z0-9])", re.ASCII)


_GAP = r"(?:[ \t]+[^\s.!?;]+){0,5}?\s+"  # up to five words in between: "search the site for", "sort them all by"

_INTERACTIVE = _words(
    r"click(?:s|ed|ing)?",
    r"typ(?:e|es|ed|ing)",
    r"fill(?:s|ed|ing)?",
    r"submit(?:s|ted|ting)?",
    r"log(?:s|ged|ging)?(?:\s+(?:me|us|you|them|him|her|it|\w+sel(?:f|ves)))?\s*(?:in|into|on|out|off)",
    r"logins?|logons?|logouts?",
    r"sign(?:s|ed|ing)?(?:\s+(?:me|us|you|them|him|her|it|\w+sel(?:f|ves)))?\s*(?:up|in|into|on|out|off)",
    r"signups?|signins?",
    r"scroll(?:s|ed|ing)?",
    r"press(?:es|ed|ing)?",
    r"select(?:s|ed|ing)?",
    r"choos(?:e|es|ing)|chose|chosen",
    r"hover(?:s|ed|ing)?",
    rf"search(?:es|ed|ing)?{_GAP}for",
    r"filter(?:s|ed|ing)?",
    rf"sort(?:s|ed|ing)?{_GAP}by",
    rf"add(?:s|ed|ing)?{_GAP}to(?:\s+(?:the|my|your|our|a|his|her|their|shopping))*\s+(?:cart|basket|bag|trolley)s?",
    r"check(?:s|ed|ing)?\s*outs?",
)
_FETCH = _words(r"go\s*to", "visit", "fetch", "return", "extract", "read", r"navigate\s+to", "open")


def _found(verbs: re.Pattern[str], words: str) -> str | None:
    match = verbs.search(words)
    return None if match is None else " ".join(match[0].split())

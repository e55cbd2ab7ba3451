"""Markdown of a page, by `html-to-markdown`, whose Rust core takes any nesting without recursing to death.

What a browser knows better has been seen to where the page was read (the runner's `flat` format): addresses are
absolute, code is without the numbers of its lines, and text that looks like a mark of Markdown's is escaped. Documents
that are no HTML are Markdown as they are, or a block of code.

It holds the interpreter while it works: 0.3 ms per kilobyte of usual HTML measured here, 1.2 at worst, and up to 160
bytes of memory per byte. So a page of more than INLINE_CHARS is converted in a separate process, with limits
that the kernel enforces: HTML that makes the converter slow does not delay other requests.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from html_to_markdown import ConversionOptions, convert

INLINE_CHARS = 64 * 1024
MAX_INPUT_BYTES = 4 * 1024 * 1024
MAX_CHARS = 2 * 1024 * 1024
MAX_SECONDS = 10
MAX_MEMORY_BYTES = 1024 * 1024 * 1024

_SCRIPT = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({MAX_MEMORY_BYTES}, {MAX_MEMORY_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, ({MAX_SECONDS}, {MAX_SECONDS}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from html_to_markdown import ConversionOptions, convert
html = sys.stdin.buffer.read().decode("utf-8", "replace")
found = convert(html, ConversionOptions(extract_metadata=False)).content or ""
sys.stdout.buffer.write(found[:{MAX_CHARS}].encode("utf-8", "replace"))
"""

PAGES = ("", "text/html", "application/xhtml+xml")
MEDIA = ("image/", "audio/", "video/")

# Stands for a backslash that keeps a character from being a mark of Markdown's; see the runner's `tree.js`.
ESCAPE = "\ufdd0"

# Two conversions at once in each process; more wait in line.
_threads = ThreadPoolExecutor(2, "markdown")


class NoMarkdown(Exception):
    """The page could not be converted; the message says why."""


async def markdown(html: str, *, content_type: str = "text/html") -> str:
    """At most MAX_CHARS of it. Raises NoMarkdown."""
    if content_type not in PAGES and not content_type.startswith(MEDIA):
        return _document(html, content_type)
    work = _here if len(html) <= INLINE_CHARS else _apart
    found = await asyncio.get_running_loop().run_in_executor(_threads, work, html)
    return found.replace(ESCAPE, "\\")


def _document(text: str, content_type: str) -> str:
    """Plain text is taken to be Markdown, which much of it is; what has a syntax of its own is a block of code."""
    language = next((name for name in ("json", "xml") if content_type.endswith(name)), "")
    if not language:
        return text[:MAX_CHARS]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text[: MAX_CHARS - 100].rstrip()}\n{fence}\n"


def _here(html: str) -> str:
    try:
        return (convert(html, ConversionOptions(extract_metadata=False)).content or "")[:MAX_CHARS]
    except Exception as error:  # the converter's own errors have no common class, and a page can cause any of them
        raise NoMarkdown("the page's HTML can't be converted to Markdown") from error


def _apart(html: str) -> str:
    raw = html.encode("utf-8", "replace")
    if len(raw) > MAX_INPUT_BYTES:
        raise NoMarkdown(f"a page with more than {MAX_INPUT_BYTES // 2**20} MiB of HTML is not converted to Markdown")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _SCRIPT], input=raw, capture_output=True, timeout=MAX_SECONDS, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise NoMarkdown("the page's HTML can't be converted to Markdown") from error
    return done.stdout.decode("utf-8", "replace")

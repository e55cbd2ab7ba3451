"""The script that reads a loaded page, in a world of its own where the page's changes to built-ins do not reach."""

from __future__ import annotations

import json

from runner.wire import PageRequest, WaitUntil

MAX_HTML_CHARS = 10_000_000
MAX_LINKS = 20_000

_READ = """
(wanted) => {
  const entry = performance.getEntriesByType('navigation')[0];
  const found = {url: location.href, title: document.title.slice(0, 10000), status: entry ? entry.responseStatus : 0,
                 type: document.contentType};
  if (entry && entry.decodedBodySize > wanted.maxHtml) return {...found, tooLarge: entry.decodedBodySize};
  if (wanted.html) {
    const doctype = document.doctype ? new XMLSerializer().serializeToString(document.doctype) + '\\n' : '';
    found.html = doctype + document.documentElement.outerHTML;
    if (found.html.length > wanted.maxHtml) return {...found, html: undefined, tooLarge: found.html.length};
  }
  if (wanted.text) {
    found.text = (document.body ? document.body.innerText : document.documentElement.textContent || '')
      .slice(0, wanted.maxChars);
  }
  if (wanted.links) {
    const links = new Set();
    for (const anchor of document.querySelectorAll('a[href], area[href]')) {
      const href = anchor.href instanceof SVGAnimatedString ? anchor.href.baseVal : anchor.href;
      if (/^https?:/i.test(href)) links.add(href);
      if (links.size >= wanted.maxLinks) break;
    }
    found.links = [...links];
  }
  return found;
}
"""

_FIND = """
(selector) => document.querySelector(selector) !== null
"""


def read_expression(request: PageRequest) -> str:
    """An expression whose value is what `request` wants of the page."""
    wanted = {
        "html": "html" in request.formats,
        "text": "text" in request.formats,
        "links": "links" in request.formats,
        "maxChars": request.max_chars,
        "maxHtml": MAX_HTML_CHARS,
        "maxLinks": MAX_LINKS,
    }
    return f"({_READ.strip()})({json.dumps(wanted)})"


# The page's own handlers of its load may change it: it is read once they have run.
_ONCE_READY = """
(awaited, read) => new Promise(ready => {
  const later = () => setTimeout(ready);
  if (document.readyState === 'complete' || document.readyState === awaited.state) later();
  else awaited.target.addEventListener(awaited.event, later, {once: true});
}).then(read)
"""
_READY: dict[WaitUntil, str] = {
    "load": "{state: 'complete', target: window, event: 'load'}",
    "domcontentloaded": "{state: 'interactive', target: document, event: 'DOMContentLoaded'}",
}


def read_when_ready_expression(request: PageRequest) -> str | None:
    """An expression whose value is a promise of the same, kept when the document reaches `request.wait_until`; None
    for a state that a document doesn't know of.
    """
    ready = _READY.get(request.wait_until)
    return ready and f"({_ONCE_READY.strip()})({ready}, () => {read_expression(request)})"


def find_expression(selector: str) -> str:
    """An expression that is true once the page has an element for `selector`."""
    return f"({_FIND.strip()})({json.dumps(selector)})"

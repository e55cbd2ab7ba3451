"""The scripts that read a loaded page, in a world of its own where the page's changes to built-ins do not reach.

Nothing in them waits for the page's own timers or events unless the page may run scripts: a sandboxed one has none.
"""

from __future__ import annotations

import json
from pathlib import Path

from runner.wire import PageRequest

MAX_HTML_CHARS = 10_000_000
MAX_LINKS = 20_000

_READER = (Path(__file__).parent / "reader.js").read_text().strip()
_TREE = (Path(__file__).parent / "tree.js").read_text().strip()

# A navigation that a timer of no delay begins is under way when the page is read. Timers run in the order in which they
# were set, so some turns of our own come after them; a page without scripts has no timers, neither its own nor ours.
_SETTLED = """
(read => matchMedia('(scripting: none)').matches ? read() : new Promise(done => {
  const turn = left => left ? setTimeout(turn, 0, left - 1) : done();
  turn(3);
}).then(read))
"""

# The page scrolled through once, so that what waits to be seen is loaded, and back to its top. A page without scripts
# loads all of its images at once.
_SCROLL = """
(async (maxHeight, patience) => {
  if (matchMedia('(scripting: none)').matches) return;
  const end = performance.now() + patience;
  const root = document.scrollingElement || document.documentElement;
  const frame = () => new Promise(done => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, 200);
  });
  const go = top => scrollTo({top, left: 0, behavior: 'instant'});
  const isLeft = top => top < Math.min(root.scrollHeight, maxHeight) && performance.now() < end;
  for (let top = innerHeight; isLeft(top); top += innerHeight) {
    go(top);
    await frame();
  }
  go(0);
  await frame();
  const loading = () => [...document.images].some(image => !image.complete);
  while (loading() && performance.now() < end) await new Promise(done => setTimeout(done, 20));
  await frame();
})
"""

_FIND = """
(selector) => document.querySelector(selector) !== null
"""


def read_expression(request: PageRequest, *, settle: bool) -> str:
    """An expression whose value, or promise, is what `request` wants of the page. With `settle`, the page's timers that
    are due run first.
    """
    formats = set(request.formats)
    wanted = {
        "html": "html" in formats,
        "text": "text" in formats,
        "links": "links" in formats,
        "flat": "flat" in formats,
        "maxChars": request.max_chars,
        "maxHtml": MAX_HTML_CHARS,
        "maxLinks": MAX_LINKS,
    }
    tree = _TREE if formats & {"text", "links", "flat"} else "null"
    read = f"() => ({_READER})({json.dumps(wanted)}, {tree})"
    return f"({_SETTLED.strip()})({read})" if settle else f"({read})()"


def frame_expression(request: PageRequest) -> str:
    """The same of a frame, with its `path`; null for one that its parent's own reading includes."""
    inside = "(() => { try { return parent.document !== null } catch { return false } })()"
    path = """(() => {
      const path = [];
      for (let at = window; at !== at.parent; at = at.parent) {
        let index = 0;
        while (index < at.parent.length && at.parent[index] !== at) index++;
        path.unshift(index);
      }
      return path;
    })()"""
    return f"{inside} ? null : {{...{read_expression(request, settle=False)}, path: {path}}}"


def scroll_expression(*, max_height: int, patience_ms: int) -> str:
    """An expression whose promise is kept when the page was scrolled through and its images have come, or `patience_ms`
    is over.
    """
    return f"({_SCROLL.strip()})({max_height}, {patience_ms})"


def find_expression(selector: str) -> str:
    """An expression that is true once the page has an element for `selector`."""
    return f"({_FIND.strip()})({json.dumps(selector)})"

"""browser-use's prompt, read back: the number of the step, and the elements of the page with their indices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# How browser-use 0.13 says where it is (agent/prompts.py). The last one counts: pages come before it in the prompt.
_STEP = re.compile(r"<step_info>Step(\d+) maximum:\d+")
_LINE = re.compile(
    r"(\t*)(?:\|SHADOW\(\w+\)\|)?\*?(?:\|scroll element)?(?:\[(\d+)\])?(?:\|\w+\|)?<([\w-]+)(?: (.*?))? />"
)
_ATTRIBUTE = re.compile(r"(?:^| )([a-z_-]+)=(.*?)(?= [a-z_-]+=|$)")
_NAMES = ("aria-label", "placeholder", "title", "alt", "ax_name", "name", "id")
_TYPED_INTO = {"input", "textarea", "select"}
_PUSHED = {"submit", "button", "reset", "image", "checkbox", "radio", "hidden"}


class NotShown(LookupError):
    """The page, as the model was shown it, has no such element."""


def step_number(prompt: str) -> int | None:
    """From 1; None when the prompt is none of an agent's step."""
    found = _STEP.findall(prompt)
    return int(found[-1]) if found else None


def shown(prompt: str) -> str:
    """The page as the model was shown it: a line per element or text, indented by tabs."""
    return prompt.rpartition("<browser_state>")[2].partition("</browser_state>")[0]


@dataclass(slots=True)
class Element:
    """An element that has an index, with the text inside of it and the text right before it."""

    index: int
    tag: str
    attributes: dict[str, str]
    before: str
    text: str = ""

    @property
    def takes_text(self) -> bool:
        is_field = self.tag in _TYPED_INTO and self.attributes.get("type", "") not in _PUSHED
        return is_field or "contenteditable" in self.attributes or self.attributes.get("role") == "textbox"

    def names(self) -> list[str]:
        """What it may be called, the best first."""
        value = [] if self.takes_text else [self.attributes.get("value", "")]
        return [self.text, *value, *(self.attributes.get(name, "") for name in _NAMES)]


def elements(prompt: str) -> list[Element]:
    """Every element of the page that the agent could use, in order."""
    found: list[Element] = []
    around: list[tuple[int, Element]] = []
    before = ""
    for line in shown(prompt).splitlines():
        depth = len(line) - len(line.lstrip("\t"))
        while around and around[-1][0] >= depth:
            around.pop()
        tag = _LINE.match(line)
        if tag is None:
            before = line.strip()
            for _, outer in around:
                outer.text = f"{outer.text} {before}".strip()
        elif tag[2]:
            found.append(Element(int(tag[2]), tag[3], dict(_ATTRIBUTE.findall(tag[4] or "")), before))
            around.append((depth, found[-1]))
    return found


def clickable(prompt: str, text: str) -> int:
    """The index of what shows `text` or is named so; the whole of it before a part of it. Raises NotShown."""
    return _best(prompt, text, ((element, element.names()) for element in elements(prompt)))


def typeable(prompt: str, label: str) -> int:
    """The index of the field with that label, placeholder or name. Raises NotShown."""
    fields = (element for element in elements(prompt) if element.takes_text)
    return _best(prompt, label, ((element, [element.before, *element.names()]) for element in fields))


def _best(prompt: str, wanted: str, named: Iterator[tuple[Element, list[str]]]) -> int:
    wanted = _plain(wanted)
    ranks = []
    for element, names in named:
        plain = [_plain(name) for name in names]
        if wanted in plain:
            ranks.append((0, plain.index(wanted), element.index))
        elif parts := [name for name in plain if wanted in name]:
            ranks.append((1, min(map(len, parts)), element.index))
    if not ranks:
        raise NotShown(f"{wanted!r} is not on the page as the model saw it: {shown(prompt).strip()[:2000]}")
    return min(ranks, key=lambda rank: rank[:2])[2]


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(" :*").casefold()

"""The messages of a viewer, with every field checked: a client with the link may send anything. No I/O."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

MAX_MESSAGE = 256 * 1024  # bytes of one message
MAX_TEXT = 50_000  # characters of one paste
_MAX_WHEEL = 10_000.0  # CSS pixels of one turn
_MODIFIERS = 15  # Alt 1, Ctrl 2, Meta 4, Shift 8: as in CDP

Mode = Literal["view", "control"]
Action = Literal["move", "down", "up"]
Button = Literal["none", "left", "middle", "right", "back", "forward"]


class InvalidMessage(Exception):
    """Not a valid message; the text has the reason."""


@dataclass(frozen=True, slots=True)
class Mouse:
    """`x` and `y` are from 0 to 1, relative to the frame; `buttons` is the bit mask of the pressed buttons."""

    action: Action
    x: float
    y: float
    button: Button
    buttons: int
    clicks: int
    modifiers: int


@dataclass(frozen=True, slots=True)
class Wheel:
    """`dx` and `dy` are in CSS pixels."""

    x: float
    y: float
    dx: float
    dy: float
    modifiers: int


@dataclass(frozen=True, slots=True)
class Key:
    """`key`, `code`, `key_code` and `location` are those of a DOM KeyboardEvent."""

    down: bool
    key: str
    code: str
    key_code: int
    location: int
    repeat: bool
    modifiers: int


@dataclass(frozen=True, slots=True)
class Text:
    """Pasted text, or text that an input method has composed."""

    text: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A request for the selected text of the page."""


Input = Mouse | Wheel | Key | Text | Copy


def parse(raw: str) -> Input:
    """Raises Refused."""
    try:
        fields = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("not JSON") from error
    if not isinstance(fields, dict):
        raise InvalidMessage("not an object")
    reader = _Reader(fields)
    kind = reader.choice("type", ("mouse", "wheel", "key", "text", "copy"))
    message: Input = _KINDS[kind](reader)
    reader.end()
    return message


class _Reader:
    """Takes fields out of a message one by one; the fields that are left at the end are unknown."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def _take(self, name: str) -> Any:
        if name not in self._fields:
            raise InvalidMessage(f"{name} is missing")
        return self._fields.pop(name)

    def number(self, name: str, least: float, most: float) -> float:
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise InvalidMessage(f"{name} must be a number from {least:g} to {most:g}")
        return float(value)

    def integer(self, name: str, least: int, most: int) -> int:
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidMessage(f"{name} must be a whole number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        value = self._take(name)
        if not isinstance(value, bool):
            raise InvalidMessage(f"{name} must be true or false")
        return value

    def text(self, name: str, most: int) -> str:
        value = self._take(name)
        if not isinstance(value, str) or len(value) > most:
            raise InvalidMessage(f"{name} must be a string of at most {most} characters")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidMessage(f"{name} is not Unicode")  # half a surrogate pair
        return value

    def choice(self, name: str, among: tuple[str, ...]) -> Any:
        value = self._take(name)
        if not isinstance(value, str) or value not in among:
            raise InvalidMessage(f"{name} must be one of {', '.join(among)}")
        return value

    def end(self) -> None:
        if self._fields:
            raise InvalidMessage("unknown field")


def _mouse(reader: _Reader) -> Mouse:
    return Mouse(
        action=reader.choice("action", get_args(Action)),
        x=reader.number("x", 0, 1),
        y=reader.number("y", 0, 1),
        button=reader.choice("button", get_args(Button)),
        buttons=reader.integer("buttons", 0, 31),
        clicks=reader.integer("clicks", 0, 3),
        modifiers=reader.integer("modifiers", 0, _MODIFIERS),
    )


def _wheel(reader: _Reader) -> Wheel:
    return Wheel(
        x=reader.number("x", 0, 1),
        y=reader.number("y", 0, 1),
        dx=reader.number("dx", -_MAX_WHEEL, _MAX_WHEEL),
        dy=reader.number("dy", -_MAX_WHEEL, _MAX_WHEEL),
        modifiers=reader.integer("modifiers", 0, _MODIFIERS),
    )


def _key(reader: _Reader) -> Key:
    return Key(
        down=reader.flag("down"),
        key=reader.text("key", 32),
        code=reader.text("code", 32),
        key_code=reader.integer("key_code", 0, 255),
        location=reader.integer("location", 0, 3),
        repeat=reader.flag("repeat"),
        modifiers=reader.integer("modifiers", 0, _MODIFIERS),
    )


_KINDS: dict[str, Any] = {
    "mouse": _mouse,
    "wheel": _wheel,
    "key": _key,
    "text": lambda reader: Text(reader.text("text", MAX_TEXT)),
    "copy": lambda reader: Copy(),
}


def _no_number(name: str) -> float:
    """JSON has neither NaN nor infinity, but Python's parser accepts them."""
    raise ValueError(name)


def encode_message(kind: str, **fields: object) -> str:
    """A message to a viewer, as JSON. Lone surrogates, which a page may send, become question marks."""
    text = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def finite(value: object, otherwise: float) -> float:
    """`value` as a float, or `otherwise` when it is not a finite number."""
    number = float(value) if isinstance(value, int | float) else otherwise
    return number if math.isfinite(number) else otherwise

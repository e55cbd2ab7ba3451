"""From what a viewer did to the CDP command that does it in the page. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from runner.identity.emulation import Command
from runner.live.messages import Copy, Input, Key, Mouse, Text, Wheel, finite

ALT, CTRL, META, SHIFT = 1, 2, 4, 8

_ACTIONS = {"move": "mouseMoved", "down": "mousePressed", "up": "mouseReleased"}
# On a Mac these are the system's own shortcuts, which a Chromium on Linux does not know.
_COMMANDS = {"a": "selectAll", "c": "copy", "x": "cut", "z": "undo"}


@dataclass(frozen=True, slots=True)
class Size:
    """Of the page that a picture shows, in CSS pixels; `top` is what lies above it in the picture."""

    width: float
    height: float
    top: float = 0.0

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Self:
        """From the metadata of a screencast's frame."""
        return cls(
            width=finite(metadata.get("deviceWidth"), 0),
            height=finite(metadata.get("deviceHeight"), 0),
            top=finite(metadata.get("offsetTop"), 0),
        )

    def point(self, x: float, y: float) -> dict[str, float]:
        """A place in the picture as one in the page, never just outside of its right or lower edge."""
        return {
            "x": min(x * self.width, max(0.0, self.width - 1)),
            "y": max(0.0, min(y * self.height, self.height - 1) - self.top),
        }


def command(done: Input, size: Size) -> Command:
    match done:
        case Mouse():
            return Command("Input.dispatchMouseEvent", _mouse(done, size))
        case Wheel():
            place = size.point(done.x, done.y)
            turn = {"type": "mouseWheel", "deltaX": done.dx, "deltaY": done.dy, "modifiers": done.modifiers}
            return Command("Input.dispatchMouseEvent", {**turn, **place})
        case Key():
            return Command("Input.dispatchKeyEvent", _key(done))
        case Text():
            return Command("Input.insertText", {"text": done.text})
        case Copy():
            return Command("Runtime.evaluate", {"expression": SELECTION, "returnByValue": True})


def _mouse(done: Mouse, size: Size) -> dict[str, Any]:
    return {
        "type": _ACTIONS[done.action],
        **size.point(done.x, done.y),
        "button": done.button,
        "buttons": done.buttons,
        "clickCount": done.clicks,
        "modifiers": done.modifiers,
    }


def _key(done: Key) -> dict[str, Any]:
    text = _text(done) if done.down else ""
    params: dict[str, Any] = {
        "type": "keyUp" if not done.down else "keyDown" if text else "rawKeyDown",
        "key": done.key,
        "code": done.code,
        "windowsVirtualKeyCode": done.key_code,
        "location": done.location,
        "isKeypad": done.location == 3,
        "autoRepeat": done.repeat,
        "modifiers": done.modifiers,
    }
    if text:
        params["text"] = text
    if done.down and done.modifiers & META:
        letter = done.key.lower()
        name = "redo" if letter == "z" and done.modifiers & SHIFT else _COMMANDS.get(letter)
        params["commands"] = [name] if name else []
    return params


def _text(done: Key) -> str:
    """What the key writes: nothing for a shortcut, or for a key that only has a name."""
    if done.modifiers & ~SHIFT:
        return ""
    if done.key == "Enter":
        return "\r"
    return done.key if len(done.key) == 1 else ""


# The selected text, of a field too, through shadow roots and frames of the same site. A password is never told. Run in
# a world of its own, where a page can't have replaced what this calls.
SELECTION = """(() => {
  let root = document;
  for (;;) {
    const active = root.activeElement;
    if (active && active.shadowRoot) { root = active.shadowRoot; continue; }
    let inner = null;
    try { inner = active && active.contentDocument; } catch (error) { }
    if (inner) { root = inner; continue; }
    if (active && typeof active.selectionStart === "number" && active.type !== "password")
      return active.value.slice(active.selectionStart, active.selectionEnd).slice(0, 200000);
    return String((root.ownerDocument || root).getSelection() || "").slice(0, 200000);
  }
})()"""

"""The CDP commands for a viewer's input. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from runner.identity.emulation import Command
from runner.live.messages import Copy, Input, Key, Mouse, Text, Wheel, finite

ALT, CTRL, META, SHIFT = 1, 2, 4, 8

_ACTIONS = {"move": "mouseMoved", "down": "mousePressed", "up": "mouseReleased"}
# System shortcuts on macOS; Chromium on Linux does not handle them.
_COMMANDS = {"a": "selectAll", "c": "copy", "x": "cut", "z": "undo"}


@dataclass(frozen=True, slots=True)
class PageSize:
    """The size of the page in a frame, in CSS pixels; `top` is the height above it in the frame."""

    width: float
    height: float
    top: float = 0.0

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Self:
        """From the metadata of a screencast frame."""
        return cls(
            width=finite(metadata.get("deviceWidth"), 0),
            height=finite(metadata.get("deviceHeight"), 0),
            top=finite(metadata.get("offsetTop"), 0),
        )

    def point(self, x: float, y: float) -> dict[str, float]:
        """The point in the page for a point in the frame (0 to 1), never outside the right or lower edge."""
        return {
            "x": min(x * self.width, max(0.0, self.width - 1)),
            "y": max(0.0, min(y * self.height, self.height - 1) - self.top),
        }


def command(event: Input, size: PageSize) -> Command:
    match event:
        case Mouse():
            params = {
                "type": _ACTIONS[event.action],
                **size.point(event.x, event.y),
                "button": event.button,
                "buttons": event.buttons,
                "clickCount": event.clicks,
                "modifiers": event.modifiers,
            }
            return Command("Input.dispatchMouseEvent", params)
        case Wheel():
            point = size.point(event.x, event.y)
            wheel = {"type": "mouseWheel", "deltaX": event.dx, "deltaY": event.dy, "modifiers": event.modifiers}
            return Command("Input.dispatchMouseEvent", {**wheel, **point})
        case Key():
            return Command("Input.dispatchKeyEvent", _key(event))
        case Text():
            return Command("Input.insertText", {"text": event.text})
        case Copy():
            return Command("Runtime.evaluate", {"expression": SELECTION, "returnByValue": True})


def _key(event: Key) -> dict[str, Any]:
    text = ""
    if event.down and not event.modifiers & ~SHIFT:  # a shortcut writes no text
        text = "\r" if event.key == "Enter" else event.key if len(event.key) == 1 else ""
    params: dict[str, Any] = {
        "type": "keyUp" if not event.down else "keyDown" if text else "rawKeyDown",
        "key": event.key,
        "code": event.code,
        "windowsVirtualKeyCode": event.key_code,
        "location": event.location,
        "isKeypad": event.location == 3,
        "autoRepeat": event.repeat,
        "modifiers": event.modifiers,
    }
    if text:
        params["text"] = text
    if event.down and event.modifiers & META:
        letter = event.key.lower()
        name = "redo" if letter == "z" and event.modifiers & SHIFT else _COMMANDS.get(letter)
        params["commands"] = [name] if name else []
    return params


# The selected text, also in form fields, shadow roots and same-origin frames, but never of a password field. It runs in
# an isolated world, where the page cannot replace the functions that it calls.
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

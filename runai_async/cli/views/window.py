"""Which part of a list is shown, and what keys do to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

KEYS = "j/k scroll  / filter  q quit"
"""What the keys do, in short."""
_LINES = {"down": 1, "j": 1, "up": -1, "k": -1}
_PAGES = {"pagedown": 1, " ": 1, "pageup": -1}
_FAR = 10**9


class Window:
    """A part of a list that can be scrolled and filtered.

    Attributes:
        offset: how many items are above it.
        text: what the items are filtered by; empty for all of them.
        is_typing: whether keys are added to that text.
    """

    def __init__(self) -> None:
        self.offset: int = 0
        self.text: str = ""
        self.is_typing: bool = False
        self._room = 1

    def press(self, key: str) -> bool:
        """Take a key: a character, or the name of another key; return whether it ends the view."""
        if self.is_typing:
            self._type(key)
        elif key == "q":
            return True
        elif key == "/":
            self.is_typing = True
        elif key == "escape":
            self.text = ""
        else:
            self._scroll(key)
        return False

    def _type(self, key: str) -> None:
        if key == "enter":
            self.is_typing = False
        elif key == "escape":
            self.text, self.is_typing = "", False
        elif key == "backspace":
            self.text = self.text[:-1]
        elif len(key) == 1 and key.isprintable():
            self.text += key
            self.offset = 0
        else:
            self._scroll(key)

    def _scroll(self, key: str) -> None:
        by = _LINES.get(key, 0) + _PAGES.get(key, 0) * self._room
        if key in {"home", "g"}:
            by = -_FAR
        elif key in {"end", "G"}:
            by = _FAR
        self.offset = max(0, self.offset + by)

    def visible(self, items: Sequence[T], room: int) -> Sequence[T]:
        """Return as many items as there is room for, after scrolling back if there are fewer now."""
        self._room = room
        self.offset = min(self.offset, max(0, len(items) - room))
        return items[self.offset : self.offset + room]

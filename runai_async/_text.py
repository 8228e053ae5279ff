"""Texts of a server, made fit for one line."""

from __future__ import annotations

import textwrap


def one_line(text: str | None) -> str:
    """Return a text in one line, without characters that a terminal would take for commands."""
    printable = (character if character.isprintable() else " " for character in text or "")
    return " ".join("".join(printable).split())


def beginning(text: str | None, limit: int) -> str:
    """Return the beginning of a text, in one line of at most *limit* characters."""
    line = one_line(text)
    return line if len(line) <= limit else textwrap.shorten(line, limit, placeholder=" ...")

"""How times, ids, pods and phases are written in every view."""

from __future__ import annotations

import difflib
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from runai_async._text import beginning, one_line
from runai_async.models import Phase

_SUGGESTED = 3
"""Names that are suggested at most."""

_SHORT = 200
"""Characters of a shortened message; if it comes to that, the whole message is printed at the end."""

_STYLES = {
    Phase.RUNNING: "green",
    Phase.COMPLETED: "blue",
    Phase.FAILED: "bold red",
    Phase.DEGRADED: "yellow",
    Phase.STOPPED: "bright_black",
    Phase.PENDING: "magenta",
    Phase.CREATING: "bright_cyan",
    Phase.INITIALIZING: "cyan",
    Phase.UPDATING: "bright_blue",
    Phase.DELETING: "bright_black",
    Phase.TERMINATING: "bright_black",
    Phase.STOPPING: "bright_black",
}
_TRANSITIONAL = "cyan"


def clean(text: str | None) -> str:
    """Return a server's text in one line, without characters that a terminal would take for commands."""
    return one_line(text)


def shortened(text: str | None) -> str:
    """Return the beginning of a server's text, in one line."""
    return beginning(text, _SHORT)


def phase_name(phase: Phase | None) -> str:
    """Return a phase as text; None is a phase that is not known."""
    return clean(phase) or "not known"


def phase_style(phase: Phase | None) -> str:
    """Return the colour of a phase; transitional phases without a colour of their own share one."""
    if phase is None:
        return "bright_black"
    return _STYLES.get(phase, _TRANSITIONAL if phase.is_transitional else "white")


_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_TWO_UNITS_BELOW = 10


def duration(seconds: float) -> str:
    """Write a duration with two units at most: `45s`, `2m05s`, `31m`, `3h07m`, `12d`."""
    left = max(0, int(seconds))
    for (name, size), (smaller, part) in itertools.pairwise(_UNITS):
        count, rest = divmod(left, size)
        if count >= _TWO_UNITS_BELOW:
            return f"{count}{name}"
        if count:
            return f"{count}{name}{rest // part:02d}{smaller}"
    return f"{left}s"


def limit(seconds: float) -> str:
    """Write a time that was given on the command line: `5s`, `10m00s`, `300ms`."""
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else duration(seconds)


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 event`, `2 events`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def since(time: datetime | None, now: datetime) -> str:
    """Write how long ago a time was; empty if it is not known."""
    return "" if time is None else duration((now - time).total_seconds())


def zoned(time: datetime, *, local: bool) -> datetime:
    """Return a time in this machine's zone, or in UTC."""
    return time.astimezone(None if local else UTC)


def moment(time: datetime | None, *, local: bool = False, timespec: str = "seconds") -> str:
    """Write a time with its date and zone, as `2026-11-27 12:00:00Z`; empty if it is not known."""
    if time is None:
        return ""
    text = zoned(time, local=local).isoformat(" ", timespec)
    return text if local else f"{text.removesuffix('+00:00')}Z"


def time_of_day(time: datetime, *, local: bool = False, timespec: str = "seconds") -> str:
    """Write a time with its zone and without its date, as `12:00:00Z`."""
    return moment(time, local=local, timespec=timespec).partition(" ")[2]


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut_middle(text: str, width: int) -> str:
    """Cut a name that is wider to a width: in its middle, as its end often is what tells it from others."""
    if width_of(text) <= width:
        return text
    room = max(0, width - 1)
    tail = _start(text[::-1], room - room // 2)[::-1]
    return f"{_start(text, room // 2)}…{tail}"


def cut_end(text: str, width: int) -> str:
    """Cut a sentence that is wider to a width, at its end."""
    return text if width_of(text) <= width else f"{_start(text, max(0, width - 1)).rstrip()}…"


def _start(text: str, width: int) -> str:
    """Return as much of the start of a text as fits."""
    ends = itertools.accumulate(map(_columns, text))
    return text[: sum(end <= width for end in ends)]


def similar(text: str, names: Iterable[str]) -> list[str]:
    """Return the names that may have been meant: those that begin with the text, then similar ones."""
    known = sorted(set(names))
    starting = [name for name in known if name.lower().startswith(text.lower())]
    return list(dict.fromkeys([*starting, *difflib.get_close_matches(text, known)]))[:_SUGGESTED]


def suggestion(text: str, names: Iterable[str]) -> str:
    """Write which names may have been meant; see `similar`.

    Returns:
        `did you mean "llm-a" or "llm-b"?`; empty where nothing is near.
    """
    meant = similar(text, names)
    return f"did you mean {alternatives([quoted(name) for name in meant], 'or')}?" if meant else ""


def quoted(text: str) -> str:
    """Write a name between quotation marks."""
    return f'"{clean(text)}"'


def alternatives(items: Sequence[str], word: str) -> str:
    """Write a list in words: `a, b and c`."""
    return items[-1] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"

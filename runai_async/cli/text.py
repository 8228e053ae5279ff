"""How times, ids, pods and phases are written, in every view."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Collection
from datetime import UTC, datetime

from runai_async.models import Phase, Revision

SHORT_ID = 8
"""Characters of an id that is written short, at least."""

_SHORT = 200
"""Characters of a message that is told again, in full, should it come to that."""

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
_MOVING = "cyan"


def clean(text: str | None) -> str:
    """Return a server's text in one line, without what a terminal would take for a command."""
    printable = (character if character.isprintable() else " " for character in text or "")
    return " ".join("".join(printable).split())


def shortened(text: str | None) -> str:
    """Return the beginning of a server's text, in one line: what fits where there is more below."""
    return textwrap.shorten(clean(text), _SHORT, placeholder=" ...")


def phase_style(phase: Phase) -> str:
    """Return the colour of a phase; those on the way somewhere share one."""
    return _STYLES.get(phase, _MOVING if phase.is_transitional else "white")


_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_TWO_UNITS_BELOW = 10


def duration(seconds: float) -> str:
    """Write a span of time as short as it says enough: `45s`, `2m05s`, `31m`, `3h07m`, `12d`."""
    left = max(0, int(seconds))
    for (name, size), (smaller, part) in itertools.pairwise(_UNITS):
        count, rest = divmod(left, size)
        if count >= _TWO_UNITS_BELOW:
            return f"{count}{name}"
        if count:
            return f"{count}{name}{rest // part:02d}{smaller}"
    return f"{left}s"


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 event`, `2 events`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def since(time: datetime | None, now: datetime) -> str:
    """Write how long ago a time was; nothing where it is not known."""
    return "" if time is None else duration((now - time).total_seconds())


def clock(time: datetime) -> str:
    """Write a time of day in UTC, to the millisecond."""
    return time.astimezone(UTC).strftime("%H:%M:%S.") + f"{time.microsecond // 1000:03d}"


def moment(time: datetime | None) -> str:
    """Write a time in UTC, to the second; nothing where it is not known."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def timestamp(time: datetime) -> str:
    """Write a time as the API does: RFC 3339, UTC, `Z`."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def pods(revision: Revision) -> str:
    """Write running pods out of requested ones: `1/2`, or `1/1-4` where the number scales."""
    running = "?" if revision.running_pods is None else str(revision.running_pods)
    asked = revision.requested_pods
    if asked is None:
        return running
    if asked.number is not None:
        return f"{running}/{asked.number}"
    if asked.min is None and asked.max is None:
        return running
    return f"{running}/{asked.min or 0}-{'' if asked.max is None else asked.max}"


def short_ids(ids: Collection[str]) -> dict[str, str]:
    """Return the shortest prefixes, of one length, by which the ids can be told apart."""
    for length in range(SHORT_ID, 36):
        if len({item[:length] for item in ids}) == len(set(ids)):
            return {item: item[:length].rstrip("-") for item in ids}
    return {item: item for item in ids}

"""How times, ids, pods and phases are written in every view."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from datetime import UTC, datetime

from runai_async._text import beginning, one_line
from runai_async.models import Phase, Revision

_SHORT_ID = 8
"""The least number of characters in a shortened id."""

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


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 event`, `2 events`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def since(time: datetime | None, now: datetime) -> str:
    """Write how long ago a time was; empty if it is not known."""
    return "" if time is None else duration((now - time).total_seconds())


def clock(time: datetime) -> str:
    """Write a time of day in UTC, to the millisecond."""
    return time.astimezone(UTC).strftime("%H:%M:%S.") + f"{time.microsecond // 1000:03d}"


def moment(time: datetime | None) -> str:
    """Write a time in UTC, to the second; empty if it is not known."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def pods(revision: Revision) -> str:
    """Write running and requested pods: `1/2`, or `1/1-4` if the number scales."""
    running = "?" if revision.running_pods is None else str(revision.running_pods)
    requested = revision.requested_pods
    if requested is None:
        return running
    if requested.number is not None:
        return f"{running}/{requested.number}"
    if requested.min is None and requested.max is None:
        return running
    return f"{running}/{requested.min or 0}-{'' if requested.max is None else requested.max}"


def short_ids(ids: Collection[str]) -> dict[str, str]:
    """Return the shortest prefixes, all of one length, that are distinct."""
    for length in range(_SHORT_ID, 36):
        if len({item[:length] for item in ids}) == len(set(ids)):
            return {item: item[:length].rstrip("-") for item in ids}
    return {item: item for item in ids}

"""What Prometheus can hold: one value that it cannot hold costs its own series, and no scrape."""

from __future__ import annotations

import math
from datetime import datetime


def number(value: float | None) -> float | None:
    """Return a number as Prometheus holds it; None where it cannot, or there is none."""
    try:
        found = math.nan if value is None else float(value)
    except OverflowError:  # JSON's whole numbers have no limit
        return None
    return found if math.isfinite(found) else None


def timestamp(at: datetime | None) -> float | None:
    """Return the Unix time; None for what never happened, as in Go's zero time."""
    seconds = 0.0 if at is None else at.timestamp()
    return seconds if seconds > 0 else None


def label(text: str) -> str:
    """Return a text that can be encoded: half of a surrogate pair cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()

"""Checks of the numbers that callers pass; the errors name the argument."""

from __future__ import annotations

import math


def check_number(name: str, value: object, least: float | None = None) -> None:
    """Check that a value is a finite number.

    Args:
        name: of the argument.
        value: what the caller passed.
        least: the smallest number allowed; without it, any number above 0 is.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not finite, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    is_large_enough = value > 0 if least is None else value >= least
    if not is_large_enough or value == math.inf:
        bound = "a positive number" if least is None else f"at least {least:g}"
        finite = " and finite" if value == math.inf else ""
        raise ValueError(f"{name} must be {bound}{finite}, not {value!r}")


def check_whole(name: str, value: object) -> None:
    """Check that a value is a whole number of at least 1.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is below 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")

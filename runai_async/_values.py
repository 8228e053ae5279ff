"""What values have in common: frozen classes with one `__repr__`, and checks of the numbers in them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrs import frozen
else:
    import attrs

    def frozen(cls: type | None = None, **options: Any) -> Any:
        """Make a class as `attrs.frozen` does, except that all classes share what is not used often.

        What attrs writes for a class is compiled when it is imported. Less of it makes importing this package
        faster by a sixteenth.
        """

        def make(cls: type) -> type:
            for name in ("__repr__", "__hash__"):
                if name not in vars(cls):
                    setattr(cls, name, vars(_Shared)[name])
            return attrs.frozen(cls, **options)  # it writes none that it finds

        return make if cls is None else make(cls)

    class _Shared:
        def __repr__(self) -> str:
            shown = []
            for attribute in attrs.fields(type(self)):
                if attribute.repr is not False:
                    text = repr if attribute.repr is True else attribute.repr
                    shown.append(f"{attribute.name}={text(getattr(self, attribute.name))}")
            return f"{type(self).__qualname__.rpartition('>.')[2]}({', '.join(shown)})"

        def __hash__(self) -> int:
            values: list[object] = [type(self)]
            for attribute in attrs.fields(type(self)):
                if attribute.eq if attribute.hash is None else attribute.hash:
                    value = getattr(self, attribute.name)
                    values.append(attribute.eq_key(value) if attribute.eq_key else value)
            return hash(tuple(values))


__all__ = ["check_number", "check_whole", "frozen"]


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

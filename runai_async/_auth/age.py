"""Whether a refused token is too old or too young. No I/O, no clock.

A token that was accepted for a while and is refused now has expired or was revoked: another one helps. A
fresh one is refused where the clocks of the control plane's nodes differ, or while an identity service
restarts: another one would be just as young, and fetching one after another makes matters worse. So a young
token is kept until it is old, and that takes twice as long with each token that was refused from the start.
"""

from __future__ import annotations

_OLD = 30.0
"""Seconds in use from which a refused token is replaced."""
_OLDEST = 300.0
"""The same after any number of refused tokens."""


class TokenAge:
    """The age of the token in use.

    Attributes:
        is_doubted: the token is new, or was refused since it was last accepted.
    """

    def __init__(self) -> None:
        self.is_doubted = True
        self._since = 0.0
        self._old_after = _OLD
        self._is_counted = False

    def begin(self, now: float) -> None:
        """Note that another token is in use from now on."""
        self._since, self._is_counted, self.is_doubted = now, False, True

    def is_old(self, now: float) -> bool:
        """Return whether a refusal means that a new token is needed."""
        return now - self._since >= self._old_after

    def refuse(self) -> None:
        """Note that the token was refused; from the start, it and the next one get twice the time."""
        self.is_doubted = True
        if not self._is_counted:
            self._is_counted = True
            self._old_after = min(_OLDEST, 2 * self._old_after)

    def accept(self) -> None:
        """Note that the token was accepted."""
        self.is_doubted, self._is_counted, self._old_after = False, True, _OLD

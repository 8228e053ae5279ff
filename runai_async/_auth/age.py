"""Whether a refused token is too old or too young. No I/O, no clock.

A token that was accepted for a while and is refused now has expired or was revoked: another one helps. A
fresh one is refused where the clocks of the control plane's nodes differ, or while an identity service
restarts: another one would be just as young, and fetching one after another makes matters worse. So a young
token is kept until it is old, and that takes twice as long with each token that was refused from the start.
"""

from __future__ import annotations

import math

_OLD = 30.0
"""Seconds in use from which a refused token is replaced."""
_OLDEST = 300.0
"""The same after any number of refused tokens."""
_FORGIVEN = 600.0
"""Seconds without a refusal after which the first limit holds again: of two gateways, one may accept all."""
_TOKENS = 8
"""Tokens that are remembered: a provider may use several in turn."""


class TokenAges:
    """The ages of the tokens in use.

    Attributes:
        is_doubted: a token is new, or one was refused lately.
    """

    def __init__(self) -> None:
        self.is_doubted: bool = True
        self._since: dict[str, float] = {}
        self._counted: set[str] = set()
        self._old_after = _OLD
        self._refused_at = self._replaced_at = -math.inf

    def begin(self, token: str, now: float) -> None:
        """Note that a token is in use from now on, unless it was before."""
        if token not in self._since:
            self.renew(token, now)

    def renew(self, token: str, now: float) -> None:
        """Note that a token is as good as new, since there is no other."""
        self._since.pop(token, None)
        self._since[token], self.is_doubted = now, True
        self._counted.discard(token)
        if len(self._since) > _TOKENS:
            oldest = next(iter(self._since))
            del self._since[oldest]
            self._counted.discard(oldest)

    def is_old(self, token: str, now: float) -> bool:
        """Return whether a refusal means that another token is needed."""
        since = self._since.get(token)
        return since is None or now - since >= self._old_after

    def replace(self, now: float) -> None:
        """Note that an old token was replaced. Where that happens again soon, another one does not help."""
        if now - self._replaced_at < _FORGIVEN:
            self._old_after = min(_OLDEST, 2 * self._old_after)
        self._replaced_at = now

    def refuse(self, token: str, now: float) -> None:
        """Note that a token was refused. If it was from the start, it and the next one get twice the time."""
        self.is_doubted, self._refused_at = True, now
        if token not in self._counted and not self.is_old(token, now):
            self._counted.add(token)
            self._old_after = min(_OLDEST, 2 * self._old_after)

    def accept(self, token: str, now: float) -> None:
        """Note that a token was accepted."""
        self._counted.add(token)
        if now - self._refused_at >= _FORGIVEN:
            self.is_doubted, self._old_after = False, _OLD

"""What everything that sends requests shares."""

from __future__ import annotations

from attrs import frozen

from runai_async._api.endpoints import Endpoints
from runai_async._api.retry import Retrying
from runai_async._api.server_time import ServerTime
from runai_async._clock import Clock
from runai_async.hooks import Hooks


@frozen
class Api:
    """One control plane as a client sees it.

    Attributes:
        endpoints: what can be called.
        retrying: runs the calls.
        clock: the client's clock.
        hooks: are notified of what happens.
    """

    endpoints: Endpoints
    retrying: Retrying
    clock: Clock
    hooks: Hooks

    @property
    def server_time(self) -> ServerTime:
        """The server's clock."""
        return self.retrying.server_time

"""What everything that sends requests shares."""

from __future__ import annotations

from attrs import field

from runai_async._api.endpoints import Endpoints
from runai_async._api.list_pace import ListGate
from runai_async._api.retry import Retrying
from runai_async._api.server_time import ServerTime
from runai_async._clock import Clock
from runai_async._values import frozen
from runai_async.hooks import Hooks


@frozen
class Api:
    """One control plane as a client sees it.

    Attributes:
        endpoints: what can be called.
        retrying: runs the calls.
        clock: the client's clock.
        hooks: are notified of what happens.
        list_gate: how the list of workloads may be asked for.
    """

    endpoints: Endpoints
    retrying: Retrying
    clock: Clock
    hooks: Hooks
    list_gate: ListGate = field(factory=ListGate)

    @property
    def server_time(self) -> ServerTime:
        """The server's clock."""
        return self.retrying.server_time

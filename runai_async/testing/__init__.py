"""Fakes for testing code that uses this package, without a control plane.

`FakeControlPlane` is a real HTTP server on loopback; `FakeTransport` returns scripted responses without a
socket; `FakeClock` moves only when a test moves it. `runai_async.testing.fixtures` provides fixtures for
pytest. To write fakes of your own, implement the protocols `Transport` and `Clock`.
"""

import warnings
from typing import TYPE_CHECKING

from runai_async._clock import Clock
from runai_async._http.messages import Request, Response, Transport
from runai_async.testing._clock import FakeClock
from runai_async.testing._control_plane import FakeControlPlane
from runai_async.testing._faults import FaultKind
from runai_async.testing._record import RecordedRequest, RecordedResponse, Transition
from runai_async.testing._transport import FakeTransport, SentRequest

__all__ = [
    "Clock",
    "FakeClock",
    "FakeControlPlane",
    "FakeTransport",
    "FaultKind",
    "RecordedRequest",
    "RecordedResponse",
    "Request",
    "Response",
    "SentRequest",
    "Transition",
    "Transport",
]

if TYPE_CHECKING:
    Answered = RecordedResponse
else:

    def __getattr__(name: str) -> object:
        if name != "Answered":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            "runai_async.testing.Answered is deprecated: use RecordedResponse",
            DeprecationWarning,
            stacklevel=2,
        )
        return RecordedResponse

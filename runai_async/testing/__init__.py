"""What it takes to test code that uses this package, without a control plane.

`FakeControlPlane` is a real HTTP server on loopback; `FakeTransport` answers without a socket; `FakeClock`
moves only when a test moves it. `runai_async.testing.fixtures` has fixtures for pytest. For fakes of your own
there are the protocols `Transport` and `Clock`.
"""

from runai_async._clock import Clock
from runai_async._http.messages import Request, Response, Transport
from runai_async.testing._clock import FakeClock
from runai_async.testing._control_plane import Answered, FakeControlPlane, RecordedRequest
from runai_async.testing._faults import FaultKind
from runai_async.testing._state import Transition
from runai_async.testing._transport import FakeTransport, SentRequest

__all__ = [
    "Answered",
    "Clock",
    "FakeClock",
    "FakeControlPlane",
    "FakeTransport",
    "FaultKind",
    "RecordedRequest",
    "Request",
    "Response",
    "SentRequest",
    "Transition",
    "Transport",
]

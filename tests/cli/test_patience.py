"""How what a command looks up before its work waits out an outage."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise

import pytest
from support.cli import ran
from support.clocks import SocketlessClock

from runai_async import PollPolicy
from runai_async.cli.patience import Patience
from runai_async.errors import (
    ApiError,
    AttemptTimeoutError,
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    RunaiError,
    ServerError,
    ServiceUnavailableError,
    TransportError,
    WatchOutageError,
)
from runai_async.testing import FakeControlPlane

POLICY = PollPolicy(interval=10, fast_interval=2, deadline=60, max_outage=900)
REFUSED = AuthenticationError(401, "revoked", code=401)


def final() -> AuthenticationError:
    error = AuthenticationError(401, "invalid_client")
    error.is_final = True
    return error


class Display:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def outage_began(self, error: RunaiError) -> None:
        self.lines.append(type(error).__name__)

    def outage_ended(self, seconds: float) -> None:
        self.lines.append(f"{seconds:.0f} s")


class Setting:
    """A look-up on a clock that the test moves."""

    def __init__(self, responses: Iterable[RunaiError | str], policy: PollPolicy = POLICY) -> None:
        self.clock = SocketlessClock()
        self.display = Display()
        self.tries: list[float] = []
        self._responses = iter(responses)
        self._began = self.clock.monotonic()
        self._last: RunaiError | str = "none"
        patience = Patience(policy, self.display, self.clock)
        self.task = asyncio.ensure_future(patience.look_up("the list of workloads", self._ask))

    async def _ask(self) -> str:
        self.tries.append(self.clock.monotonic() - self._began)
        self._last = next(self._responses, self._last)
        if isinstance(self._last, RunaiError):
            raise self._last
        return self._last

    async def after(self, seconds: float) -> str:
        """Return what was found within so many seconds."""
        await self.clock.advance(seconds)
        assert self.task.done(), "still looking"
        return await self.task


OUTAGES: list[Callable[[], RunaiError]] = [
    lambda: ServiceUnavailableError(503, "upgrade", code=503),
    lambda: ServerError(502, "<html>Bad Gateway</html>"),
    lambda: TransportError("connection refused"),
    lambda: AttemptTimeoutError("silence"),
    lambda: DecodeError("GET https://acme.example returned HTML", is_json=False),
    lambda: NotFoundError(404, "<html>no such route</html>"),
    lambda: AuthenticationError(401, "<html>log in</html>"),
    lambda: ApiError(302, "redirects to a login page"),
    lambda: ApiError(429, "slower", code=429),
]


@pytest.mark.parametrize("make", OUTAGES, ids=[str(make()) for make in OUTAGES])
async def test_an_outage_is_waited_out_and_displayed_once(make: Callable[[], RunaiError]) -> None:
    setting = Setting([make() for _ in range(6)] + ["found"])
    assert await setting.after(400) == "found"
    assert len(setting.tries) == 7
    assert setting.display.lines == [type(make()).__name__, f"{setting.tries[-1]:.0f} s"]
    pauses = [later - earlier for earlier, later in pairwise(setting.tries)]
    assert all(1 <= pause <= 60 for pause in pauses)


@pytest.mark.parametrize(
    "error",
    [
        PermissionDeniedError(403, "not yours", code=403),
        NotFoundError(404, "no such workload", code=404),
        ApiError(400, "filterBy: unknown field", code=400),
        ConfigurationError("the login's file cannot be read"),
        final(),
    ],
)
async def test_what_the_api_says_in_its_own_words_ends_it_at_once(error: RunaiError) -> None:
    setting = Setting([error])
    with pytest.raises(type(error)):
        await setting.after(0)
    assert setting.display.lines == []


async def test_a_refusal_after_an_outage_ends_it_too() -> None:
    error = PermissionDeniedError(403, "not yours", code=403)
    setting = Setting([TransportError("refused"), error])
    with pytest.raises(PermissionDeniedError):
        await setting.after(10)


async def test_a_token_that_is_refused_three_times_ends_it() -> None:
    setting = Setting([REFUSED])
    with pytest.raises(AuthenticationError):
        await setting.after(3)
    assert setting.tries == pytest.approx([0, 1, 3])


async def test_json_of_another_shape_ends_it_after_three_tries() -> None:
    starting = DecodeError("$: expected an object with workloads")
    setting = Setting([starting])
    with pytest.raises(DecodeError):
        await setting.after(60)
    assert len(setting.tries) == 3


async def test_json_of_another_shape_once_is_a_gateway_that_starts() -> None:
    setting = Setting([DecodeError("$: expected an object with workloads"), "found"])
    assert await setting.after(10) == "found"


async def test_patience_ends_as_that_of_a_watch() -> None:
    setting = Setting([TransportError("connection refused")])
    with pytest.raises(WatchOutageError, match=r"no successful poll of the list of workloads for 900 s; "):
        await setting.after(1000)
    assert setting.tries[-1] == pytest.approx(900, abs=60)


async def test_without_a_limit_patience_never_ends() -> None:
    setting = Setting([TransportError("refused")], PollPolicy(max_outage=None))
    await setting.clock.advance(100_000)
    assert not setting.task.done()
    setting.task.cancel()
    await asyncio.wait({setting.task})
    assert setting.task.cancelled()


async def test_a_retry_after_is_kept() -> None:
    error = ServiceUnavailableError(503, "upgrade", code=503, retry_after=120)
    setting = Setting([error, "found"])
    await setting.after(121)
    assert setting.tries == pytest.approx([0, 120])


async def cancelled(waiting: Awaitable[object]) -> bool:
    try:
        await waiting
    except asyncio.CancelledError:
        return True
    return False


async def test_a_cancellation_ends_it_in_a_pause() -> None:
    setting = Setting([TransportError("refused")])
    await setting.clock.advance(1)
    setting.task.cancel()
    assert await cancelled(setting.task)
    assert len(setting.tries) == 1


async def test_an_outage_at_the_start_of_a_watch_is_a_warning_and_a_line() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("chat"), "Running")
        control_plane.fail_next(4, 501, path="/workloads$")
        result = await ran(control_plane, "watch", "chat", "--interval", "20ms", "--count", "1")
    began, ended = result.err.splitlines()
    assert result.status == 0
    assert began.startswith("runai-async: warning: the control plane does not respond: ")
    assert re.fullmatch(r"runai-async: the control plane responds again after \d+s", ended)

"""A fake control plane that goes by the time of its event loop, so that minutes pass in a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from runai_async import ClientCredentials, RunaiClient
from runai_async.testing import FakeControlPlane
from runai_async.testing._routes import Handler, Routes
from support.clocks import LoopClock

Delay = Callable[[web.Request], float]
"""Returns the seconds by which the response to a request is delayed."""


class TimedControlPlane(FakeControlPlane):
    """A control plane whose services restart, and whose tokens age, by the loop's time.

    Attributes:
        loop_clock: that time.
        asked: when each request arrived, and its path.
        delay: delays single responses.
        before_list: called before each page of the workloads is made.
    """

    def __init__(self, **options: Any) -> None:
        self.loop_clock = LoopClock()
        super().__init__(clock=self.loop_clock.now, **options)
        self._outages._monotonic = self._tokens._monotonic = self.loop_clock.monotonic
        self.asked: list[tuple[float, str]] = []
        self.delay: Delay = lambda _: 0.0
        self.before_list: Callable[[], object] = int
        self._routes = _Interposed(self._routes, self._before)

    async def _before(self, request: web.Request) -> None:
        self.asked.append((self.now, request.path))
        if request.path.endswith("/workloads"):
            self.before_list()
        if seconds := self.delay(request):
            await asyncio.sleep(seconds)

    @property
    def now(self) -> float:
        """The loop's time."""
        return self.loop_clock.monotonic()

    @property
    def credentials(self) -> ClientCredentials:
        return ClientCredentials(self.client_id, self.client_secret)

    def client(self, auth: Any = None, **options: Any) -> RunaiClient:
        """Make a client that goes by the same time."""
        return RunaiClient(self.url, auth or self.credentials, clock=self.loop_clock, **options)

    def times(self, end_of_path: str) -> list[float]:
        """Return when requests for such a path arrived."""
        return [at for at, path in self.asked if path.endswith(end_of_path)]


class _Interposed(Routes):
    """Routes before which something happens."""

    def __init__(self, inner: Routes, before: Callable[[web.Request], Awaitable[None]]) -> None:
        self.__dict__.update(vars(inner))
        self._before = before

    async def respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await self._before(request)
        return await super().respond(request, handler)

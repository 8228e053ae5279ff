"""Guards for every test: nothing blocks the loop, no error goes unnoticed, nothing is left running."""

import asyncio
import gc
import inspect
import logging
import os
import signal
import traceback
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any
from unittest.mock import Mock

import aiohttp
import hypothesis
import pytest
from aioresponses import aioresponses
from blockbuster import BlockBuster

import runai_async
from runai_async import RunaiClient
from runai_async.testing import FakeControlPlane

pytest_plugins = ["runai_async.testing.fixtures"]

# No deadline: how long an example takes depends more on the machine than on the code.
_ANY_MACHINE: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
}
hypothesis.settings.register_profile("fast", max_examples=25, **_ANY_MACHINE)
# The same examples in every run: if one fails, it is because of the commit and not by chance.
hypothesis.settings.register_profile("ci", max_examples=50, derandomize=True, print_blob=True, **_ANY_MACHINE)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


# A shell that starts the tests in the background has them ignore signals; then the commands under test would.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collection_finish() -> None:
    """Hide everything imported from the garbage collector, so that collecting after each test is cheap."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cheap_tracebacks() -> Iterator[None]:
    """Reduce the cost of asyncio's debug mode to a third, without losing its checks.

    Most of the cost is recording where each callback, future and task was created: ten frames of it, and for
    each frame a look at the disk to see whether its source file has changed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncio.constants.DEBUG_STACK_DEPTH", 3)
        # aiohttp records where each session, connection and response was created, all frames of it.
        patch.setattr("traceback.extract_stack", partial(traceback.extract_stack, limit=3))
        patch.setattr("linecache.checkcache", lambda filename=None: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_blocking_calls() -> Iterator[None]:
    """Raise BlockingError where `runai_async` blocks a running loop: on a disk, a socket or a sleep."""
    blockbuster = BlockBuster(runai_async)
    for call in ("os.stat", "io.TextIOWrapper.read"):
        # aiohttp does this where a session trusts the environment
        blockbuster.functions[call].can_block_in("aiohttp/helpers.py", "netrc_from_env")
    for call in ("io.BufferedReader.read", "os.stat"):
        # small files, once, where `from_env` uses the login of the vendor's command line, or a token's file
        blockbuster.functions[call].can_block_in("runai_async/_auth/credentials.py", "_read_key")
        blockbuster.functions[call].can_block_in("runai_async/_auth/environment.py", "_file_token")
    # a key that was pressed: the loop says that there is one
    blockbuster.functions["os.read"].can_block_in("runai_async/cli/views/keys.py", "_read")
    blockbuster.activate()
    yield
    blockbuster.deactivate()


class _Errors(logging.Handler):
    """Keeps the messages that are logged as errors."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture(autouse=True)
def loop_errors() -> Iterator[list[str]]:
    """Fail the test if an event loop reported an error that nothing else would notice.

    Examples are "Task exception was never retrieved", "Task was destroyed but it is pending", "Exception in
    callback" and "Unclosed client session". asyncio only logs them, so `-W error` does not see them. The log
    has the reports of all loops, including those of `asyncio.run` and of other threads, and the exceptions
    that aiohttp's server turns into a 500. A test that expects an error uses this fixture, inspects the
    messages and clears the list.
    """
    errors = _Errors()
    loggers = [logging.getLogger("asyncio"), logging.getLogger("aiohttp.server")]
    for logger in loggers:
        logger.addHandler(errors)
    yield errors.messages
    gc.collect()  # errors are reported when the task or the session is collected
    gc.freeze()  # what is left outlives the test, so the next collection can skip it
    for logger in loggers:
        logger.removeHandler(errors)
    if errors.messages:
        pytest.fail("an event loop reported:\n" + "\n".join(errors.messages), pytrace=False)


@pytest.fixture(autouse=True)
def no_tasks_left(request: pytest.FixtureRequest, loop_errors: list[str]) -> None:
    """Fail an async test that leaves tasks running, after its other fixtures were torn down."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_no_tasks_left")


@pytest.fixture
async def _no_tasks_left() -> AsyncIterator[None]:
    # On a busy machine anything is slow, and the warning would be taken for one of the package's.
    asyncio.get_running_loop().slow_callback_duration = 60.0
    before = asyncio.all_tasks()
    yield
    # A task that was just cancelled, or whose transport was just closed, needs a few turns to end.
    turns = 50
    while (left := asyncio.all_tasks() - before - {asyncio.current_task()}) and turns:
        turns -= 1
        await asyncio.sleep(0)
    if left:
        pytest.fail("tasks left running:\n" + "\n".join(map(repr, left)), pytrace=False)


class _MockedResponse(aiohttp.ClientResponse):
    """The response of aioresponses 0.7, for aiohttp before and since 3.14.

    aiohttp 3.14 requires a `stream_writer`, to know how much was sent, and aioresponses does not provide one
    (https://github.com/pnuckowski/aioresponses/issues/289).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def control_plane(runai_control_plane: FakeControlPlane) -> FakeControlPlane:
    """Shorten the name of the fixture; a module with a control plane of its own overrides that one."""
    return runai_control_plane


@pytest.fixture
def runai(runai_client: RunaiClient) -> RunaiClient:
    """Shorten the name of the fixture, whose client is one of `control_plane`."""
    return runai_client


@pytest.fixture
def mock_aiohttp(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Respond to the requests of an aiohttp session without a socket: `mock_aiohttp.get(url, payload=…)`."""
    # The class that aioresponses uses by default.
    monkeypatch.setattr("aioresponses.core.ClientResponse", _MockedResponse)
    with aioresponses() as mocked:
        yield mocked

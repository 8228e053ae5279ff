"""Fixtures for pytest: put `pytest_plugins = ["runai_async.testing.fixtures"]` into your `conftest.py`.

They are asynchronous and need pytest-asyncio, in either of its modes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from runai_async.client import RunaiClient
from runai_async.testing._control_plane import FakeControlPlane

try:
    import pytest_asyncio
except ImportError as _error:
    raise ImportError("the fixtures need pytest-asyncio: pip install pytest-asyncio") from _error


@pytest_asyncio.fixture
async def runai_control_plane() -> AsyncIterator[FakeControlPlane]:
    """Run a fake control plane for the duration of one test."""
    async with FakeControlPlane() as control_plane:
        yield control_plane


@pytest_asyncio.fixture
async def runai_client(runai_control_plane: FakeControlPlane) -> AsyncIterator[RunaiClient]:
    """Make a client of `runai_control_plane`, closed when the test ends."""
    async with RunaiClient(runai_control_plane.url, runai_control_plane.token) as runai:
        yield runai

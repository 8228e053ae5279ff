"""Which signals end a command: not those that it was started to ignore, and SIGTERM also as process 1."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import environment, polled

from runai_async.cli.signals import end_at_once, on_signal
from runai_async.testing import FakeControlPlane

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def heard(*_: object) -> None:
    """Stand in for a handler."""


@pytest.mark.parametrize("ignored", BOTH)
def test_a_signal_that_is_ignored_stays_ignored(ignored: signal.Signals) -> None:
    signal.signal(ignored, signal.SIG_IGN)
    (other,) = {*BOTH} - {ignored}
    on_signal(heard)
    assert [signal.getsignal(number) for number in (ignored, other)] == [signal.SIG_IGN, heard]
    end_at_once()
    default = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    assert [signal.getsignal(number) for number in (ignored, other)] == [signal.SIG_IGN, default[other]]


def test_process_1_has_a_handler_for_what_the_kernel_would_ignore(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: list[int] = []
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "_exit", statuses.append)
    end_at_once()
    signal.raise_signal(signal.SIGTERM)
    assert statuses == [143]


def test_the_handler_of_process_1_ends_it_at_once() -> None:
    code = (
        "import os, signal; os.getpid = lambda: 1\n"
        "import importlib.util\n"
        "from runai_async import __main__\n"
        "importlib.util.find_spec = lambda name: signal.raise_signal(signal.SIGTERM)\n"  # at the very start
        "__main__.main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=environment(None), check=False)
    assert ran.returncode == 143


@pytest.mark.parametrize("ignored", [BOTH[0], pytest.param(BOTH[1], marks=pytest.mark.slow)])
async def test_a_watch_that_was_started_to_ignore_a_signal_does(
    control_plane: FakeControlPlane, ignored: signal.Signals
) -> None:
    workload_id = control_plane.add_workload()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runai_async", "watch", workload_id, "--interval", "30ms"),
        env=environment(control_plane),
        preexec_fn=lambda: signal.signal(ignored, signal.SIG_IGN),
    )
    try:
        async with asyncio.timeout(30):
            await polled(control_plane)
            process.send_signal(ignored)
            await polled(control_plane, 3)
            (other,) = {*BOTH} - {ignored}
            process.send_signal(other)
            assert await process.wait() == 128 + other
    finally:
        if process.returncode is None:
            process.kill()


def can_be_process_1() -> bool:
    unshare = shutil.which("unshare")
    return (
        unshare is not None
        and not subprocess.run(
            [unshare, "--pid", "--fork", "true"], stderr=subprocess.DEVNULL, check=False
        ).returncode
    )


@pytest.mark.skipif(not can_be_process_1(), reason="needs unshare and the right to use it")
async def test_sigterm_ends_a_watch_that_is_process_1(control_plane: FakeControlPlane) -> None:
    workload_id = control_plane.add_workload()
    command = [sys.executable, "-m", "runai_async", "watch", workload_id, "--interval", "30ms"]
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--pid", "--fork", "--kill-child", *command), env=environment(control_plane)
    )
    try:
        async with asyncio.timeout(30):
            await polled(control_plane)
            inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int(inner), signal.SIGTERM)
            assert await process.wait() == 143
    finally:
        if process.returncode is None:
            process.kill()

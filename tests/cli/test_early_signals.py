"""A signal ends a command at any moment, in silence: also while it is still importing."""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Ran, environment, finished

from runai_async.testing import FakeControlPlane

INTERRUPTED_AT_AN_IMPORT = """
import os, signal, sys
from runai_async.__main__ import main
number, sig, seen = int(sys.argv[1]), int(sys.argv[2]), 0
def audit(event, args):
    global seen
    if event == "import":
        seen += 1
        if seen == number:
            os.kill(os.getpid(), sig)
sys.argv[1:] = sys.argv[3:]
sys.addaudithook(audit)
try:
    main()
finally:
    if number == 0:
        print(seen)
"""
EXPORTER = ("exporter", "--all", "--base-url", "https://[")
"""Its URL is wrong, so it ends when all is imported."""


@pytest.fixture(autouse=True, scope="module")
def interruptible() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, and whatever they start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(number: int, sig: int, *args: str, before: tuple[str, ...] = ()) -> Ran:
    """Run a command that gets a signal at the import of this number."""
    command = [*before, sys.executable, "-c", INTERRUPTED_AT_AN_IMPORT, str(number), str(sig), *args]
    env = environment(None, RUNAI_TOKEN="t")
    ended = subprocess.run(command, capture_output=True, text=True, env=env, timeout=30, check=False)
    return Ran(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def imports() -> int:
    """Return how many modules the exporter imports."""
    ended = interrupted(0, 0, *EXPORTER)
    assert ended.status == 2, ended
    return int(ended.out)


@pytest.mark.parametrize(
    "hundredths",
    [0, 30, 100, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 3, 10, 50, 70, 90))],
)
def test_ctrl_c_during_an_import_ends_a_command_in_silence(imports: int, hundredths: int) -> None:
    number = max(1, imports * hundredths // 100)
    assert interrupted(number, signal.SIGINT, *EXPORTER) == Ran(130, "", "")


def can_be_process_1() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.run(
        [unshare, "--pid", "--fork", "true"], stderr=subprocess.DEVNULL, check=False
    ).returncode  # fmt: skip


@pytest.mark.skipif(not can_be_process_1(), reason="needs unshare and the right to use it")
@pytest.mark.parametrize("hundredths", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_sigterm_during_an_import_ends_process_1(imports: int, hundredths: int) -> None:
    number = imports * hundredths // 100
    before = ("unshare", "--pid", "--fork", "--kill-child")
    assert interrupted(number, signal.SIGTERM, *EXPORTER, before=before) == Ran(143, "", "")


def test_it_is_ignored_where_it_was_ignored(imports: int) -> None:
    before = (shutil.which("env") or "env", "--ignore-signal=INT")
    assert interrupted(imports // 2, signal.SIGINT, *EXPORTER, before=before).status == 2


SCRIPT = Path(sys.executable).with_name("runai-async")
MODULE = (sys.executable, "-m", "runai_async")


@pytest.mark.parametrize("command", [MODULE, (str(SCRIPT),)], ids=["module", "script"])
@pytest.mark.parametrize(
    "milliseconds",
    [0, 100, *(pytest.param(number, marks=pytest.mark.slow) for number in (10, 30, 60, 200, 300))],
)
async def test_ctrl_c_prints_nothing_however_early_it_comes(
    control_plane: FakeControlPlane, command: tuple[str, ...], milliseconds: int
) -> None:
    if not Path(command[0]).exists():
        pytest.skip("the script is not installed")
    control_plane.add_workload("chat")
    env = environment(control_plane)
    env.pop("COVERAGE_PROCESS_CONFIG", None)  # measuring begins before the first line, and takes its time
    process = await asyncio.create_subprocess_exec(
        *(*command, "watch", "chat", "--interval", "1s"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )
    await asyncio.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        ended = await finished(process)
    # Until main() runs, Python itself responds.
    is_ours = re.search(r"/runai_async/(cli/|__main__\.py\", line \d+, in main)", ended.err)
    assert ended == Ran(130, "", "") or (ended.status in {-signal.SIGINT, 1} and not is_ours), ended


def test_the_last_moments_are_silent_too() -> None:
    code = (
        "import atexit, signal, sys\n"
        "from runai_async.__main__ import main\n"
        "atexit.register(signal.raise_signal, signal.SIGINT)\n"
        "sys.argv = ['runai-async', '--version']\n"
        "main()"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(None), check=False)
    assert (ended.returncode, ended.stderr) == (130, "")

"""Importing the package and starting its command, each time in a new interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from benchmarks.measure import Peer, Row, Size, row
from benchmarks.processes import ROOT

_NOTHING = "import runai_async"
_EVERYTHING = "import runai_async\nfor name in runai_async.__all__: getattr(runai_async, name)"
_AIOHTTP = "import aiohttp"
_RUNAPY = "from runai.runai_client import RunaiClient; from runai.api_client import AsyncApiClient"
_TIMED = "import time; began = time.process_time()\n{}\nprint((time.process_time() - began) * 1000)"
_COMMAND = "from runai_async.__main__ import main; main()"
"""What the console script does."""


def rows(_: str, size: Size) -> list[Row]:
    """Measure the CPU time of imports, and of the command as a whole process."""
    return [*_imports(size), *_processes(size)]


def _imports(size: Size) -> list[Row]:
    """Measure from the first line on, without the interpreter's own start."""
    codes = [[_TIMED.format(code)] for code in (_NOTHING, _EVERYTHING, _AIOHTTP, _RUNAPY)]
    nothing, everything, aiohttp, runapy = _interleaved(_printed, codes, size)
    return [
        row("import, no name used", "ms", nothing, Peer("import aiohttp", "", "≤ 0.2"), aiohttp),
        row("import, every public name", "ms", everything, Peer("import aiohttp", "", "≤ 1.30"), aiohttp),
        row("import, every public name", "ms", everything, Peer("import runapy", ""), runapy),
    ]


def _processes(size: Size) -> list[Row]:
    """Measure whole processes, the interpreter's start included."""
    if not hasattr(os, "wait4"):  # Windows
        return []
    codes = [[_COMMAND, "--version"], [_COMMAND, "--help"], [_AIOHTTP]]
    version, help_, aiohttp = _interleaved(_used, codes, size)
    name = "python -c 'import aiohttp'"
    return [
        row("runai-async --version, whole process", "ms", version, Peer(name, "", "≤ 0.5"), aiohttp),
        row("runai-async --help, whole process", "ms", help_, Peer(name, "", "≤ 0.6"), aiohttp),
    ]


def _interleaved(
    measure: Callable[[Sequence[str]], float], codes: Sequence[Sequence[str]], size: Size
) -> list[list[float]]:
    """Measure each code, with its arguments, in turns; return the milliseconds of each turn."""
    times: list[list[float]] = [[] for _ in codes]
    for turn in range(1 + size.pick(2 * size.rounds, 2)):
        for index, code in enumerate(codes):
            milliseconds = measure(code)
            if turn:  # the first one writes byte code
                times[index].append(milliseconds)
    return times


def _printed(code: Sequence[str]) -> float:
    """Return the milliseconds that a process measured itself."""
    with _running(code) as process:
        printed, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return float(printed)


def _used(code: Sequence[str]) -> float:
    """Return the milliseconds of CPU time that a whole process used."""
    with _running(code) as process:
        assert process.stdout is not None
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return (usage.ru_utime + usage.ru_stime) * 1000


def _running(code: Sequence[str]) -> subprocess.Popen[str]:
    # Users' imports do not compile, and neither does a second turn, unless this forbids it to keep byte code.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", *code]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)

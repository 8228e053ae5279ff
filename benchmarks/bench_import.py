"""Importing the package and touching every public name, each time in a new interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.measure import Peer, Row, Size, row
from benchmarks.processes import ROOT

_OURS = "import runai_async\nfor name in runai_async.__all__: getattr(runai_async, name)"
_AIOHTTP = "import aiohttp"
_RUNAPY = "from runai.runai_client import RunaiClient; from runai.api_client import AsyncApiClient"
_TIMED = "import time; began = time.process_time()\n{}\nprint((time.process_time() - began) * 1000)"


def rows(_: str, size: Size) -> list[Row]:
    """Measure the CPU time from the first line on; that of the interpreter's own start is not in it."""
    codes = [_OURS, _AIOHTTP, _RUNAPY]
    times: list[list[float]] = [[] for _ in codes]
    for turn in range(1 + size.pick(2 * size.rounds, 2)):
        for index, code in enumerate(codes):
            took = _took(code)
            if turn:  # the first one writes byte code
                times[index].append(took)
    ours, aiohttp, runapy = times
    return [
        row("import, every public name", "ms", ours, Peer("import aiohttp", "", "≤ 1.30"), aiohttp),
        row("import, every public name", "ms", ours, Peer("import runapy", ""), runapy),
    ]


def _took(code: str) -> float:
    command = [sys.executable, "-c", _TIMED.format(code)]
    # An import that compiles is not what users have, and not what a second turn has, unless forbidden to.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ran = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return float(ran.stdout)

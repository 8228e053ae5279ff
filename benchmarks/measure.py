"""How it is measured: sides that run in processes of their own, in turns, and medians of the turns.

A side is an async context manager in a module of `benchmarks.clients`: it takes the server's address and
yields a `Run`. Its module is imported in the side's own process, so no side pays for another one's imports.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import asdict, dataclass

from benchmarks.processes import ROOT, ended

FULL_ROUNDS, QUICK_ROUNDS = 11, 1


@dataclass(frozen=True)
class Sample:
    """What one turn of a side took, in seconds; and what it kept, in bytes, where that is the question."""

    operations: float
    cpu: float
    wall: float
    resident: float = 0.0


Run = Callable[[int], Awaitable[Sample]]
"""Does that many operations, or what it takes them for, and measures itself."""
Side = Callable[[str], AbstractAsyncContextManager[Run]]


class Stopwatch:
    """Measures CPU time of this process, all its threads, and wall time."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def sample(self, operations: float) -> Sample:
        """Return what it took since the start."""
        return Sample(operations, time.process_time() - self._cpu, time.perf_counter() - self._wall)


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: turns of each side, after one that does not count.
    """

    rounds: int
    quick: bool

    def pick(self, full: int, quick: int) -> int:
        """Return the one or the other amount."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        ours: the median; `peer` likewise.
        ratio: the median of the turns' ratios, from which load that comes and goes drops out.
        spread: the quartiles of these ratios.
        goal: like `≤ 1.10`, of the ratio, or like `≤ 16 kB`, of ours; empty where there is none.
        rate: operations a second of wall time, of the faster side.
    """

    figure: str
    unit: str
    ours: float
    against: str
    peer: float
    ratio: float
    spread: tuple[float, float]
    goal: str = ""
    rate: float = 0.0

    @property
    def reached(self) -> str:
        """Say whether the goal is reached; nothing is made of it but a word in the table."""
        if not self.goal:
            return ""
        sign, number, *unit = self.goal.split()
        value = self.ours if unit else self.ratio
        return "yes" if (value <= float(number) if sign == "≤" else value >= float(number)) else "no"


@dataclass(frozen=True)
class Peer:
    """A side to measure against, and what to reach."""

    name: str
    side: str
    goal: str = ""


def interleaved(
    sides: Sequence[str], url: str, amount: int, rounds: int, *, uncounted: int = 1
) -> list[list[Sample]]:
    """Run sides in turns, the order reversed each time; return the samples of each.

    Args:
        sides: like `ours:list_revisions`, a module of `benchmarks.clients` and a name in it; `+uvloop` may
            follow.
        url: the server's address.
        amount: how much one turn does.
        rounds: turns of each that count.
        uncounted: turns before them, which open connections and fill caches.
    """
    samples: list[list[Sample]] = [[] for _ in sides]
    with ExitStack() as stack:
        processes = [_start(side, url) for side in sides]
        for process in processes:
            stack.enter_context(ended(process))
        for turn in range(uncounted + rounds):
            order = range(len(sides)) if turn % 2 else reversed(range(len(sides)))
            for index in order:
                sample = _ask(processes[index], sides[index], amount)
                if turn >= uncounted:
                    samples[index].append(sample)
    return samples


def _start(side: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker", side, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(process: subprocess.Popen[str], side: str, amount: int) -> Sample:
    assert process.stdin is not None
    assert process.stdout is not None
    print(amount, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"the side {side} ended; what it said stands above")
    return Sample(**json.loads(answer))


def told(sample: Sample) -> str:
    """Write a sample as a line."""
    return json.dumps(asdict(sample))


def compared(
    figure: str, ours: str, peers: Sequence[Peer], *, url: str, amount: int, rounds: int
) -> list[Row]:
    """Measure the CPU time of an operation, ours against each of the peers."""
    own, *others = interleaved([ours, *(peer.side for peer in peers)], url, amount, rounds)
    return [
        row(figure, "µs", _cpu(own), peer, _cpu(theirs), rate=max(_rate(own), _rate(theirs)))
        for peer, theirs in zip(peers, others, strict=True)
    ]


def row(
    figure: str, unit: str, ours: Sequence[float], peer: Peer, theirs: Sequence[float], *, rate: float = 0.0
) -> Row:
    """Make a line of the figures of both sides, one of each turn."""
    ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
    return Row(
        figure=figure,
        unit=unit,
        ours=statistics.median(ours),
        against=peer.name,
        peer=statistics.median(theirs),
        ratio=statistics.median(ratios),
        spread=_quartiles(ratios),
        goal=peer.goal,
        rate=rate,
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    first, _, third = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    )
    return first, third


def _cpu(samples: Sequence[Sample]) -> list[float]:
    return [sample.cpu / sample.operations * 1e6 for sample in samples]


def _rate(samples: Sequence[Sample]) -> float:
    return max(sample.operations / sample.wall for sample in samples)

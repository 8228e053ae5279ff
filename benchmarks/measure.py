"""How to measure: clients run in processes of their own and take turns; the figures are medians of the turns.

A client here is an async context manager in a module of `benchmarks.clients`. It takes the server's address
and yields a `Run`. Its module is imported only in its own process, so no client pays for another's imports.
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
    """What one turn of a client took, in seconds; and, where measured, the memory it kept, in bytes."""

    operations: float
    cpu: float
    wall: float
    resident: float = 0.0


Run = Callable[[int], Awaitable[Sample]]
"""Does that many operations, or runs for that many milliseconds, and measures itself."""
Client = Callable[[str], AbstractAsyncContextManager[Run]]


class Stopwatch:
    """Measures the wall time and the CPU time of this process, all threads included."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def sample(self, operations: float) -> Sample:
        """Return what was used since the start."""
        return Sample(operations, time.process_time() - self._cpu, time.perf_counter() - self._wall)


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: turns of each client, after a first one that does not count.
    """

    rounds: int
    quick: bool

    def pick(self, full: int, quick: int) -> int:
        """Return the amount for a full or for a quick run."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        ours: our median; `peer` is theirs.
        ratio: the median of the turns' ratios, which cancels load that comes and goes.
        spread: the quartiles of these ratios.
        goal: for the ratio, like `≤ 1.10`, or for our own figure, like `≤ 16 kB`; empty if there is none.
        rate: operations per second of wall time, of the faster client.
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
        """Say whether the goal is reached. This is only shown in the table; nothing depends on it."""
        if not self.goal:
            return ""
        sign, number, *unit = self.goal.split()
        value = self.ours if unit else self.ratio
        return "yes" if (value <= float(number) if sign == "≤" else value >= float(number)) else "no"


@dataclass(frozen=True)
class Peer:
    """A client to compare with, and the goal."""

    name: str
    client: str
    goal: str = ""


def interleaved(
    clients: Sequence[str], url: str, amount: int, rounds: int, *, uncounted: int = 1
) -> list[list[Sample]]:
    """Run clients in turns, in reversed order every other time, and return the samples of each.

    Args:
        clients: each a module of `benchmarks.clients` and a name in it, like `ours:list_revisions`;
            `+uvloop` may follow.
        url: the server's address.
        amount: how much one turn does.
        rounds: counted turns of each client.
        uncounted: turns before those, to open connections and fill caches.
    """
    samples: list[list[Sample]] = [[] for _ in clients]
    with ExitStack() as stack:
        processes = [_start(client, url) for client in clients]
        for process in processes:
            stack.enter_context(ended(process))
        for turn in range(uncounted + rounds):
            order = range(len(clients)) if turn % 2 else reversed(range(len(clients)))
            for index in order:
                sample = _ask(processes[index], clients[index], amount)
                if turn >= uncounted:
                    samples[index].append(sample)
    return samples


def _start(client: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker", client, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(process: subprocess.Popen[str], client: str, amount: int) -> Sample:
    assert process.stdin is not None
    assert process.stdout is not None
    print(amount, file=process.stdin, flush=True)
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the client {client} ended; its error is printed above")
    return Sample(**json.loads(line))


def encode(sample: Sample) -> str:
    """Return a sample as one line of JSON."""
    return json.dumps(asdict(sample))


def compared(
    figure: str, ours: str, peers: Sequence[Peer], *, url: str, amount: int, rounds: int
) -> list[Row]:
    """Compare the CPU time of our operation with that of each peer."""
    own, *others = interleaved([ours, *(peer.client for peer in peers)], url, amount, rounds)
    return [
        row(figure, "µs", _cpu(own), peer, _cpu(theirs), rate=max(_rate(own), _rate(theirs)))
        for peer, theirs in zip(peers, others, strict=True)
    ]


def row(
    figure: str, unit: str, ours: Sequence[float], peer: Peer, theirs: Sequence[float], *, rate: float = 0.0
) -> Row:
    """Make a line from the figures of both clients, one for each turn."""
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

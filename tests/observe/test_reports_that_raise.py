"""Whatever a log handler, filter or hook raises, at whatever call: the same polls and the same events."""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import attrs
import pytest
from support.harness import HTML_502, REFUSED_403, Harness, Reply, within

from runai_async import (
    HookEvent,
    NotFoundError,
    PollPolicy,
    Response,
    RetryPolicy,
    RunaiClient,
    RunaiError,
    TransportError,
)
from runai_async.testing._state import State

LOG = logging.getLogger("runai_async")
EMIT: Any = frozenset({"updated", "synced", "degraded", "recovered", "clusters"})
POLICY = PollPolicy(interval=10, fast_interval=5, missing_grace=30, max_outage=120, emit=EMIT)
ERRORS: list[Callable[[], Exception]] = [
    lambda: OSError(28, "No space left on device"),
    lambda: ValueError("I/O operation on closed file"),
    RecursionError,
    StopIteration,
    StopAsyncIteration,
    TimeoutError,
    lambda: TransportError("a handler that sends records over the network"),
    lambda: NotFoundError(404, "the same"),
]
Where = Literal["handler", "filter", "hook"]


class Disturbance:
    """Raises at some of the calls of a handler, a filter and a hook; in an undisturbed run at none of them.

    Attributes:
        raised: how often.
    """

    def __init__(self, seed: int | None = None, rate: float = 0.0) -> None:
        self.raised = 0
        self._random = random.Random(seed)
        self._rate = rate

    def maybe(self, *_: object) -> bool:
        if self._random.random() < self._rate:
            self.raised += 1
            error = self._random.choice(ERRORS)
            raise error()
        return True

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Log to a handler and through filters that raise, and to no other, so that nothing is printed."""
        handler, level, propagate = _Handler(self.maybe), LOG.level, LOG.propagate
        LOG.addHandler(handler)
        LOG.addFilter(self.maybe)
        LOG.setLevel(logging.DEBUG)
        LOG.propagate = False
        try:
            yield
        finally:
            LOG.removeHandler(handler)
            LOG.removeFilter(self.maybe)
            LOG.setLevel(level)
            LOG.propagate = propagate

    def hook(self, _: HookEvent) -> None:
        self.maybe()


class _Handler(logging.Handler):
    def __init__(self, maybe: Callable[[], bool]) -> None:
        super().__init__()
        self._maybe = maybe

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()
        self._maybe()


# --- what happens on the control plane --------------------------------------------------------------------


def plan(harness: Harness, seed: int) -> None:
    """Let revisions come, move and go, with outages, refusals, broken items and stale lists in between."""
    chance = random.Random(seed)
    revision_id = harness.add("Creating")
    for at in range(5, 400, 9):
        harness.at(at, chance.choice(STEPS), harness, chance, revision_id)


def _phase(harness: Harness, chance: random.Random, revision_id: str) -> None:
    harness.set_phase(revision_id, chance.choice(["Pending", "Running", "Degraded", "Updating"]))


def _add(harness: Harness, chance: random.Random, _: str) -> None:
    harness.add(chance.choice(["Pending", "Running"]))


def _hide(harness: Harness, chance: random.Random, _: str) -> None:
    empty, broken = Response(body=b'{"revisions": []}'), Response(body=BROKEN)
    harness.next_lists.extend(chance.choices([empty, broken, HTML_502, REFUSED_403], k=3))


def _outage(harness: Harness, chance: random.Random, _: str) -> None:
    replies: list[Reply | bool] = [HTML_502, REFUSED_403, TransportError("down"), True]
    harness.lists = harness.listings = chance.choice(replies)


def _recovery(harness: Harness, *_: object) -> None:
    harness.lists = harness.listings = harness.others = True


def _confirmations(harness: Harness, chance: random.Random, _: str) -> None:
    replies: list[Reply | bool] = [HTML_502, True]
    harness.others = chance.choice(replies)


BROKEN = json.dumps({"revisions": [{"id": "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d", "phase": 7}]}).encode()
STEPS: list[Callable[..., object]] = [_phase, _add, _hide, _outage, _recovery, _recovery, _confirmations]

# --- the runs ---------------------------------------------------------------------------------------------


@attrs.frozen
class Run:
    """What was asked for and what came of it."""

    requests: list[tuple[float, str, str]]
    events: list[str]
    state: object


Scenario = Callable[[Harness, RunaiClient, list[str]], Any]


async def watch(harness: Harness, runai: RunaiClient, events: list[str]) -> object:
    stream = runai.watch_revisions(harness.workload_id, poll=POLICY, fill_gaps=True)
    await _consume(harness, stream, events)
    return stream.status, stream.checkpoint()


async def fleet(harness: Harness, runai: RunaiClient, events: list[str]) -> object:
    for name in ("a", "b"):
        harness.add(workload_id=harness.state.add_workload(name, "Inference", {}))
    policy = attrs.evolve(POLICY, max_outage=60)
    async with runai.watch_fleet(runai.inference_workloads, poll=policy, discovery_interval=20) as stream:
        await _consume(harness, stream, events)
        return stream.status, stream.checkpoint()


async def wait(harness: Harness, runai: RunaiClient, events: list[str]) -> object:
    harness.add("Pending")
    try:
        rollout = runai.wait_for_rollout(harness.workload_id, timeout=300, poll=POLICY)
        done = await within(harness, 600, rollout)
    except RunaiError as error:
        events.append(f"{type(error).__name__}: {error}")
        return None
    return done.id, done.phase


async def _consume(harness: Harness, stream: Any, events: list[str]) -> None:
    async def consume() -> None:
        try:
            async for event in stream:
                events.append(repr(event))  # errors do not compare by what they say  # noqa: PERF401
        except RunaiError as error:
            events.append(f"{type(error).__name__}: {error}")

    task = asyncio.create_task(consume())
    await harness.clock.advance(500)
    task.cancel()
    await asyncio.wait({task})


async def run(scenario: Scenario, seed: int, disturbance: Disturbance) -> Run:
    random.seed(seed)  # the jitter of polls and retries
    harness = Harness()
    harness.state = State(seed, harness.clock.now, 10_000)  # the same ids in every run
    harness.workload_id = harness.state.add_workload("llm", "Inference", {})
    events: list[str] = []
    with disturbance.logging():
        async with harness.client(hooks=[disturbance.hook], retry=RetryPolicy(attempts=2)) as runai:
            plan(harness, seed)
            state = await scenario(harness, runai, events)
    return Run(harness.requests, events, repr(state))


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 8))]
)
@pytest.mark.parametrize("scenario", [watch, fleet, wait])
async def test_what_reports_raise_changes_no_poll_and_no_event(scenario: Scenario, seed: int) -> None:
    expected = await run(scenario, seed, Disturbance())
    assert len(expected.requests) > 1
    for rate in (1.0, 0.3):
        disturbance = Disturbance(seed, rate)
        assert await run(scenario, seed, disturbance) == expected
        assert disturbance.raised

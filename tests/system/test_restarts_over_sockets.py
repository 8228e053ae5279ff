"""Services behind the control plane restart for minutes, over real sockets: what is followed goes on."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from aiohttp import web
from attrs import evolve
from support.loops import in_passing_minutes
from support.timed import TimedControlPlane

from runai_async import (
    AuthenticationError,
    ClientCredentials,
    FleetEvent,
    PollPolicy,
    RevisionAdded,
    RevisionDeleted,
    RunaiClient,
    WatchEvent,
)
from runai_async.testing._workload_list import ListOrder

pytestmark = pytest.mark.slow

POLICY = PollPolicy(interval=10, fast_interval=10)
BRIEF = evolve(POLICY, max_outage=300)
SLOW = PollPolicy(interval=60, fast_interval=60)
"""For fleets of hundreds."""
T = TypeVar("T")
LIST = r"/revisions$"


class Scene:
    """One workload with one revision, and all that follow it.

    Attributes:
        reported: what each of them has reported, by its name.
    """

    def __init__(self, control_plane: TimedControlPlane, policy: PollPolicy = POLICY) -> None:
        self.control_plane = control_plane
        self.policy = policy
        self.workload_id = control_plane.add_workload("chat")
        self.revision_id = control_plane.add_revision(self.workload_id, "Pending")
        self.reported: dict[str, list[str]] = {name: [] for name in FOLLOWING}

    async def follow(self, name: str, runai: RunaiClient) -> None:
        """Note what one of them reports, until it is over."""
        reported = self.reported[name]
        async for what in FOLLOWING[name](self, runai):
            reported.append(what)

    @asynccontextmanager
    async def followed(self, auth: str | None = None) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
        """Follow it in all ways, each with a client of its own."""
        clients = {name: self.control_plane.client(auth) for name in FOLLOWING}
        tasks = {name: asyncio.create_task(self.follow(name, runai)) for name, runai in clients.items()}
        try:
            yield tasks
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())
            for runai in clients.values():
                await runai.aclose()


def errors_of(tasks: Mapping[str, asyncio.Task[None]]) -> dict[str, object]:
    """Return the class of the error with which each of the tasks has ended."""
    return {name: type(task.exception()) for name, task in tasks.items()}


async def kinds_of(events: AsyncIterator[WatchEvent | FleetEvent]) -> AsyncIterator[str]:
    async for event in events:
        yield event.kind


def watching(scene: Scene, runai: RunaiClient) -> AsyncIterator[str]:
    return kinds_of(runai.watch_revisions(scene.workload_id, poll=scene.policy))


async def watching_a_fleet(scene: Scene, runai: RunaiClient) -> AsyncIterator[str]:
    async with runai.watch_fleet([scene.workload_id], poll=scene.policy) as fleet:
        async for kind in kinds_of(fleet):
            yield kind


async def discovering(scene: Scene, runai: RunaiClient) -> AsyncIterator[str]:
    workloads = runai.inference_workloads
    async with runai.watch_fleet(workloads, poll=scene.policy, discovery_interval=20) as fleet:
        async for kind in kinds_of(fleet):
            yield kind


async def waiting_for_a_phase(scene: Scene, runai: RunaiClient) -> AsyncIterator[str]:
    yield (await runai.wait_for_phase(scene.revision_id, "Running", poll=scene.policy)).phase


async def waiting_for_a_rollout(scene: Scene, runai: RunaiClient) -> AsyncIterator[str]:
    yield (await runai.wait_for_rollout(scene.workload_id, poll=scene.policy)).phase


FOLLOWING: Mapping[str, Callable[[Scene, RunaiClient], AsyncIterator[str]]] = {
    "watch": watching,
    "fleet": watching_a_fleet,
    "discovery": discovering,
    "wait_for_phase": waiting_for_a_phase,
    "wait_for_rollout": waiting_for_a_rollout,
}
EVERYTHING = {
    "watch": ["added", "phase_changed"],
    "fleet": ["added", "phase_changed"],
    "discovery": ["added", "phase_changed"],
    "wait_for_phase": ["Running"],
    "wait_for_rollout": ["Running"],
}
"""What is reported of a revision that was Pending and runs now."""

Restart = Callable[[TimedControlPlane, float], None]


def identity_restarts(control_plane: TimedControlPlane, seconds: float) -> None:
    control_plane.restart_identity(seconds)


def clocks_differ(control_plane: TimedControlPlane, seconds: float) -> None:
    """Every client needs a new token now, and each token is refused for as long as that is young."""
    control_plane.revoke_tokens()
    control_plane.refuse_young_tokens(seconds)


def authorization_restarts(control_plane: TimedControlPlane, seconds: float) -> None:
    control_plane.restart_authorization(seconds)


def read_model_restarts_empty(control_plane: TimedControlPlane, seconds: float) -> None:
    control_plane.restart_read_model(seconds)


def read_model_restarts_with_404(control_plane: TimedControlPlane, seconds: float) -> None:
    control_plane.restart_read_model(seconds, missing=True)


@pytest.mark.parametrize(
    ("restart", "seconds"),
    [
        (identity_restarts, 45),
        (identity_restarts, 240),
        (clocks_differ, 45),
        (clocks_differ, 240),
        (authorization_restarts, 300),
        (read_model_restarts_empty, 95),
        (read_model_restarts_with_404, 95),
    ],
)
@in_passing_minutes
async def test_whatever_restarts_the_change_made_meanwhile_is_reported_and_nothing_else(
    restart: Restart, seconds: float
) -> None:
    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane)
        async with scene.followed() as tasks:
            await asyncio.sleep(35)
            restart(control_plane, seconds)
            await asyncio.sleep(seconds / 2)
            control_plane.set_phase(scene.revision_id, "Running")
            await asyncio.sleep(seconds + 180)  # back-off, and new tokens that are young once more

            assert scene.reported == EVERYTHING
            assert [name for name, task in tasks.items() if task.done()] == [
                "wait_for_phase",
                "wait_for_rollout",
            ]
    assert control_plane.token_requests <= len(FOLLOWING) * (4 + seconds / 10)


@pytest.mark.parametrize("name", FOLLOWING)
@in_passing_minutes
async def test_a_wrong_secret_ends_everything_at_once(name: str) -> None:
    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane)
        async with control_plane.client(ClientCredentials("id", "wrong")) as runai:
            with pytest.raises(AuthenticationError) as caught:
                await scene.follow(name, runai)

    assert caught.value.is_final
    assert control_plane.token_requests == 1


# --- many workloads -----------------------------------------------------------------------------------------


@in_passing_minutes
async def test_an_authorization_service_that_restarts_is_one_warning_of_a_fleet_of_two_hundred(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with TimedControlPlane() as control_plane:
        ids = [control_plane.add_workload() for _ in range(200)]
        revisions = [control_plane.add_revision(workload_id, "Running") for workload_id in ids]
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(ids, poll=SLOW) as fleet,
            reporting(fleet) as reported,
        ):
            await asyncio.sleep(90)
            control_plane.restart_authorization(300)
            await asyncio.sleep(200)
            control_plane.set_phase(revisions[7], "Failed")
            assert fleet.status.refused == 200
            await asyncio.sleep(180)
            assert (fleet.status.refused, fleet.status.failing) == (0, 0)

    assert Counter(event.kind for event in reported) == {"added": 200, "phase_changed": 1}
    (record,) = caplog.records
    assert "refused, though they were readable before: " in record.getMessage()


@pytest.mark.parametrize("missing", [False, True])
@in_passing_minutes
async def test_a_read_model_that_restarts_empty_deletes_nothing_of_twelve_workloads(missing: bool) -> None:
    async with TimedControlPlane() as control_plane:
        ids = [control_plane.add_workload() for _ in range(12)]
        revisions = [control_plane.add_revision(workload_id, "Pending") for workload_id in ids]
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(ids, poll=POLICY) as by_ids,
            runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=20) as by_list,
            reporting(by_ids, by_list, *(runai.watch_revisions(key, poll=POLICY) for key in ids)) as reported,
            waiting(*(runai.wait_for_phase(key, "Running", poll=POLICY) for key in revisions)) as waits,
            waiting(*(runai.wait_for_rollout(key, poll=POLICY) for key in ids)) as rollouts,
        ):
            await asyncio.sleep(50)
            control_plane.restart_read_model(95, missing=missing)
            await asyncio.sleep(120)
            assert Counter(event.kind for event in reported) == {"added": 36}
            assert not [wait for wait in (*waits, *rollouts) if wait.done()]
            for revision_id in revisions:
                control_plane.set_phase(revision_id, "Running")
            await asyncio.sleep(30)
            assert Counter(event.kind for event in reported) == {"added": 36, "phase_changed": 36}
            assert {wait.result().phase for wait in (*waits, *rollouts)} == {"Running"}


# --- tokens that stay refused -------------------------------------------------------------------------------


@in_passing_minutes
async def test_tokens_that_stay_refused_end_it_after_max_outage_with_few_token_requests() -> None:
    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane, BRIEF)
        async with scene.followed() as tasks:
            await asyncio.sleep(35)
            control_plane.revoke_tokens()
            control_plane.refuse_young_tokens(math.inf)
            before = control_plane.token_requests
            await asyncio.sleep(280)
            assert not [name for name, task in tasks.items() if task.done()]
            await asyncio.sleep(100)
            assert errors_of(tasks) == dict.fromkeys(FOLLOWING, AuthenticationError)

    assert control_plane.token_requests - before <= len(FOLLOWING) * 6


@in_passing_minutes
async def test_a_fixed_token_that_has_expired_ends_it_at_once() -> None:
    async with TimedControlPlane(token_lifetime=100) as control_plane:
        scene, token = Scene(control_plane), control_plane.token
        async with scene.followed(token) as tasks:
            await asyncio.sleep(98)
            assert not [name for name, task in tasks.items() if task.done()]
            await asyncio.sleep(25)
            assert errors_of(tasks) == dict.fromkeys(FOLLOWING, AuthenticationError)


@in_passing_minutes
async def test_a_fixed_token_that_was_revoked_is_an_outage_until_then() -> None:
    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane, BRIEF)
        async with control_plane.client(control_plane.token) as runai:
            following = asyncio.create_task(scene.follow("watch", runai))
            await asyncio.sleep(35)
            control_plane.revoke_tokens()
            began = control_plane.now
            with pytest.raises(AuthenticationError, match="revoked"):
                await following

    assert 280 <= control_plane.now - began <= 380
    assert len([at for at in control_plane.times("/revisions") if at > began]) < 60


# --- one workload -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [15, 45])
@in_passing_minutes
async def test_a_deleted_revision_that_a_stale_replica_shows_again_is_deleted_once(pause: float) -> None:
    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane)
        control_plane.add_revision(scene.workload_id, "Running")
        async with (
            control_plane.client() as runai,
            runai.watch_fleet([scene.workload_id], poll=POLICY) as fleet,
            reporting(fleet, runai.watch_revisions(scene.workload_id, poll=POLICY)) as reported,
        ):
            await asyncio.sleep(30)
            stale = {"revisions": [control_plane.revision(scene.revision_id)]}
            control_plane.delete_revision(scene.revision_id)
            for _ in range(3):
                await asyncio.sleep(pause)
                control_plane.fail_next(None, 200, body=stale, path=LIST)
                await asyncio.sleep(12)  # each of them polls once or twice
                control_plane.clear_faults()
            await asyncio.sleep(150)

    deleted = [event for event in reported if isinstance(event, RevisionDeleted)]
    assert [event.revision_id for event in deleted] == [scene.revision_id] * 2
    assert Counter(event.kind for event in reported) == {"added": 4, "deleted": 2}


@pytest.mark.parametrize("what", ["the deleted list", "a get"])
@in_passing_minutes
async def test_a_confirmation_that_takes_minutes_does_not_hold_back_what_else_changed(what: str) -> None:
    def delay(request: web.Request) -> float:
        by_id = "/revisions/" in request.path
        return 90 if (by_id if what == "a get" else request.query.get("deleted") == "true") else 0

    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane)
        hidden = control_plane.add_revision(scene.workload_id, "Running")
        control_plane.delay = delay
        policy = evolve(POLICY, missing_grace=600)
        async with (
            control_plane.client() as runai,
            runai.watch_fleet([scene.workload_id], poll=policy) as fleet,
            runai.watch_revisions(scene.workload_id, poll=policy) as watch,
            reporting(fleet, watch) as reported,
        ):
            await asyncio.sleep(30)
            control_plane.hide_revision(hidden)
            for phase in ("Initializing", "Running"):
                await asyncio.sleep(40)
                began, before = control_plane.now, len(reported)
                control_plane.set_phase(scene.revision_id, phase)
                while len(reported) < before + 2:
                    await asyncio.sleep(0.1)
                limit = POLICY.interval + POLICY.deadline / 4
                assert control_plane.now - began <= 2 * limit + 1  # the poll before it may be waiting, too
                assert watch.status.consecutive_failures == 0
            control_plane.show_revision(hidden)
            await asyncio.sleep(100)

    assert Counter(event.kind for event in reported) == {"added": 4, "phase_changed": 4}


@pytest.mark.parametrize("name", FOLLOWING)
@in_passing_minutes
async def test_a_gateway_that_is_starting_is_waited_for(name: str) -> None:
    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane)
        control_plane.set_phase(scene.revision_id, "Running")
        control_plane.fail_next(1, 200, body={"status": "starting"})
        async with control_plane.client() as runai:
            following = asyncio.create_task(scene.follow(name, runai))
            await asyncio.sleep(60)
            assert scene.reported[name] == EVERYTHING[name][:1]
            following.cancel()
            await asyncio.wait({following})


# --- the list of workloads ----------------------------------------------------------------------------------


def rows_that_move(control_plane: TimedControlPlane) -> list[str]:
    """Add three pages of workloads, of which others are deleted and created as the pages are read."""
    passing = [control_plane.add_workload() for _ in range(20)]
    ids = [control_plane.add_workload() for _ in range(1200)]
    passing += [control_plane.add_workload() for _ in range(20)]

    def move() -> None:
        if passing:
            control_plane.delete_workload(passing.pop(len(passing) // 2))
            control_plane.add_workload(type="Workspace")

    control_plane.before_list = move
    return ids


@pytest.mark.parametrize("order", ["created", "random"])
@in_passing_minutes
async def test_twelve_hundred_workloads_are_each_listed_once_while_rows_move(order: ListOrder) -> None:
    async with TimedControlPlane(seed=3) as control_plane, control_plane.client() as runai:
        control_plane.list_order = order
        ids = rows_that_move(control_plane)
        listed = [workload.id async for workload in runai.list_workloads()]

    assert set(listed) >= set(ids)
    assert len(listed) == len(set(listed))


@pytest.mark.slow
@in_passing_minutes
async def test_twelve_hundred_workloads_in_random_order_are_all_watched() -> None:
    async with TimedControlPlane(sorts=False, seed=3) as control_plane:
        control_plane.list_order = "random"
        ids = rows_that_move(control_plane)
        for workload_id in ids:
            control_plane.add_revision(workload_id, "Running")
        policy = evolve(SLOW, interval=100, fast_interval=100)
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(runai.inference_workloads, poll=policy, discovery_interval=15) as fleet,
            reporting(fleet) as reported,
        ):
            await asyncio.sleep(140)  # what a listing missed joins after the next one
            assert fleet.workload_ids >= set(ids)

    added = [event for event in reported if isinstance(event, RevisionAdded)]
    assert sorted(event.workload_id for event in added) == sorted(ids)
    assert Counter(event.kind for event in reported) == {"added": 1200}


@in_passing_minutes
async def test_a_list_that_takes_seconds_is_asked_for_a_tenth_of_the_time_at_most() -> None:
    async with TimedControlPlane() as control_plane:
        Scene(control_plane)
        control_plane.list_seconds = 8
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(runai.inference_workloads, poll=SLOW, discovery_interval=2) as fleet,
        ):
            await asyncio.sleep(1200)
            assert fleet.status.discovery_interval == pytest.approx(72, abs=1)

    assert 10 <= len(control_plane.times("/workloads")) <= 0.1 * 1200 / 8 + 1


@in_passing_minutes
async def test_a_list_that_times_out_is_asked_for_every_few_minutes() -> None:
    async with TimedControlPlane() as control_plane:
        scene = Scene(control_plane)
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(runai.inference_workloads, poll=SLOW, discovery_interval=2) as fleet,
        ):
            await asyncio.sleep(60)
            control_plane.list_seconds = 1000
            before = len(control_plane.times("/workloads"))
            await asyncio.sleep(1200)
            assert fleet.workload_ids == {scene.workload_id}

    assert 3 <= len(control_plane.times("/workloads")) - before <= 5


# --- helpers ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def reporting(
    *streams: AsyncIterator[WatchEvent] | AsyncIterator[FleetEvent],
) -> AsyncIterator[list[WatchEvent | FleetEvent]]:
    """Collect what streams yield; an error of one of them is raised at the end."""
    reported: list[WatchEvent | FleetEvent] = []

    async def collect(stream: AsyncIterator[WatchEvent] | AsyncIterator[FleetEvent]) -> None:
        async for event in stream:
            reported.append(event)  # noqa: PERF401  (kept when this is cancelled)

    async with waiting(*map(collect, streams)) as tasks:
        yield reported
        for task in tasks:
            if task.done():
                task.result()


@asynccontextmanager
async def waiting(*work: Awaitable[T]) -> AsyncIterator[Sequence[asyncio.Future[T]]]:
    """Run work beside the test, and cancel it at the end."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

"""Restarts at the worst moment, over real sockets: in a listing, in a pause, beside other fleets."""

import asyncio
import itertools

import pytest
from support.loops import in_passing_minutes
from support.timed import TimedControlPlane

from runai_async import AuthenticationError, DeadlineExceededError, PollPolicy, WatchOutageError

POLICY = PollPolicy(interval=10, fast_interval=10)
BRIEF = PollPolicy(interval=10, fast_interval=10, max_outage=120)


def with_workloads(control_plane: TimedControlPlane, count: int) -> list[str]:
    """Add workloads with one revision each; return the ids of the revisions."""
    return [control_plane.add_revision(control_plane.add_workload(), "Running") for _ in range(count)]


@pytest.mark.parametrize("page", [1, 2, 3])
@in_passing_minutes
async def test_a_server_that_dies_in_a_listing_changes_nothing(page: int) -> None:
    async with TimedControlPlane() as control_plane:
        with_workloads(control_plane, 5)
        for _ in range(1200):
            control_plane.add_workload(type="Workspace")
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=20) as fleet,
        ):
            for _ in range(5):
                assert (await anext(fleet)).kind == "added"
            control_plane.list_seconds = 1
            pages = len(control_plane.times("/workloads"))
            while len(control_plane.times("/workloads")) < pages + page:
                await asyncio.sleep(0.1)
            await control_plane.stop()
            await asyncio.sleep(60)
            with_workloads(control_plane, 1)
            await control_plane.start()
            assert (await anext(fleet)).kind == "added"
            assert len(fleet.workload_ids) == 6
            await asyncio.sleep(15)
            assert fleet.status.failing == 0


@in_passing_minutes
async def test_a_token_that_expires_in_a_pause_is_replaced_behind_it() -> None:
    async with TimedControlPlane(token_lifetime=100) as control_plane:
        revisions = with_workloads(control_plane, 20)
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=20) as fleet,
        ):
            for _ in revisions:
                assert (await anext(fleet)).kind == "added"
            control_plane.restart_identity(240)
            await asyncio.sleep(200)
            before = control_plane.token_requests
            for revision_id in revisions:
                control_plane.set_phase(revision_id, "Failed")
            events = [await anext(fleet) for _ in revisions]
            assert {event.kind for event in events} == {"phase_changed"}
            assert control_plane.token_requests - before <= 10


@in_passing_minutes
async def test_two_fleets_and_a_copy_of_their_client_list_one_at_a_time_and_none_starves() -> None:
    async with TimedControlPlane() as control_plane:
        with_workloads(control_plane, 3)
        control_plane.list_seconds = 1
        async with control_plane.client() as runai:
            copy = runai.with_options(timeout=20)
            async with (
                runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=2) as one,
                runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=5) as other,
                copy.watch_fleet(copy.inference_workloads, poll=POLICY, discovery_interval=2) as third,
            ):
                await asyncio.sleep(100)
                control_plane.add_workload()
                await asyncio.sleep(35)
                assert [len(fleet.workload_ids) for fleet in (one, other, third)] == [4] * 3

    times = control_plane.times("/workloads")
    assert 10 <= len(times) <= 15
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 9.9


class Blocking:
    """A provider of tokens that stops to return."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.is_blocked = False

    async def get_token(self) -> str:
        if self.is_blocked:
            await asyncio.Event().wait()
        return self.token

    def invalidate(self, token: str) -> None:
        self.is_blocked = True


@in_passing_minutes
async def test_a_provider_that_blocks_is_an_outage_for_everyone() -> None:
    async with TimedControlPlane() as control_plane:
        (revision_id,) = with_workloads(control_plane, 1)
        workload_id = control_plane.revision(revision_id)["workloadId"]
        provider = Blocking(control_plane.token)
        async with (
            control_plane.client(provider) as runai,
            runai.watch_revisions(workload_id, poll=BRIEF) as watch,
            runai.watch_fleet([workload_id], poll=BRIEF) as fleet,
            runai.watch_fleet(runai.inference_workloads, poll=BRIEF, discovery_interval=20) as by_list,
        ):
            for stream in (watch, fleet, by_list):
                assert (await anext(stream)).kind == "added"
            provider.is_blocked = True
            began = control_plane.now
            for stream in (watch, fleet, by_list):
                with pytest.raises(WatchOutageError) as caught:
                    await anext(stream)
                assert isinstance(caught.value.last_error, DeadlineExceededError)
            assert control_plane.now - began <= 120 + 3 * 60


@in_passing_minutes
async def test_a_provider_that_blocks_after_a_refusal_ends_in_time() -> None:
    async with TimedControlPlane() as control_plane:
        (revision_id,) = with_workloads(control_plane, 1)
        workload_id = control_plane.revision(revision_id)["workloadId"]
        provider = Blocking(control_plane.token)
        async with (
            control_plane.client(provider) as runai,
            runai.watch_revisions(workload_id, poll=BRIEF) as watch,
        ):
            assert (await anext(watch)).kind == "added"
            await asyncio.sleep(40)
            control_plane.revoke_tokens()
            began = control_plane.now
            with pytest.raises(WatchOutageError):
                await anext(watch)
            assert provider.is_blocked
            assert control_plane.now - began <= 120 + 3 * 60


@in_passing_minutes
async def test_a_fleet_outlives_one_restart_right_after_another() -> None:
    async with TimedControlPlane() as control_plane:
        revisions = with_workloads(control_plane, 12)
        async with (
            control_plane.client() as runai,
            runai.watch_fleet(runai.inference_workloads, poll=POLICY, discovery_interval=20) as fleet,
        ):
            for _ in revisions:
                assert (await anext(fleet)).kind == "added"
            for _ in range(2):
                control_plane.restart_identity(100)
                control_plane.restart_authorization(160)
                control_plane.restart_read_model(220, missing=True)
                await asyncio.sleep(225)
            for revision_id in revisions:
                control_plane.set_phase(revision_id, "Failed")
            events = [await anext(fleet) for _ in revisions]
            assert {event.kind for event in events} == {"phase_changed"}
            assert (fleet.status.failing, fleet.status.refused) == (0, 0)


@in_passing_minutes
async def test_a_fleet_that_starts_in_a_restart_of_seconds_goes_on() -> None:
    async with TimedControlPlane() as control_plane:
        with_workloads(control_plane, 12)
        control_plane.restart_identity(2)
        token = control_plane.token
        async with control_plane.client(token) as runai:
            ids = [workload.id async for workload in runai.list_workloads()]
            control_plane.restart_identity(2)
            async with runai.watch_fleet(ids, poll=POLICY) as fleet:
                assert {(await anext(fleet)).kind for _ in ids} == {"added"}
            control_plane.restart_identity(2)
            async with runai.watch_fleet(runai.inference_workloads, poll=POLICY) as fleet:
                assert {(await anext(fleet)).kind for _ in ids} == {"added"}
            control_plane.restart_identity(20)
            async with runai.watch_fleet(ids, poll=POLICY) as fleet:
                with pytest.raises(AuthenticationError):
                    await anext(fleet)

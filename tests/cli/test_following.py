"""Names are followed: the workload that has a name now is watched, whatever had it before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise

import pytest
from support.fleets import of_size
from support.harness import HTML_502, Harness

from runai_async import PollPolicy, RevisionAdded, RevisionDeleted
from runai_async._fleet.fleet_watch import FleetWatch, begin_with
from runai_async._fleet.query_reader import QueryReader
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.cli.following import Following, discovered, every
from runai_async.cli.ids import find_patiently
from runai_async.cli.patience import Patience
from runai_async.testing import Response

POLICY = PollPolicy(interval=10, fast_interval=10, max_outage=60, missing_grace=30)
OTHER_PROJECT = "7d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"
EMPTY = Response(body=b'{"workloads": []}')


class Setting:
    """A fleet of the workloads that have the name "llm", or are given otherwise."""

    def __init__(self, harness: Harness, fleet: FleetWatch, following: Following, lines: list[str]) -> None:
        self.harness = harness
        self.fleet = fleet
        self.following = following
        self.lines = lines

    async def after(self, seconds: float) -> list[tuple[type, str]]:
        """Return the kinds and workloads of the events of so many seconds."""
        events = await self.harness.collect(self.fleet, seconds)
        return [(type(event), event.workload_id) for event in events]

    def recreate(self, **fields: str) -> str:
        """Delete the workload and create another one of its name; return its id."""
        self.harness.state.delete_workload(self.harness.workload_id)
        return self.create(**fields)

    def create(self, **fields: str) -> str:
        workload_id = self.harness.state.add_workload("llm", "Inference", fields)
        self.harness.add("Running", workload_id=workload_id)
        return workload_id


@asynccontextmanager
async def followed(
    *texts: str, harness: Harness | None = None, resume_from: FleetCheckpoint | None = None
) -> AsyncIterator[Setting]:
    harness = harness or Harness()
    if not harness.requests:
        harness.add("Running")
    lines: list[str] = []
    async with harness.client() as runai:
        found = await find_patiently(runai, texts or ["llm"], Patience(POLICY, clock=harness.clock))
        following = Following(runai, found, {}, report=lines.append)
        async with following.fleet(POLICY, resume_from=resume_from) as fleet:
            yield Setting(harness, fleet, following, lines)


async def test_the_first_poll_does_not_wait_for_its_slot() -> None:
    async with followed() as setting:
        await setting.after(0.1)
        assert len(setting.harness.times()) == 1


async def test_a_workload_that_is_recreated_is_watched_and_the_deletions_of_the_old_one_are_reported() -> (
    None
):
    async with followed() as setting:
        old = setting.harness.workload_id
        assert await setting.after(15) == [(RevisionAdded, old)]
        new = setting.recreate()
        events = await setting.after(300)
        assert sorted(events, key=str) == sorted([(RevisionDeleted, old), (RevisionAdded, new)], key=str)
        assert setting.fleet.workload_ids == {new}
        assert setting.lines == [f"runai-async: llm is workload {new} now (created again)"]


async def test_a_new_workload_that_appears_before_the_old_one_is_deleted_is_watched_beside_it() -> None:
    async with followed() as setting:
        old = setting.harness.workload_id
        await setting.after(15)
        new = setting.create()
        assert await setting.after(60) == [(RevisionAdded, new)]
        assert setting.fleet.workload_ids == {old, new}  # its polls still show its revisions
        setting.harness.state.delete_workload(old)
        assert await setting.after(300) == [(RevisionDeleted, old)]
        assert setting.fleet.workload_ids == {new}


async def test_a_name_that_is_gone_is_said_once_and_looked_for() -> None:
    async with followed() as setting:
        await setting.after(15)
        setting.harness.state.delete_workload(setting.harness.workload_id)
        await setting.after(600)
        gone = "runai-async: no workload has the name 'llm' any longer; looking for a new one every 10s"
        assert setting.lines == [gone]
        assert setting.fleet.workload_ids == frozenset()
        new = setting.create()
        assert await setting.after(20) == [(RevisionAdded, new)]
        assert setting.lines == [gone, f"runai-async: llm is workload {new} now (created again)"]


async def test_a_name_does_not_vanish_because_listing_fails() -> None:
    async with followed() as setting:
        await setting.after(15)
        setting.harness.listings = HTML_502
        assert await setting.after(600) == []
        assert setting.lines == []
        assert setting.fleet.workload_ids == {setting.harness.workload_id}


async def test_a_name_that_vanishes_while_listing_fails_is_followed_afterwards() -> None:
    async with followed() as setting:
        old = setting.harness.workload_id
        await setting.after(15)
        setting.harness.listings = HTML_502
        new = setting.recreate()
        await setting.after(60)
        assert setting.lines == []
        setting.harness.listings = True
        await setting.after(600)
        assert setting.fleet.workload_ids == {new}
        assert old != new


async def test_one_listing_that_lacks_the_name_says_nothing() -> None:
    async with followed() as setting:
        await setting.after(15)
        setting.harness.listings = EMPTY
        await setting.after(9)
        setting.harness.listings = True
        await setting.after(60)
        assert setting.lines == []


async def test_a_name_is_followed_in_its_project_only() -> None:
    async with followed() as setting:
        await setting.after(15)
        moved = setting.recreate(project_id=OTHER_PROJECT)
        await setting.after(600)
        assert moved not in setting.fleet.workload_ids
        assert setting.lines[0].startswith("runai-async: no workload has the name 'llm' any longer")


async def test_what_is_given_by_its_id_is_not_followed_beside_a_name() -> None:
    harness = Harness()
    fixed = harness.state.add_workload("embed", "Inference", {})
    harness.add("Running", workload_id=fixed)
    async with followed("llm", fixed, harness=harness) as setting:
        await setting.after(15)
        assert setting.fleet.workload_ids == {harness.workload_id, fixed}
        harness.state.delete_workload(fixed)
        again = harness.state.add_workload("embed", "Inference", {})
        harness.add("Running", workload_id=again)
        await setting.after(600)
        assert setting.fleet.workload_ids == {harness.workload_id}


async def test_whole_ids_are_watched_without_any_listing() -> None:
    harness = Harness()
    other = harness.state.add_workload("embed", "Inference", {})
    async with followed(harness.workload_id, other, harness=harness) as setting:
        await setting.after(100)
        assert setting.following.is_fixed
        assert harness.times("workloads") == []


async def test_names_are_listed_at_their_own_pace() -> None:
    async with followed() as setting:
        setting.harness.listing_latency = 5
        await setting.after(300)
        times = setting.harness.times("workloads")[2:]  # behind the first one that was slow
    assert len(times) > 3
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert min(pauses) >= 50  # a tenth of the time at most


async def test_a_state_of_the_old_workload_reports_its_deletions_and_goes_on() -> None:
    async with followed() as setting:
        old = setting.harness.workload_id
        await setting.after(15)
        saved = setting.fleet.checkpoint()
        assert setting.following.is_former(saved.workloads[old])
        harness = setting.harness
        new = setting.recreate()
    async with followed(harness=harness, resume_from=saved) as setting:
        assert setting.following.is_former(saved.workloads[old])
        events = await setting.after(300)
        assert sorted(events, key=str) == sorted([(RevisionDeleted, old), (RevisionAdded, new)], key=str)
        assert setting.fleet.checkpoint().workloads.keys() == {new}


async def test_a_state_without_revisions_or_of_another_name_is_not_that_of_the_name() -> None:
    async with followed() as setting:
        await setting.after(15)
        saved = setting.fleet.checkpoint().workloads[setting.harness.workload_id]
        assert not setting.following.is_former(Checkpoint(setting.harness.workload_id))
        other = setting.harness.state.add_workload("llm-a", "Inference", {})
        setting.harness.add("Running", workload_id=other)
        async with (
            setting.harness.client() as runai,
            runai.watch_fleet([other], poll=POLICY) as fleet,
        ):
            await setting.harness.collect(fleet, 15)
            assert not setting.following.is_former(fleet.checkpoint().workloads[other])
        assert setting.following.is_former(saved)


async def test_a_row_that_cannot_be_decoded_is_still_the_workload() -> None:
    async with followed() as setting:
        await setting.after(15)
        setting.harness.listings = Response(
            body=b'{"workloads": [{"type": "Inference", "id": "%s"}]}' % setting.harness.workload_id.encode()
        )
        await setting.after(100)
        assert setting.lines == []
        assert setting.fleet.workload_ids == {setting.harness.workload_id}


async def test_a_name_that_is_listed_again_is_said() -> None:
    async with followed() as setting:
        await setting.after(15)
        setting.harness.listings = EMPTY
        await setting.after(60)
        setting.harness.listings = True
        await setting.after(60)
        assert [line.split("llm")[-1].split(";")[0] for line in setting.lines] == [
            "' any longer",
            " is listed again",
        ]


async def test_one_stale_list_does_not_bring_back_the_old_workload() -> None:
    async with followed() as setting:
        old = setting.harness.workload_id
        await setting.after(15)
        stale = setting.harness.clock.now() - timedelta(days=1)
        new = setting.create()
        await setting.after(30)
        for workload in setting.harness.state.workloads.values():
            workload["createdAt"] = stale.isoformat() if workload["id"] == old else workload["createdAt"]
        setting.harness.state.workloads[new]["name"] = "hidden"
        await setting.after(9)
        setting.harness.state.workloads[new]["name"] = "llm"
        await setting.after(60)
        assert setting.lines == [f"runai-async: llm is workload {new} now (created again)"]


def test_an_interval_is_written_as_people_say_it() -> None:
    assert [every(60), every(10), every(90)] == ["every minute", "every 10s", "every 1m30s"]


@pytest.mark.parametrize(("workloads", "given", "seconds"), [(499, None, 10), (500, None, 60), (500, 5, 5)])
async def test_few_workloads_are_listed_more_often_by_default(
    workloads: int, given: float | None, seconds: float
) -> None:
    harness, _, _ = of_size(workloads)  # and one more
    async with harness.client() as runai:
        query = runai.inference_workloads()
        found = await discovered(query, "workload", Patience(POLICY, clock=harness.clock), given)
        assert found.seconds == seconds
        fleet = begin_with(
            runai.watch_fleet(query, poll=POLICY, discovery_interval=found.seconds), found.reader, found.first
        )
        pages = len(harness.requests)
        async with fleet:
            await harness.collect(fleet, 4)
            assert len(fleet.workload_ids) == workloads + 1
            assert len(harness.times("workloads")) == pages  # the first listing is not made again
            workload = fleet.workload(harness.workload_id)
            assert workload is not None
            assert workload.name == "llm"


async def test_a_listing_that_was_made_before_is_of_no_use_to_a_fleet_of_ids() -> None:
    harness = Harness()
    async with harness.client() as runai:
        reader = QueryReader(runai.inference_workloads())
        first = await reader.read_now(10)
        fleet = begin_with(runai.watch_fleet([], poll=POLICY), reader, first)
        async with fleet:
            await harness.collect(fleet, 15)
            assert fleet.workload_ids == frozenset()

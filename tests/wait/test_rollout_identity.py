"""A rollout is never finished by the revision that was there before the change, nor by an older one."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest
from support.harness import HTML_502, REFUSED_401, REFUSED_404, Harness, within

from runai_async import AuthenticationError, PollPolicy, Revision, RolloutFailedError, WaitTimeoutError
from runai_async._wait.rollout import RolloutWait
from runai_async.testing import Response

T = TypeVar("T")
STEADY = PollPolicy(interval=10, jitter=0, fast_for=0)


def spelled(harness: Harness, revision_id: str, **fields: Any) -> Response:
    """Return the response to a get that spells some fields of a revision in another way than the list."""
    return Response(body=json.dumps(harness.state.revisions[revision_id] | fields).encode())


@pytest.mark.parametrize("listed", ["2026-01-01T00:00:00.250Z", "2026-01-01T00:00:00Z"])
@pytest.mark.parametrize("got", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.250Z", "2025-12-31T23:59:59Z"])
async def test_the_revision_before_the_change_never_counts_however_its_time_is_spelled(
    listed: str, got: str
) -> None:
    harness = Harness()
    before = harness.add("Running", created_at=listed)
    harness.others = spelled(harness, before, createdAt=got)
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=before, timeout=60, poll=STEADY)
        with pytest.raises(WaitTimeoutError, match="has no revision newer than") as caught:
            await within(harness, 60, wait)
    assert caught.value.revision is None


@pytest.mark.parametrize("after", [str.upper, lambda key: key.replace("-", "")])
async def test_the_revision_before_the_change_may_be_spelled_in_any_way(after: Any) -> None:
    harness = Harness()
    before = harness.add("Running")
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=after(before), timeout=60, poll=STEADY)
        with pytest.raises(WaitTimeoutError):
            await within(harness, 60, wait)


@pytest.mark.parametrize("behind", [0, 2, 29])
async def test_a_newer_revision_counts_though_its_time_is_not_later(behind: int) -> None:
    harness = Harness()
    harness.clock.shift_now(100)
    before = harness.add("Running", name="llm-00009")
    harness.clock.shift_now(-behind)
    async with harness.client() as runai:
        harness.at(20, lambda: harness.add("Running", name="llm-00010"))
        wait = runai.wait_for_rollout(harness.workload_id, after=before, timeout=200, poll=STEADY)
        done = await within(harness, 200, wait)
    assert done.name == "llm-00010"


async def test_without_numbers_a_revision_that_appears_during_the_wait_is_the_newer_one() -> None:
    harness = Harness()
    before = harness.add("Running", name="blue", id="ffffffff-0000-4000-8000-000000000000")
    new: list[str] = []
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=before, timeout=200, poll=STEADY)
        harness.at(20, lambda: new.append(harness.add("Running", name="azure", id="0" * 8 + before[8:])))
        harness.clock.shift_now(-20)
        done = await within(harness, 200, wait)
    assert [done.id] == new


async def test_of_two_revisions_of_one_second_the_newer_one_decides() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001", id="ffffffff-0000-4000-8000-000000000000")
    harness.add("Failed", name="llm-00002", id="00000000-0000-4000-8000-000000000001")
    async with harness.client() as runai:
        newest = await runai.newest_revision(harness.workload_id)
        assert newest is not None
        assert newest.name == "llm-00002"
        with pytest.raises(RolloutFailedError) as caught:
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, poll=STEADY))
    assert isinstance(caught.value.serving, Revision)
    assert caught.value.serving.name == "llm-00001"


async def test_where_the_revision_before_cannot_be_read_what_the_first_list_lacks_is_newer() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001")
    purged = "0f0f0f0f-0000-4000-8000-000000000000"
    harness.at(40, lambda: harness.add("Running", name="llm-00002"))
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=purged, timeout=200, poll=STEADY)
        done = await within(harness, 200, wait)
    assert done.name == "llm-00002"


# --- what cannot be decoded -----------------------------------------------------------------------------


async def test_a_newest_revision_that_cannot_be_decoded_holds_the_rollout_open() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001")
    harness.clock.shift_now(60)
    broken = harness.add("Running", name="llm-00002", phase_updated_at="yesterday")
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, timeout=60, poll=STEADY)
        with pytest.raises(WaitTimeoutError, match=r"revision llm-00002 \(.*\) may be the newest, but"):
            await within(harness, 60, wait)

        harness.at(90, lambda: harness.state.update_revision(broken, {"phase_updated_at": None}))
        wait = runai.wait_for_rollout(harness.workload_id, timeout=60, poll=STEADY)
        assert (await within(harness, 60, wait)).id == broken


async def test_an_older_revision_that_cannot_be_decoded_does_not_hold_it_open() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001", phase_updated_at="yesterday")
    harness.clock.shift_now(60)
    new = harness.add("Running", name="llm-00002")
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, timeout=60, poll=STEADY)
        assert (await within(harness, 1, wait)).id == new


async def test_a_broken_newest_revision_that_goes_away_holds_it_open_no_longer() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001")
    harness.clock.shift_now(60)
    broken = harness.add("Running", name="llm-00002", phase_updated_at="yesterday")
    harness.at(25, lambda: harness.state.purge_revision(broken))
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, timeout=60, poll=STEADY)
        assert (await within(harness, 60, wait)).name == "llm-00001"


# --- a moment's failure ------------------------------------------------------------------------------------


async def test_a_revision_that_has_failed_for_three_seconds_and_runs_again_has_not_failed() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(20, lambda: harness.set_phase(revision_id, "Failed"))
    harness.at(23, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        poll = PollPolicy(interval=10, fast_interval=1, jitter=0)
        done = await within(harness, 60, runai.wait_for_rollout(harness.workload_id, poll=poll))
        assert done.phase == "Running"

        harness.at(70, lambda: harness.set_phase(revision_id, "Failed"))
        harness.at(73, lambda: harness.set_phase(revision_id, "Stopped"))
        stopped = await within(harness, 60, runai.wait_for_phase(revision_id, "Stopped", poll=poll))
        assert stopped.phase == "Stopped"


async def test_a_failure_counts_when_polls_have_seen_it_for_five_seconds() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(20, lambda: harness.set_phase(revision_id, "Failed"))
    async with harness.client() as runai:
        poll = PollPolicy(interval=10, fast_interval=1, jitter=0)
        with pytest.raises(RolloutFailedError):
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, poll=poll))
    assert harness.times()[-1] == 25


async def test_a_failure_a_minute_old_counts_at_once() -> None:
    harness = Harness()
    harness.add("Failed")
    harness.clock.shift_now(61)
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError):
            await within(harness, 0, runai.wait_for_rollout(harness.workload_id))


async def test_at_the_timeout_one_poll_is_enough() -> None:
    harness = Harness()
    revision_id = harness.add("Failed")
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError):
            await within(harness, 3, runai.wait_for_rollout(harness.workload_id, timeout=3))
        with pytest.raises(Exception, match="it will not reach Running"):
            await within(harness, 3, runai.wait_for_phase(revision_id, "Running", timeout=3))


async def test_a_deleted_revision_is_a_failure_when_nothing_newer_appears_for_the_grace() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001")
    harness.clock.shift_now(60)
    new = harness.add("Pending", name="llm-00002")
    harness.at(20, lambda: harness.state.delete_revision(new))
    harness.at(50, lambda: harness.add("Running", name="llm-00003"))
    async with harness.client() as runai:
        done = await within(harness, 200, runai.wait_for_rollout(harness.workload_id, poll=STEADY))
    assert done.name == "llm-00003"


# --- what a poll does not show ------------------------------------------------------------------------------


async def test_a_read_model_that_restarts_empty_does_not_make_the_old_revisions_new() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001")
    harness.clock.shift_now(60)
    after = harness.add("Running", name="llm-00002")
    harness.lists, harness.others = Response(body=b'{"revisions": []}'), REFUSED_404
    harness.at(8, setattr, harness, "lists", True)
    harness.at(8, setattr, harness, "others", True)
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=after, timeout=300, poll=STEADY)
        with pytest.raises(WaitTimeoutError, match="has no revision newer"):
            await within(harness, 300, wait)


async def test_a_revision_before_the_change_that_is_listed_need_not_be_read() -> None:
    harness = Harness()
    after = harness.add("Running", name="llm-00001")
    harness.clock.shift_now(60)
    harness.add("Running", name="llm-00002")
    harness.others = HTML_502
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=after, timeout=100, poll=STEADY)
        assert (await within(harness, 100, wait)).name == "llm-00002"


async def test_a_revision_before_the_change_in_a_phase_that_the_api_does_not_list_is_known() -> None:
    harness = Harness()
    after = harness.add("Suspending", name="llm-00001")
    harness.state.delete_revision(after)
    harness.at(20, lambda: harness.add("Running", name="llm-00002"))
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=after, poll=STEADY)
        assert (await within(harness, 100, wait)).name == "llm-00002"


@pytest.mark.parametrize(
    "fields",
    [{"phase_updated_at": "yesterday"}, {"id": None}, {"created_at": None}],
    ids=["time", "id", "created"],
)
async def test_whatever_of_the_newest_revision_cannot_be_read_holds_the_rollout_open(
    fields: dict[str, Any],
) -> None:
    harness = Harness()
    harness.add("Running", name="llm-00001")
    harness.clock.shift_now(60)
    broken = harness.add("Running", name="llm-00002")
    harness.state.update_revision(broken, fields)
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match="may be the newest, but its response cannot be decoded"):
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, timeout=60, poll=STEADY))


async def test_an_older_revision_without_a_readable_time_does_not_hold_it_open() -> None:
    harness = Harness()
    older = harness.add("Running", name="llm-00001")
    harness.state.update_revision(older, {"created_at": None})
    harness.clock.shift_now(60)
    harness.add("Running", name="llm-00002")
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, timeout=60, poll=STEADY)
        assert (await within(harness, 10, wait)).name == "llm-00002"


async def test_a_broken_revision_of_the_first_list_that_becomes_readable_is_not_a_new_one() -> None:
    harness = Harness()
    old = harness.add("Running", name="llm-00001", phase_updated_at="yesterday")
    harness.at(25, lambda: harness.state.update_revision(old, {"phase_updated_at": None}))
    purged = "0f0f0f0f-0000-4000-8000-000000000000"
    async with harness.client() as runai:
        wait = runai.wait_for_rollout(harness.workload_id, after=purged, timeout=200, poll=STEADY)
        with pytest.raises(WaitTimeoutError, match="has no revision newer"):
            await within(harness, 200, wait)


async def test_a_newest_revision_that_becomes_broken_is_not_judged_by_its_last_state() -> None:
    harness = Harness()
    revision_id = harness.add("Failed")
    harness.at(3, lambda: harness.state.update_revision(revision_id, {"created_at": None}))
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match="cannot be decoded"):
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, timeout=60))


async def test_a_failed_revision_that_lists_lack_for_a_while_is_not_seen_failed() -> None:
    harness = Harness()
    revision_id = harness.add("Failed")
    harness.at(1, lambda: harness.state.hide(revision_id, hidden=True))
    harness.at(9, lambda: harness.state.hide(revision_id, hidden=False))
    harness.at(9, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        done = await within(harness, 60, runai.wait_for_rollout(harness.workload_id))
    assert done.phase == "Running"


async def test_failed_polls_decide_nothing() -> None:
    harness = Harness()
    revision_id = harness.add("Failed")
    harness.at(1, setattr, harness, "lists", HTML_502)
    harness.at(30, setattr, harness, "lists", True)
    harness.at(30, lambda: harness.set_phase(revision_id, "Running"))
    async with harness.client() as runai:
        poll = PollPolicy(interval=10, jitter=0, emit=frozenset({"degraded"}))
        done = await within(harness, 90, runai.wait_for_rollout(harness.workload_id, poll=poll))
    assert done.phase == "Running"


async def test_a_deleted_revision_at_the_timeout_is_named_as_deleted() -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    harness.at(5, lambda: harness.state.delete_revision(revision_id))
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError, match="was deleted, and no newer one is listed"):
            await within(harness, 40, runai.wait_for_rollout(harness.workload_id, timeout=40))


@pytest.mark.parametrize("wait", ["phase", "rollout"])
async def test_a_last_look_respects_what_the_server_asked_for(wait: str) -> None:
    harness = Harness()
    revision_id = harness.add("Creating")
    busy = Response(503, {"Retry-After": "300"}, b'{"code": 503, "message": "busy"}')
    harness.lists = harness.others = busy
    async with harness.client() as runai:
        waiting: Awaitable[Revision] = (
            runai.wait_for_phase(revision_id, "Running", timeout=60)
            if wait == "phase"
            else runai.wait_for_rollout(harness.workload_id, timeout=60)
        )
        with pytest.raises(WaitTimeoutError):
            await within(harness, 60, waiting)
    assert len(harness.requests) == 1


async def test_a_wait_whose_watch_is_closed_says_so() -> None:
    harness = Harness()
    harness.add("Creating")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        task = asyncio.ensure_future(RolloutWait(watch).run(100))
        await harness.clock.advance(25)
        with pytest.raises(RuntimeError, match="another task is iterating this watch"):
            await watch.next_batch()
        await watch.aclose()
        with pytest.raises(RuntimeError, match="closed by another task"):
            await task
        with pytest.raises(RuntimeError, match="the watch is closed"):
            await watch.next_batch()


async def test_a_batch_is_cancelled_like_an_event() -> None:
    harness = Harness()
    harness.add("Creating")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        watch.poll_fast(until=harness.clock.monotonic() + 60)
        assert (await within(harness, 0, watch.next_batch(until=0))) is not None
        task = asyncio.ensure_future(watch.next_batch())
        await harness.clock.advance(0)
        assert task.done()
        task = asyncio.ensure_future(watch.next_batch())
        await harness.clock.advance(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        harness.lists = REFUSED_401
        with pytest.raises(AuthenticationError) as caught:
            await within(harness, 1000, watch.next_batch())
    assert caught.value.checkpoint == watch.checkpoint()


async def test_the_failure_of_another_revision_is_another_failure() -> None:
    harness = Harness()
    harness.add("Failed", name="llm-00001")
    harness.at(4, lambda: harness.add("Failed", name="llm-00002"))
    async with harness.client() as runai:
        poll = PollPolicy(interval=10, fast_interval=2, jitter=0)
        with pytest.raises(RolloutFailedError, match="llm-00002"):
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, poll=poll))
    assert harness.times()[-1] == 10


async def test_an_outage_decides_nothing_about_the_revision_before_the_change() -> None:
    harness = Harness()
    harness.add("Running", name="llm-00002")
    harness.others = HTML_502
    async with harness.client() as runai:
        after = "0f0f0f0f-0000-4000-8000-000000000000"
        wait = runai.wait_for_rollout(harness.workload_id, after=after, timeout=600, poll=STEADY)
        with pytest.raises(WaitTimeoutError):
            await within(harness, 600, wait)

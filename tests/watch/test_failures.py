"""What a watch does when polls fail: refusals, outages, and revisions that cannot be decoded."""

import logging
from itertools import pairwise

import pytest
from support.harness import HTML_502, NO_JSON, REFUSED_401, REFUSED_403, REFUSED_404, SICK_404, Stage

from runai_async import (
    AuthenticationError,
    Checkpoint,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    PollFinished,
    PollPolicy,
    RetryPolicy,
    RevisionAdded,
    RevisionDeleted,
    ServerError,
    Synced,
    WatchDegraded,
    WatchOutageError,
    WatchRecovered,
)
from runai_async.testing import Response

STEADY = PollPolicy(interval=10, jitter=0)
WRONG_SHAPE = Response(body=b'{"items": []}')


# --- refusals and sick gateways -------------------------------------------------------------------------


async def test_a_401_ends_the_watch_at_once_with_the_checkpoint() -> None:
    stage = Stage()
    stage.add()
    stage.at(20, lambda: setattr(stage, "lists", REFUSED_401))
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        with pytest.raises(AuthenticationError) as caught:
            await stage.told(watch, 100)

        assert caught.value.checkpoint == watch.checkpoint()
        assert isinstance(caught.value.checkpoint, Checkpoint)
        assert len(caught.value.checkpoint.revisions) == 1
        assert stage.times() == [0, 10, 20]
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


async def test_an_envelope_that_is_not_the_api_s_ends_a_watch_on_its_very_first_poll() -> None:
    stage = Stage()
    stage.lists = WRONG_SHAPE
    async with stage.client() as runai:
        with pytest.raises(DecodeError, match=r"\$\.revisions") as caught:
            await stage.told(runai.watch_revisions(stage.workload_id), 100)

    assert caught.value.checkpoint == Checkpoint(stage.workload_id, (), synced=False)
    assert stage.times() == [0]


async def test_such_an_envelope_in_the_middle_of_an_outage_is_part_of_it() -> None:
    stage = Stage()
    stage.add()
    stage.next_lists.extend([HTML_502, WRONG_SHAPE, HTML_502])
    async with stage.client() as runai:
        events = await stage.told(runai.watch_revisions(stage.workload_id, poll=STEADY), 200)

    assert [type(event) for event in events] == [RevisionAdded]


async def test_later_such_an_envelope_is_an_outage() -> None:
    stage = Stage()
    stage.add()
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        await stage.told(watch, 1)
        stage.next_lists.append(WRONG_SHAPE)
        assert await stage.told(watch, 30) == []
        assert watch.status.consecutive_failures == 0


GRPCS_404 = Response(404, body=b'{"code": 5, "message": "Not Found", "details": []}')


@pytest.mark.parametrize("response", [SICK_404, Response(403, body=b"<html/>"), GRPCS_404, NO_JSON, HTML_502])
async def test_a_sick_gateway_is_no_refusal(response: Response) -> None:
    stage = Stage()
    revision_id = stage.add()
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        stage.lists = response
        assert await stage.told(watch, 300) == []
        stage.lists = True
        events = await stage.told(watch, 100)

    assert [event.revision_id for event in events if isinstance(event, RevisionAdded)] == [revision_id]


# --- refusals that last ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "error"), [(REFUSED_403, PermissionDeniedError), (REFUSED_404, NotFoundError)]
)
async def test_a_refusal_is_believed_when_every_poll_for_missing_grace_seconds_gave_it(
    response: Response, error: type[Exception]
) -> None:
    stage = Stage()
    stage.lists = response
    async with stage.client() as runai:
        with pytest.raises(error):
            await stage.told(runai.watch_revisions(stage.workload_id, poll=STEADY), 200)

    assert stage.times() == [0, 10, 20, 30, 40, 50, 60]


async def test_a_workload_just_created_may_be_unknown_for_a_moment() -> None:
    stage = Stage()
    stage.add()
    stage.next_lists.extend([REFUSED_404, REFUSED_403, REFUSED_404])
    async with stage.client() as runai:
        assert len(await stage.told(runai.watch_revisions(stage.workload_id, poll=STEADY), 100)) == 1


@pytest.mark.parametrize("other", [REFUSED_403, HTML_502, Response(body=b'{"revisions": []}')])
async def test_another_answer_in_between_starts_the_grace_again(other: Response) -> None:
    stage = Stage()
    stage.lists = REFUSED_404
    stage.next_lists.extend([REFUSED_404] * 5 + [other])
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        if other.status == 200:  # seen once, so the end is silent
            assert await stage.told(watch, 300) == []
        else:
            with pytest.raises(NotFoundError):
                await stage.told(watch, 300)

    assert stage.times()[5] == 50
    assert 59.9 < stage.times()[-1] - stage.times()[6] < 75


async def test_refusals_that_contradict_each_other_are_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.next_lists.extend([REFUSED_403, REFUSED_404] * 100)
    policy = PollPolicy(interval=10, jitter=0, max_outage=300)
    async with stage.client() as runai:
        with pytest.raises(WatchOutageError) as caught:
            await stage.told(runai.watch_revisions(stage.workload_id, poll=policy), 1000)

    assert isinstance(caught.value.last_error, PermissionDeniedError | NotFoundError)
    assert stage.times()[-1] == 310
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_404_of_a_workload_that_the_checkpoint_knows_tells_each_deletion(resumed: bool) -> None:
    stage = Stage()
    revision_id = stage.add()
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        await stage.told(watch, 1)
        stage.lists = REFUSED_404
        if resumed:
            saved = watch.checkpoint()
            watch = runai.watch_revisions(stage.workload_id, poll=STEADY, resume_from=saved)
        events = await stage.told(watch, 100)

    assert [(event.kind, getattr(event, "revision_id", "")) for event in events] == [("deleted", revision_id)]


async def test_a_403_of_a_workload_that_was_seen_raises_and_deletes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    stage = Stage()
    stage.add()
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        await stage.told(watch, 1)
        stage.lists = REFUSED_403
        with pytest.raises(PermissionDeniedError):
            await stage.told(watch, 200)

    (said,) = (record.getMessage() for record in caplog.records)
    assert "refused; believed if every poll returns it for 60 s: GET " in said


async def test_a_404_of_a_workload_that_was_seen_tells_each_deletion_and_ends() -> None:
    stage = Stage()
    ids = {stage.add(), stage.add("Pending")}
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        await stage.told(watch, 1)
        stage.lists = REFUSED_404
        events = await stage.told(watch, 200)
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    assert {event.revision_id for event in events if isinstance(event, RevisionDeleted)} == ids
    assert len(events) == 2


# --- outages --------------------------------------------------------------------------------------------


async def test_a_poll_is_retried_by_the_clients_policy() -> None:
    stage = Stage()
    stage.add()
    stage.next_lists.extend([HTML_502, HTML_502])
    async with stage.client(retry=RetryPolicy(attempts=3, wait_initial=1)) as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        assert len(await stage.told(watch, 5)) == 1
        assert watch.status.consecutive_failures == 0
    assert len(stage.times()) == 3


async def test_an_outage_of_twenty_minutes_is_one_warning_and_one_line_and_backs_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    stage = Stage()
    revision_id = stage.add("Running")
    stage.at(100, lambda: setattr(stage, "lists", HTML_502))
    stage.at(700, lambda: stage.phase(revision_id, "Failed"))
    stage.at(1300, lambda: setattr(stage, "lists", True))
    policy = PollPolicy(interval=10, jitter=0, max_outage=3600)
    async with stage.client() as runai:
        events = await stage.told(runai.watch_revisions(stage.workload_id, poll=policy), 2000)

    times = stage.times()
    out = [at for at in times if 100 <= at < 1300]
    after = [at for at in times if at >= 1300]
    gaps = [later - earlier for earlier, later in pairwise(out)]
    assert gaps[0] == 10  # the second poll comes at its time
    bounds = [min(60.0, 10.0 * 2**n) for n in range(1, len(gaps))]
    assert all(10 <= gap <= bound for gap, bound in zip(gaps[1:], bounds, strict=True))
    assert 20 <= len(out) <= 60
    assert {round(later - earlier, 6) for earlier, later in pairwise(after)} == {10.0}
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "polls fail" in caplog.records[0].getMessage()
    assert "succeed again" in caplog.records[1].getMessage()
    assert [type(event).__name__ for event in events] == ["RevisionAdded", "PhaseChanged"]


async def test_an_outage_that_lasts_ends_the_watch_with_a_checkpoint_that_resumes() -> None:
    stage = Stage()
    revision_id = stage.add("Pending")
    stage.at(100, lambda: setattr(stage, "lists", HTML_502))
    policy = PollPolicy(interval=10, jitter=0, max_outage=1200)
    async with stage.client() as runai:
        with pytest.raises(
            WatchOutageError, match=r"no successful poll of workload .* for 1\d\d\d s"
        ) as caught:
            await stage.told(runai.watch_revisions(stage.workload_id, poll=policy), 3000)

        assert stage.clock.monotonic() >= 1300
        assert stage.times()[-1] == 1300  # one poll falls on the end of patience
        assert isinstance(caught.value.last_error, ServerError)
        assert isinstance(caught.value.checkpoint, Checkpoint)
        stage.lists = True
        stage.phase(revision_id, "Running")
        watch = runai.watch_revisions(stage.workload_id, resume_from=caught.value.checkpoint)
        events = await stage.told(watch, 10)

    assert [(event.kind, getattr(event, "revision_id", "")) for event in events] == [
        ("phase_changed", revision_id)
    ]


async def test_the_second_poll_of_an_outage_comes_at_its_time_and_the_next_ones_are_spread() -> None:
    stage = Stage()
    stage.lists, stage.latency = HTML_502, 3
    policy = PollPolicy(interval=10, jitter=0, max_outage=None)
    async with stage.client() as runai:
        await stage.told(runai.watch_revisions(stage.workload_id, poll=policy), 10_000)

    waits = [later - earlier - 3 for earlier, later in pairwise(stage.times())]
    assert waits[0] == 7
    assert all(10 - 1e-5 <= wait <= 60 + 1e-5 for wait in waits[1:])
    assert min(waits[4:]) < 20
    assert max(waits[4:]) > 50


async def test_an_interval_longer_than_the_cap_is_kept_in_an_outage() -> None:
    stage = Stage()
    stage.lists = HTML_502
    policy = PollPolicy(interval=100, jitter=0, max_outage=None)
    async with stage.client() as runai:
        await stage.told(runai.watch_revisions(stage.workload_id, poll=policy), 1_050)

    assert stage.times() == [100 * n for n in range(11)]


async def test_max_outage_none_waits_for_ever() -> None:
    stage = Stage()
    stage.lists = HTML_502
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=PollPolicy(max_outage=None))
        assert await stage.told(watch, 10_000) == []
        assert watch.status.consecutive_failures > 100


async def test_degraded_recovered_and_synced_are_told_if_asked_for() -> None:
    stage = Stage()
    stage.add()
    stage.at(20, lambda: setattr(stage, "lists", HTML_502))
    stage.at(200, lambda: setattr(stage, "lists", True))
    policy = PollPolicy(interval=10, jitter=0, emit=frozenset({"synced", "degraded", "recovered"}))
    async with stage.client() as runai:
        events = await stage.told(runai.watch_revisions(stage.workload_id, poll=policy), 400)

    assert [type(event) for event in events] == [RevisionAdded, Synced, WatchDegraded, WatchRecovered]
    degraded, recovered = events[2:]
    assert isinstance(degraded, WatchDegraded)
    assert isinstance(degraded.error, ServerError)
    assert isinstance(recovered, WatchRecovered)
    assert 180 <= recovered.seconds <= 240


# --- a revision that cannot be decoded ------------------------------------------------------------------


async def test_a_broken_revision_hides_no_other_and_is_warned_of_once_per_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    good, broken = stage.add("Pending"), stage.add("Pending")
    finished: list[PollFinished] = []
    async with stage.client(
        hooks=[lambda e: finished.append(e) if isinstance(e, PollFinished) else None]
    ) as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        assert len(await stage.told(watch, 1)) == 2
        stage.state.update_revision(broken, {"created_at": None})
        assert await stage.told(watch, 30) == []
        assert watch.status.undecodable == 1
        stage.phase(good, "Running")
        events = await stage.told(watch, 30)

    assert [getattr(event, "revision_id", "") for event in events] == [good]
    assert finished[-1].undecodable == 1
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1
    assert "$.createdAt" in messages[0]
    assert stage.times("get") == []  # its id can be read, so it is not missing


async def test_where_an_id_cannot_be_read_nothing_counts_as_missing() -> None:
    stage = Stage()
    stage.add()
    other = stage.add()
    async with stage.client() as runai:
        watch = runai.watch_revisions(stage.workload_id, poll=STEADY)
        await stage.told(watch, 1)
        stage.state.delete_revision(other)
        body = stage.state.list_body(stage.workload_id, deleted=False)
        stage.next_lists.append(Response(body=body[:-2] + b',{"id": null}]}'))
        assert await stage.told(watch, 10) == []
        assert stage.times("deleted") == []
        events = await stage.told(watch, 10)

    assert [type(event) for event in events] == [RevisionDeleted]

"""What a watch does when polls fail: refusals, outages, and revisions that cannot be decoded."""

import logging
from itertools import pairwise

import pytest
from attrs import evolve
from support.harness import (
    HTML_200,
    HTML_404,
    HTML_502,
    REFUSED_401,
    REFUSED_403,
    REFUSED_404,
    WRONG_SHAPE,
    Harness,
)

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


# --- refusals and error pages of gateways ---------------------------------------------------------------


async def test_a_401_for_max_outage_ends_the_watch_with_the_checkpoint() -> None:
    harness = Harness()
    harness.add()
    harness.at(20, lambda: setattr(harness, "lists", REFUSED_401))
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=evolve(STEADY, max_outage=100))
        with pytest.raises(AuthenticationError) as caught:
            await harness.collect(watch, 200)

        assert caught.value.checkpoint == watch.checkpoint()
        assert isinstance(caught.value.checkpoint, Checkpoint)
        assert len(caught.value.checkpoint.revisions) == 1
        assert harness.times()[-1] == 120
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


async def test_a_401_at_the_first_poll_ends_the_watch_after_two_repeats() -> None:
    harness = Harness()
    harness.lists = REFUSED_401
    async with harness.client(retry=RetryPolicy()) as runai:
        with pytest.raises(AuthenticationError):
            await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 100)

    assert harness.times() == [0, 1, 3]


async def test_a_gateway_that_is_still_starting_does_not_end_a_watch() -> None:
    harness = Harness()
    harness.add()
    harness.next_lists.extend([WRONG_SHAPE, WRONG_SHAPE])
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 100)

    assert [type(event) for event in events] == [RevisionAdded]


async def test_a_foreign_envelope_at_the_first_three_polls_ends_a_watch() -> None:
    harness = Harness()
    harness.lists = WRONG_SHAPE
    async with harness.client() as runai:
        with pytest.raises(DecodeError, match=r"\$\.revisions") as caught:
            await harness.collect(runai.watch_revisions(harness.workload_id), 100)

    assert caught.value.checkpoint == Checkpoint(
        harness.workload_id, (), synced=False, base_url="https://acme.example"
    )
    assert len(harness.times()) == 3


async def test_a_foreign_envelope_during_an_outage_is_part_of_it() -> None:
    harness = Harness()
    harness.add()
    harness.next_lists.extend([HTML_502, WRONG_SHAPE, HTML_502])
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 200)

    assert [type(event) for event in events] == [RevisionAdded]


async def test_a_foreign_envelope_on_a_later_poll_is_an_outage() -> None:
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 1)
        harness.next_lists.append(WRONG_SHAPE)
        assert await harness.collect(watch, 30) == []
        assert watch.status.consecutive_failures == 0


GRPC_404 = Response(404, body=b'{"code": 5, "message": "Not Found", "details": []}')


@pytest.mark.parametrize("response", [HTML_404, Response(403, body=b"<html/>"), GRPC_404, HTML_200, HTML_502])
async def test_an_error_page_of_a_gateway_is_not_a_refusal(response: Response) -> None:
    harness = Harness()
    revision_id = harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        harness.lists = response
        assert await harness.collect(watch, 300) == []
        harness.lists = True
        events = await harness.collect(watch, 100)

    assert [event.revision_id for event in events if isinstance(event, RevisionAdded)] == [revision_id]


# --- refusals that last ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "error"), [(REFUSED_403, PermissionDeniedError), (REFUSED_404, NotFoundError)]
)
async def test_a_refusal_counts_when_every_poll_has_been_refused_for_missing_grace(
    response: Response, error: type[Exception]
) -> None:
    harness = Harness()
    harness.lists = response
    async with harness.client() as runai:
        with pytest.raises(error):
            await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 200)

    assert harness.times() == [0, 10, 20, 30, 40, 50, 60]


async def test_a_workload_just_created_may_be_unknown_for_a_moment() -> None:
    harness = Harness()
    harness.add()
    harness.next_lists.extend([REFUSED_404, REFUSED_403, REFUSED_404])
    async with harness.client() as runai:
        assert len(await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 100)) == 1


@pytest.mark.parametrize("other", [REFUSED_403, HTML_502, Response(body=b'{"revisions": []}')])
async def test_another_response_in_between_restarts_the_grace(other: Response) -> None:
    harness = Harness()
    harness.lists = REFUSED_404
    harness.next_lists.extend([REFUSED_404] * 5 + [other])
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        if other.status == 200:  # the workload was seen, so the watch ends without an error
            assert await harness.collect(watch, 400) == []
        else:
            with pytest.raises(NotFoundError):
                await harness.collect(watch, 300)

    assert harness.times()[5] == 50
    grace = 300 if other.status == 200 else 60
    assert grace - 0.1 < harness.times()[-1] - harness.times()[6] < grace + 15


async def test_contradictory_refusals_are_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.next_lists.extend([REFUSED_403, REFUSED_404] * 100)
    policy = PollPolicy(interval=10, jitter=0, max_outage=300)
    async with harness.client() as runai:
        with pytest.raises(WatchOutageError) as caught:
            await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 1000)

    assert isinstance(caught.value.last_error, PermissionDeniedError | NotFoundError)
    assert harness.times()[-1] == 310
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_404_of_a_workload_in_the_checkpoint_reports_each_deletion(resumed: bool) -> None:
    harness = Harness()
    revision_id = harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 1)
        harness.lists = REFUSED_404
        if resumed:
            saved = watch.checkpoint()
            watch = runai.watch_revisions(harness.workload_id, poll=STEADY, resume_from=saved)
        assert await harness.collect(watch, 300 if not resumed else 290) == []
        events = await harness.collect(watch, 20)

    assert [(event.kind, getattr(event, "revision_id", "")) for event in events] == [("deleted", revision_id)]


async def test_a_403_of_a_workload_seen_before_raises_and_deletes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    harness = Harness()
    harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 1)
        harness.lists = REFUSED_403
        with pytest.raises(PermissionDeniedError):
            await harness.collect(watch, 1000)

    assert harness.times()[-1] == 910
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    assert "refused; believed if every poll returns it for 900 s: GET " in said.getMessage()


async def test_a_404_of_a_workload_seen_before_reports_each_deletion_and_ends() -> None:
    harness = Harness()
    ids = {harness.add(), harness.add("Pending")}
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 1)
        harness.lists = REFUSED_404
        events = await harness.collect(watch, 400)
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    assert {event.revision_id for event in events if isinstance(event, RevisionDeleted)} == ids
    assert len(events) == 2


# --- outages --------------------------------------------------------------------------------------------


async def test_a_poll_is_retried_by_the_clients_policy() -> None:
    harness = Harness()
    harness.add()
    harness.next_lists.extend([HTML_502, HTML_502])
    async with harness.client(retry=RetryPolicy(attempts=3, wait_initial=1)) as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        assert len(await harness.collect(watch, 5)) == 1
        assert watch.status.consecutive_failures == 0
    assert len(harness.times()) == 3


async def test_an_outage_of_twenty_minutes_logs_one_warning_and_one_recovery_and_backs_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    harness = Harness()
    revision_id = harness.add("Running")
    harness.at(100, lambda: setattr(harness, "lists", HTML_502))
    harness.at(700, lambda: harness.set_phase(revision_id, "Failed"))
    harness.at(1300, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, jitter=0, max_outage=3600)
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 2000)

    times = harness.times()
    out = [at for at in times if 100 <= at < 1300]
    after = [at for at in times if at >= 1300]
    gaps = [later - earlier for earlier, later in pairwise(out)]
    assert gaps[0] == 10  # the second poll is on time
    bounds = [min(60.0, 10.0 * 2**n) for n in range(1, len(gaps))]
    assert all(10 <= gap <= bound for gap, bound in zip(gaps[1:], bounds, strict=True))
    assert 20 <= len(out) <= 60
    assert {round(later - earlier, 6) for earlier, later in pairwise(after)} == {10.0}
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "polls fail" in caplog.records[0].getMessage()
    assert "succeed again" in caplog.records[1].getMessage()
    assert [type(event).__name__ for event in events] == ["RevisionAdded", "PhaseChanged"]


async def test_a_lasting_outage_ends_the_watch_with_a_checkpoint_to_resume_from() -> None:
    harness = Harness()
    revision_id = harness.add("Pending")
    harness.at(100, lambda: setattr(harness, "lists", HTML_502))
    policy = PollPolicy(interval=10, jitter=0, max_outage=1200)
    async with harness.client() as runai:
        with pytest.raises(
            WatchOutageError, match=r"no successful poll of workload .* for 1\d\d\d s"
        ) as caught:
            await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 3000)

        assert harness.clock.monotonic() >= 1300
        assert harness.times()[-1] == 1300  # the last poll is at the end of max_outage
        assert isinstance(caught.value.last_error, ServerError)
        assert isinstance(caught.value.checkpoint, Checkpoint)
        harness.lists = True
        harness.set_phase(revision_id, "Running")
        watch = runai.watch_revisions(harness.workload_id, resume_from=caught.value.checkpoint)
        events = await harness.collect(watch, 10)

    assert [(event.kind, getattr(event, "revision_id", "")) for event in events] == [
        ("phase_changed", revision_id)
    ]


async def test_the_second_poll_of_an_outage_is_on_time_and_the_next_ones_are_spread() -> None:
    harness = Harness()
    harness.lists, harness.latency = HTML_502, 3
    policy = PollPolicy(interval=10, jitter=0, max_outage=None)
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 10_000)

    waits = [later - earlier - 3 for earlier, later in pairwise(harness.times())]
    assert waits[0] == 7
    assert all(10 - 1e-5 <= wait <= 60 + 1e-5 for wait in waits[1:])
    assert min(waits[4:]) < 20
    assert max(waits[4:]) > 50


async def test_an_interval_longer_than_the_cap_is_kept_in_an_outage() -> None:
    harness = Harness()
    harness.lists = HTML_502
    policy = PollPolicy(interval=100, jitter=0, max_outage=None)
    async with harness.client() as runai:
        await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 1_050)

    assert harness.times() == [100 * n for n in range(11)]


async def test_max_outage_none_waits_for_ever() -> None:
    harness = Harness()
    harness.lists = HTML_502
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=PollPolicy(max_outage=None))
        assert await harness.collect(watch, 10_000) == []
        assert watch.status.consecutive_failures > 100


async def test_degraded_recovered_and_synced_are_emitted_on_request() -> None:
    harness = Harness()
    harness.add()
    harness.at(20, lambda: setattr(harness, "lists", HTML_502))
    harness.at(200, lambda: setattr(harness, "lists", True))
    policy = PollPolicy(interval=10, jitter=0, emit=frozenset({"synced", "degraded", "recovered"}))
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 400)

    assert [type(event) for event in events] == [RevisionAdded, Synced, WatchDegraded, WatchRecovered]
    degraded, recovered = events[2:]
    assert isinstance(degraded, WatchDegraded)
    assert isinstance(degraded.error, ServerError)
    assert isinstance(recovered, WatchRecovered)
    assert 180 <= recovered.seconds <= 240


# --- a revision that cannot be decoded ------------------------------------------------------------------


async def test_a_broken_revision_hides_no_other_and_is_logged_once_per_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    intact, broken = harness.add("Pending"), harness.add("Pending")
    finished: list[PollFinished] = []
    async with harness.client(
        hooks=[lambda e: finished.append(e) if isinstance(e, PollFinished) else None]
    ) as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        assert len(await harness.collect(watch, 1)) == 2
        harness.state.update_revision(broken, {"created_at": None})
        assert await harness.collect(watch, 30) == []
        assert watch.status.undecodable == 1
        harness.set_phase(intact, "Running")
        events = await harness.collect(watch, 30)

    assert [getattr(event, "revision_id", "") for event in events] == [intact]
    assert finished[-1].undecodable == 1
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1
    assert "$.createdAt" in messages[0]
    assert harness.times("get") == []  # its id can be read, so it is not missing


async def test_nothing_counts_as_missing_while_an_id_cannot_be_read() -> None:
    harness = Harness()
    harness.add()
    other = harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=STEADY)
        await harness.collect(watch, 1)
        harness.state.delete_revision(other)
        body = harness.state.list_body(harness.workload_id, deleted=False)
        harness.next_lists.append(Response(body=body[:-2] + b',{"id": null}]}'))
        assert await harness.collect(watch, 10) == []
        assert harness.times("deleted") == []
        events = await harness.collect(watch, 10)

    assert [type(event) for event in events] == [RevisionDeleted]

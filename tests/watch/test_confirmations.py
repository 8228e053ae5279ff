"""How a poll asks where missing revisions went: what is asked in which order, and what that may cost."""

from collections.abc import Sequence

import pytest
from support.harness import Harness, Reply

from runai_async import PhaseChanged, PollPolicy
from runai_async.testing import Response

FAILED = Response(400, body=b'{"code": 400, "message": "no"}')


async def test_a_watch_doubts_for_five_graces_that_every_revision_is_gone() -> None:
    harness = Harness()
    for revision_id in [harness.add() for _ in range(2)]:
        harness.at(10, harness.state.purge_revision, revision_id)
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=10, jitter=0))
        await harness.collect(watch, 1)
        assert await harness.collect(watch, 305) == []
        events = await harness.collect(watch, 20)
    assert [event.kind for event in events] == ["deleted", "deleted"]


async def confirmations(harness: Harness, seconds: float) -> list[tuple[float, str]]:
    """Let revisions be gone from the list for some time; return when what was asked about them."""
    ids = [harness.add() for _ in range(2)]
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=20, jitter=0))
        await harness.collect(watch, 1)
        for revision_id in ids:
            harness.state.purge_revision(revision_id)
        await harness.collect(watch, seconds)
    return asked(harness)


def asked(harness: Harness) -> list[tuple[float, str]]:
    return [(at, kind) for at, kind, _ in harness.requests if kind in {"deleted", "get"}]


class Slow(Harness):
    """A control plane of which some confirmations take for ever, or fail.

    Attributes:
        replies: what requests of a kind get.
    """

    def __init__(self, **replies: Reply | bool) -> None:
        super().__init__()
        self.replies = replies

    def _reply(self, kind: str, key: str) -> Reply | bool:
        return self.replies[kind] if kind in self.replies else super()._reply(kind, key)


async def test_a_get_has_its_turn_at_the_poll_after_a_deleted_list_that_takes_for_ever() -> None:
    assert await confirmations(Slow(deleted=None), 78) == [
        (20.0, "deleted"),
        *((40.0, "get"), (40.0, "deleted")),
        *((60.0, "get"), (60.0, "deleted")),
    ]


async def test_a_get_goes_first_at_the_poll_after_a_deleted_list_that_failed() -> None:
    harness = Slow(deleted=FAILED)
    assert await confirmations(harness, 38) == [(20.0, "deleted"), (20.0, "get")]
    harness = Slow(deleted=FAILED)
    assert [kind for _, kind in await confirmations(harness, 58)][2:] == ["get", "deleted"]


async def test_where_both_take_for_ever_each_has_its_turn() -> None:
    harness = Slow(deleted=None, get=None)
    assert [kind for _, kind in await confirmations(harness, 98)] == ["deleted", "get", "deleted", "get"]


async def test_a_get_that_takes_for_ever_does_not_keep_the_deleted_list_from_its_turn() -> None:
    harness = Slow(get=None)
    assert [kind for _, kind in await confirmations(harness, 58)] == ["deleted", "get"] * 2


async def test_a_deletion_in_the_deleted_list_counts_at_once_also_after_a_404_by_id() -> None:
    harness = Slow(deleted=FAILED, get=Response(404, body=b'{"code": 404, "message": "no"}'))
    gone = harness.add()
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=PollPolicy(interval=20, jitter=0))
        await harness.collect(watch, 1)
        harness.state.delete_revision(gone)
        assert await harness.collect(watch, 20) == []
        harness.replies["deleted"] = True
        (event,) = await harness.collect(watch, 20)
    assert event.kind == "deleted"
    assert asked(harness) == [(20.0, "deleted"), (20.0, "get"), (40.0, "get"), (40.0, "deleted")]


@pytest.mark.parametrize("slow", [["deleted"], ["get"], ["deleted", "get"]])
async def test_a_confirmation_that_takes_for_ever_holds_no_event_back_for_more_than_a_quarter_of_a_deadline(
    slow: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    harness = Slow(**dict.fromkeys(slow))
    other, gone = harness.add("Pending"), harness.add()
    harness.at(20, harness.state.purge_revision, gone)
    for times in range(1, 11):
        harness.at(times * 20, harness.set_phase, other, ("Running", "Degraded")[times % 2])
    async with harness.client() as runai:
        policy = PollPolicy(interval=20, fast_interval=20, jitter=0, deadline=40, max_outage=60)
        events = await harness.collect(runai.watch_revisions(harness.workload_id, poll=policy), 215)
    changes = [event for event in events if isinstance(event, PhaseChanged)]
    late = [(event.observed_at - event.server_time).total_seconds() for event in changes if event.server_time]
    assert len(changes) == 10
    assert max(late) == 10
    assert caplog.records == []

"""What the errors of a rollout say about why it failed or is not done, and what that may cost."""

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from support.harness import HTML_404, HTML_502, REFUSED_403, REFUSED_404, Harness, Reply, within

from runai_async import PollPolicy, RolloutFailedError, RunaiClient, WaitTimeoutError
from runai_async.testing import FakeTransport, Response

STEADY = PollPolicy(interval=10, jitter=0)
MEANWHILE = "serves meanwhile; why llm-00002 does not serve:"
NO_NODE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


class Unhelpful(Harness):
    """A control plane whose requests about events or pods get something else.

    Attributes:
        instead: what they get, by their kinds.
    """

    def __init__(self, **instead: Reply) -> None:
        super().__init__()
        self.instead = instead

    def _reply(self, kind: str, key: str) -> Reply | bool:
        return self.instead[kind] if kind in self.instead else super()._reply(kind, key)


def pending(harness: Harness, **fields: Any) -> str:
    """Add an old revision that serves and a new one that no node has room for; return the new one."""
    harness.add("Running")
    harness.clock.shift_now(1)
    revision_id = harness.add("Pending", **fields)
    for _ in range(3):
        warning = {"type": "Warning", "reason": "FailedScheduling", "message": NO_NODE}
        harness.state.add_event(revision_id, warning)
    return revision_id


async def timed_out(harness: Harness, seconds: float = 0.0, **options: Any) -> WaitTimeoutError:
    """Return the error of a wait for 30 seconds that may take so many more."""
    async with harness.client(**options) as runai:
        wait = runai.wait_for_rollout(harness.workload_id, timeout=30, poll=STEADY)
        with pytest.raises(WaitTimeoutError) as caught:
            await within(harness, 30 + seconds, wait)
    return caught.value


async def test_a_timeout_says_why() -> None:
    harness = Harness()
    revision_id = pending(harness)
    error = await timed_out(harness)
    assert error.explanation is not None
    assert (error.explanation.revision_id, error.explanation.unread) == (revision_id, ())
    (warning,) = error.explanation.warnings
    assert (warning.reason, warning.message, warning.count) == ("FailedScheduling", NO_NODE, 3)
    assert error.explanation.pod_phases == {"Pending": 2}
    assert (
        f"; why llm-00002 does not serve: FailedScheduling: {NO_NODE} Nothing was cancelled; wait again"
        in str(error)
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_a_failure_says_why() -> None:
    harness = Harness()
    revision_id = pending(harness)
    harness.at(20, lambda: harness.set_phase(revision_id, "Failed", message="gave up"))
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError) as caught:
            await within(harness, 60, runai.wait_for_rollout(harness.workload_id, poll=STEADY))
    assert caught.value.explanation is not None
    assert caught.value.explanation.phase == "Failed"
    assert f"{MEANWHILE} FailedScheduling: {NO_NODE} Look at the revision's" in str(caught.value)


async def test_a_cause_that_the_text_names_already_is_not_repeated() -> None:
    harness = Harness()
    harness.add("Pending", phase_message="waiting for quota " * 50)
    error = await timed_out(harness)
    assert error.explanation is not None
    assert error.explanation.cause
    assert "why" not in str(error)


@pytest.mark.parametrize(
    ("instead", "unread", "is_known"),
    [
        ({"events": REFUSED_403}, ("events",), False),
        ({"events": REFUSED_404, "pods": HTML_404}, ("events", "pods"), False),
        ({"pods": HTML_502}, ("pods",), True),
        ({"events": Response(body=b'{"events": null}')}, (), False),
        ({"events": Response(body=b"[]")}, ("events",), False),
        ({"pods": Response(body=b'{"pods": [{"name": 5}, {"name": "x"}]}')}, (), True),
    ],
    ids=str,
)
async def test_where_something_cannot_be_read_there_is_what_there_is(
    instead: dict[str, Reply], unread: tuple[str, ...], is_known: bool
) -> None:
    harness = Unhelpful(**instead)
    pending(harness)
    error = await timed_out(harness)
    assert error.explanation is not None
    assert error.explanation.unread == unread
    assert (NO_NODE in str(error)) is is_known
    assert error.explanation.name == "llm-00002"


async def test_what_hangs_costs_ten_seconds_at_most_and_the_rest_has_its_turn() -> None:
    harness = Unhelpful(events=None)
    pending(harness)
    error = await timed_out(harness, 10)
    assert error.explanation is not None
    assert error.explanation.unread == ("events",)
    assert error.explanation.pods
    began, asked = harness.times("events")[0], harness.times("pods")[0]
    assert asked - began == 5


async def test_a_short_wait_does_not_ask_for_longer_than_it_waited() -> None:
    harness = Unhelpful(events=None, pods=None)
    pending(harness)
    async with harness.client() as runai:
        with pytest.raises(WaitTimeoutError):
            await within(harness, 6, runai.wait_for_rollout(harness.workload_id, timeout=3))


async def test_a_timeout_in_an_outage_asks_for_nothing_more() -> None:
    harness = Harness()
    pending(harness)
    harness.at(5, lambda: vars(harness).update(lists=HTML_502, others=HTML_502))
    error = await timed_out(harness)
    assert error.explanation is None
    assert harness.times("events") == harness.times("pods") == []


def not_there(harness: Harness) -> None:
    """Leave the workload without a revision."""


def unreadable(harness: Harness) -> None:
    pending(harness)
    harness.clock.shift_now(60)
    harness.add("Running", phase_updated_at="yesterday")


@pytest.mark.parametrize("world", [not_there, unreadable])
async def test_where_the_newest_revision_is_not_known_nothing_is_explained(
    world: Callable[[Harness], None],
) -> None:
    harness = Harness()
    world(harness)
    assert (await timed_out(harness)).explanation is None
    assert harness.times("events") == []


async def test_a_deleted_workload_is_not_explained() -> None:
    harness = Harness()
    pending(harness)
    harness.at(5, lambda: setattr(harness, "lists", REFUSED_404))
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError, match="was deleted") as caught:
            await within(harness, 400, runai.wait_for_rollout(harness.workload_id, poll=STEADY))
    assert caught.value.explanation is None
    assert harness.times("events") == []


async def test_a_deleted_revision_is_explained_by_what_is_left_of_it() -> None:
    harness = Harness()
    revision_id = pending(harness)
    harness.at(20, lambda: harness.state.delete_revision(revision_id))
    async with harness.client() as runai:
        with pytest.raises(RolloutFailedError, match=f"was deleted.*why .* FailedScheduling: {NO_NODE[:20]}"):
            await within(harness, 400, runai.wait_for_rollout(harness.workload_id, poll=STEADY))


async def test_a_defect_while_asking_why_does_not_hide_the_error() -> None:
    harness = Harness()
    harness.add("Failed")
    harness.clock.shift_now(100)
    body = harness.state.list_body(harness.workload_id, deleted=False)
    transport = FakeTransport([Response(body=body)])  # any other request is an AssertionError
    async with RunaiClient(
        "https://acme.example", "token", transport=transport, clock=harness.clock
    ) as runai:
        with pytest.raises(RolloutFailedError) as caught:
            await runai.wait_for_rollout(harness.workload_id, poll=STEADY)
    assert caught.value.explanation is None


async def test_a_wait_that_is_cancelled_while_it_asks_why_ends_at_once() -> None:
    harness = Unhelpful(events=None)
    pending(harness)
    async with harness.client() as runai:
        waiting = asyncio.ensure_future(runai.wait_for_rollout(harness.workload_id, timeout=30, poll=STEADY))
        await harness.clock.advance(32)
        assert len(harness.times("events")) == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert harness.times("pods") == []


async def test_a_lost_cluster_is_named_once() -> None:
    harness = Harness()
    harness.add("Pending")
    (cluster_id,) = harness.state.clusters
    harness.state.disconnect_cluster(cluster_id, None)
    error = await timed_out(harness)
    assert error.explanation is not None
    assert (error.explanation.lost_cluster or "").startswith("cluster cluster-1 lost its connection")
    assert str(error).count("lost its connection") == 1
    assert len(harness.times("cluster")) == 1


async def test_a_wait_that_is_done_asks_for_nothing_more() -> None:
    harness = Harness()
    harness.add("Running")
    async with harness.client() as runai:
        await within(harness, 0, runai.wait_for_rollout(harness.workload_id))
    assert [kind for _, kind, _ in harness.requests] == ["list"]

"""Clusters are asked for once a minute, for all watches of a client, and never in the way of a poll."""

import asyncio
from datetime import timedelta

import pytest
from support.harness import HTML_404, HTML_502, REFUSED_403, REFUSED_404, Harness

from runai_async import ClusterConnected, ClusterDisconnected, RunaiClient
from runai_async._watch.cluster_watch import ClusterFeed, ClusterWatch
from runai_async.events import ClusterEvent
from runai_async.testing import Response

NEVER = float("inf")


class Stage:
    """A client's clusters, and one feed of them."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.clusters = ClusterWatch(harness.client()._api)
        self.feed = ClusterFeed(self.clusters)
        (self.id,) = harness.state.clusters

    async def round(self, feed: ClusterFeed | None = None, seconds: float = 60) -> list[ClusterEvent]:
        """Let a poll succeed, ask, and let a poll succeed again; then let time pass."""
        feed = feed or self.feed
        now = self.harness.clock.now()
        events = feed.changes([self.id], now)
        await feed.ask(until=NEVER)
        events += feed.changes([self.id], now)
        await self.harness.clock.advance(seconds)
        return events

    @property
    def asked(self) -> list[tuple[float, str]]:
        return [(at, kind) for at, kind, _ in self.harness.requests]


@pytest.fixture
async def stage() -> Stage:
    return Stage(Harness())


async def test_a_cluster_that_is_lost_and_comes_back_is_reported(stage: Stage) -> None:
    state, clock = stage.harness.state, stage.harness.clock
    assert await stage.round() == []
    state.disconnect_cluster(stage.id, None)
    lost_at = clock.now()
    assert await stage.round() == []
    assert await stage.round() == [
        ClusterDisconnected(cluster_id=stage.id, name="cluster-1", last_seen_at=lost_at, observed_at=lost_at)
    ]
    assert stage.feed.disconnected == {stage.id}
    assert stage.clusters.link(stage.id.upper()).is_connected is False
    state.connect_cluster(stage.id)
    back = ClusterConnected(cluster_id=stage.id, name="cluster-1", observed_at=lost_at)
    assert await stage.round() == [back]
    assert await stage.round() == []
    assert stage.asked == [(60.0 * number, "cluster") for number in range(5)]


async def test_long_silence_by_the_server_s_clock_needs_one_response_only(stage: Stage) -> None:
    clock = stage.harness.clock
    stage.harness.state.disconnect_cluster(stage.id, clock.now() - timedelta(minutes=6))
    assert len(await stage.round()) == 1


async def test_the_server_s_clock_decides_how_long_a_cluster_was_silent(stage: Stage) -> None:
    harness = stage.harness
    harness.state.disconnect_cluster(stage.id, harness.clock.now() - timedelta(minutes=6))
    behind = {"Date": "Wed, 31 Dec 2025 23:55:00 GMT"}  # five minutes behind the client
    body = stage.harness._respond("cluster", stage.id).body
    harness.others = Response(200, behind, body)
    assert await stage.round() == []


async def test_all_watches_of_a_client_share_one_request_a_minute(stage: Stage) -> None:
    other = ClusterFeed(stage.clusters)
    stage.harness.state.disconnect_cluster(stage.id, stage.harness.clock.now() - timedelta(minutes=6))
    assert [len(await stage.round(feed, 1)) for feed in (stage.feed, other, stage.feed)] == [1, 1, 0]
    assert len(stage.asked) == 1
    assert not stage.feed.is_due
    await stage.harness.clock.advance(60)
    assert stage.feed.is_due


async def test_two_watches_that_ask_at_the_same_time_send_one_request(stage: Stage) -> None:
    stage.harness.latency = 5
    other = ClusterFeed(stage.clusters)
    feeds = [stage.feed, other]
    for feed in feeds:
        feed.changes([stage.id, "b" * 32], stage.harness.clock.now())
    tasks = [asyncio.create_task(feed.ask(until=NEVER)) for feed in feeds]
    await stage.harness.clock.advance(60)
    assert all(task.done() for task in tasks)
    assert sorted(key for _, _, key in stage.harness.requests) == sorted(
        [stage.id, "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb"]
    )


async def test_a_request_ends_when_the_next_poll_is_due(stage: Stage) -> None:
    stage.harness.others = None  # silence
    stage.feed.changes([stage.id], stage.harness.clock.now())
    task = asyncio.create_task(stage.feed.ask(until=7))
    await stage.harness.clock.advance(7)
    assert task.done()
    assert task.exception() is None
    await stage.feed.ask(until=NEVER)
    assert len(stage.asked) == 1  # the one that was cut counts


async def test_nothing_is_asked_once_the_next_poll_is_due(stage: Stage) -> None:
    stage.feed.changes([stage.id], stage.harness.clock.now())
    await stage.feed.ask(until=0)
    assert stage.asked == []
    assert stage.feed.is_due


async def test_nothing_is_asked_without_revisions(stage: Stage) -> None:
    await stage.feed.ask(until=NEVER)
    assert (stage.asked, stage.feed.is_due) == ([], False)


@pytest.mark.parametrize(
    "reply", [HTML_502, HTML_404, Response(body=b"{}"), Response(401, body=b"")], ids=repr
)
async def test_a_failed_response_changes_nothing(stage: Stage, reply: Response) -> None:
    state, harness = stage.harness.state, stage.harness
    await stage.round()
    state.disconnect_cluster(stage.id, None)
    await stage.round()
    harness.others = reply
    assert await stage.round() == []
    harness.others = True
    assert len(await stage.round()) == 1


async def test_where_the_full_form_is_refused_the_minimal_one_is_asked_for(stage: Stage) -> None:
    stage.harness.others = REFUSED_403
    await stage.round()
    stage.harness.others = True
    stage.harness.state.disconnect_cluster(stage.id, None)
    assert [len(await stage.round()) for _ in range(2)] == [0, 1]
    assert [kind for _, kind in stage.asked] == ["cluster", "minimal", "minimal"]
    assert stage.clusters.link(stage.id).last_seen_at is None


@pytest.mark.parametrize("second", [REFUSED_403, REFUSED_404, HTML_404], ids=["403", "404", "gateway"])
async def test_where_both_are_refused_they_are_asked_for_again_after_an_hour(
    stage: Stage, second: Response
) -> None:
    stage.harness.others = REFUSED_403
    await stage.round()
    stage.harness.others = second
    for _ in range(61):
        await stage.round()
    assert stage.asked == [(0, "cluster"), (60, "minimal"), (3660, "cluster")]


async def test_retry_after_is_honoured(stage: Stage) -> None:
    stage.harness.others = Response(429, {"Retry-After": "150"}, b"")
    for _ in range(4):
        await stage.round()
    assert stage.asked == [(0, "cluster"), (180, "cluster")]


async def test_a_cluster_without_an_id_is_not_asked_for(stage: Stage) -> None:
    assert stage.feed.changes([""], stage.harness.clock.now()) == []
    await stage.feed.ask(until=NEVER)
    assert stage.asked == []


async def test_a_response_about_another_cluster_is_no_response(stage: Stage) -> None:
    body = stage.harness._respond("cluster", stage.id).body.replace(stage.id[:8].encode(), b"00000000")
    stage.harness.others = Response(body=body)
    await stage.round()
    assert stage.clusters.link(stage.id).is_connected is None


async def test_a_copy_of_the_client_with_a_retry_policy_makes_one_attempt_here() -> None:
    harness = Harness()
    harness.others = HTML_502
    clusters = ClusterWatch(
        RunaiClient("https://acme.example", "token", transport=harness, clock=harness.clock)._api
    )
    feed = ClusterFeed(clusters)
    feed.changes(list(harness.state.clusters), harness.clock.now())
    await feed.ask(until=NEVER)
    assert len(harness.requests) == 1

"""The times of CloudEvents: the server's, and where it gives none, that of the observation by its clock."""

from datetime import datetime, timedelta
from email.utils import format_datetime

import attrs
import pytest
from support.harness import Harness

from runai_async import (
    ClusterConnected,
    ClusterEvent,
    FleetEvent,
    PhaseChanged,
    PollPolicy,
    Response,
    RevisionDeleted,
    RevisionEvent,
    RevisionUpdated,
    to_cloudevent,
)
from runai_async.testing import Request

AHEAD = 90.0
POLICY = PollPolicy(interval=10, fast_interval=10, emit=frozenset({"updated", "clusters"}), missing_grace=30)


class Ahead(Harness):
    """A control plane whose clock is ahead."""

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        response = await super().send(request, timeout=timeout, deadline=deadline)
        date = format_datetime(self.clock.now() + timedelta(seconds=AHEAD), usegmt=True)
        return attrs.evolve(response, headers={**response.headers, "Date": date})


def leads(events: list[FleetEvent], kind: type[RevisionEvent | ClusterEvent]) -> list[float]:
    """Return by how much the times of CloudEvents are ahead of the client's, for events of a kind."""
    found = [event for event in events if isinstance(event, kind)]
    times = [datetime.fromisoformat(to_cloudevent(event)["time"]) for event in found]
    return [(at - event.observed_at).total_seconds() for at, event in zip(times, found, strict=True)]


@pytest.mark.parametrize("is_fleet", [False, True])
async def test_an_event_without_a_time_of_the_server_s_has_that_of_its_clock(is_fleet: bool) -> None:
    harness = Ahead()
    revision_id = harness.add("Running")
    (cluster_id,) = harness.state.clusters
    harness.at(55, harness.state.update_revision, revision_id, {"running_pods": 3})
    harness.at(100, harness.state.clusters.set_state, cluster_id, "Disconnected")
    harness.at(400, harness.state.clusters.set_state, cluster_id, "Connected")
    harness.at(600, harness.set_phase, revision_id, "Degraded")
    harness.at(800, harness.state.delete_workload, harness.workload_id)
    async with harness.client() as runai:
        if is_fleet:
            async with runai.watch_fleet([harness.workload_id], poll=POLICY) as fleet:
                events = await harness.collect(fleet, 1300)
        else:
            watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
            events = list(await harness.collect(watch, 1300))
    for kind in (RevisionUpdated, ClusterConnected, RevisionDeleted):
        assert leads(events, kind) == [pytest.approx(AHEAD, abs=1)], kind
    assert all(lead <= 0 for lead in leads(events, PhaseChanged))  # the server gives its time


async def test_a_deletion_after_a_resume_has_the_time_of_the_server_s_clock() -> None:
    harness = Ahead()
    harness.add("Running")
    async with harness.client() as runai:
        watch = runai.watch_revisions(harness.workload_id, poll=POLICY)
        await anext(watch)
        saved = watch.checkpoint()
    harness.state.delete_workload(harness.workload_id)
    async with harness.client() as runai:
        again = runai.watch_revisions(harness.workload_id, poll=POLICY, resume_from=saved)
        events = await harness.collect(again, 1300)
    assert leads(list(events), RevisionDeleted) == [pytest.approx(AHEAD, abs=1)]

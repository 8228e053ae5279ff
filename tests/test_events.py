"""What a watch yields: frozen values that are equal, and have the same id, if they report the same change."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid5

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import (
    ClusterConnected,
    ClusterDisconnected,
    ClusterEvent,
    FieldChange,
    FleetEvent,
    Phase,
    PhaseChanged,
    Revision,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionStalled,
    RevisionUpdated,
    RunaiError,
    Synced,
    WatchDegraded,
    WatchEvent,
    WatchRecovered,
    WorkloadFailed,
    from_json,
)

REVISION = from_json((Path(__file__).parent / "data" / "revision.json").read_bytes(), Revision)
SEEN = datetime(2025, 9, 14, 12, tzinfo=UTC)
LATER = SEEN + timedelta(seconds=1)
# It never changes: ids are compared with those of other processes, on other machines.
NAMESPACE = UUID("8a5e2d0e-5f0a-5a4e-9a5b-0c7a1f1f6b1d")


def added(**fields: Any) -> RevisionAdded:
    return RevisionAdded(**{"revision": REVISION, "observed_at": SEEN, **fields})


def changed(**fields: Any) -> PhaseChanged:
    return PhaseChanged(
        **{"revision": REVISION, "observed_at": SEEN, "previous_phase": Phase.RUNNING, **fields}
    )


def updated(**fields: Any) -> RevisionUpdated:
    return RevisionUpdated(**{"revision": REVISION, "observed_at": SEEN, **fields})


def stalled(**fields: Any) -> RevisionStalled:
    known = {"since": REVISION.phase_updated_at, "seconds": 900.0, "stalled_after": 600.0}
    return RevisionStalled(**{"revision": REVISION, "observed_at": SEEN, **known, **fields})


def deleted(**fields: Any) -> RevisionDeleted:
    return RevisionDeleted(**{"revision": REVISION, "observed_at": SEEN, **fields})


MAKERS = [added, changed, updated, stalled, deleted]
BY_PHASE = [added, changed, stalled, deleted]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (added(), "583e5e9c-8c2a-5876-859e-ba5044f85b86"),
        (changed(), "e0414014-3693-510b-b698-89f714521373"),
        (updated(), "a46a53a3-8813-500e-8da0-4698b6bc20c5"),
        (stalled(), "804dd015-3d7d-52a7-90be-2ce7e147aafc"),
        (deleted(), "048aab18-c2c3-5deb-af25-6a1a903819ee"),
        (changed(ordinal=3), "7cd90e23-4e8a-559c-a9d4-ae58c35c934b"),
        (
            changed(revision=attrs.evolve(REVISION, phase_updated_at=None), ordinal=0),
            "4476ee53-2521-556d-96eb-5a1b323dd9f1",
        ),
    ],
    ids=["added", "changed", "updated", "stalled", "deleted", "counted", "untimed"],
)
def test_an_id_is_the_same_in_every_release(event: RevisionEvent, expected: str) -> None:
    assert event.id == expected


@pytest.mark.parametrize("make", BY_PHASE)
@pytest.mark.parametrize(
    ("at", "ordinal"),
    [(REVISION.phase_updated_at, None), (REVISION.phase_updated_at, 12), (None, 0), (None, 1)],
)
def test_an_id_is_made_of_kind_revision_phase_time_in_seconds_and_count(
    make: Any, at: datetime | None, ordinal: int | None
) -> None:
    event = make(revision=attrs.evolve(REVISION, phase_updated_at=at), ordinal=ordinal)
    parts = [event.kind, REVISION.id, "Degraded", "2025-09-14T07:58:04+00:00" if at else ""]
    name = "\n".join(parts + ([] if ordinal is None else [str(ordinal)]))
    assert event.id == str(uuid5(NAMESPACE, name))
    assert UUID(event.id).version == 5


@pytest.mark.parametrize("make", BY_PHASE)
def test_an_id_does_not_depend_on_the_observer_or_the_time(make: Any) -> None:
    other = attrs.evolve(REVISION, phase_message="another", running_pods=None, created_at=SEEN)
    assert make().id == make(observed_at=LATER).id == make(revision=other).id


@pytest.mark.parametrize("make", BY_PHASE)
@pytest.mark.parametrize(
    "field", [{"id": "0"}, {"phase": Phase.FAILED}, {"phase_updated_at": LATER}], ids=str
)
def test_another_change_has_another_id(make: Any, field: dict[str, Any]) -> None:
    assert make(revision=attrs.evolve(REVISION, **field)).id != make().id


@pytest.mark.parametrize("make", BY_PHASE)
@given(st.integers(0, 999_999), st.integers(0, 999_999))
def test_an_id_is_the_same_in_every_precision_of_the_time(make: Any, one: int, other: int) -> None:
    times = [LATER.replace(microsecond=fraction) for fraction in (one, other)]
    first, second = (make(revision=attrs.evolve(REVISION, phase_updated_at=at)) for at in times)
    assert first.id == second.id


def test_the_kinds_of_one_revision_s_events_have_different_ids() -> None:
    assert len({make().id for make in MAKERS}) == len(MAKERS)


def test_the_previous_phase_is_not_part_of_an_id() -> None:
    assert changed(previous_phase=Phase.PENDING).id == changed().id


CHANGES = (FieldChange("running_pods", 1, 2), FieldChange("conditions[0].status", "False", "True"))


def test_an_update_s_id_is_made_of_the_revision_the_changed_paths_and_the_count() -> None:
    name = f"updated\n{REVISION.id}\nconditions[0].status\nrunning_pods\n2"
    event = updated(changes=CHANGES, ordinal=2)
    assert event.id == str(uuid5(NAMESPACE, name))
    assert event.id == updated(changes=CHANGES[::-1], ordinal=2, observed_at=LATER).id
    assert event.id != updated(changes=CHANGES, ordinal=3).id
    assert event.id != updated(changes=CHANGES[:1], ordinal=2).id
    assert event.id != updated(changes=CHANGES, ordinal=2, revision=attrs.evolve(REVISION, id="0")).id


def test_an_update_s_id_does_not_depend_on_the_observer() -> None:
    other = attrs.evolve(REVISION, phase=Phase.FAILED, phase_updated_at=LATER, running_pods=9)
    values = tuple(FieldChange(change.path, None, 5) for change in CHANGES)
    assert updated(changes=CHANGES).id == updated(changes=values, revision=other, observed_at=LATER).id
    assert updated(changes=CHANGES).id == updated(changes=CHANGES, ordinal=0).id


@pytest.mark.parametrize("make", MAKERS)
def test_the_time_of_observation_is_not_part_of_equality(make: Any) -> None:
    assert make() == make(observed_at=LATER)
    assert make(observed_at=LATER).observed_at == LATER
    assert make() != make(revision=attrs.evolve(REVISION, running_pods=9))


@pytest.mark.parametrize(
    "event",
    [
        added(initial=True),
        changed(previous_phase=Phase.PENDING),
        changed(coalesced=True),
        updated(changes=(FieldChange("running_pods", 1, 2),)),
        stalled(since=SEEN),
        deleted(),
    ],
    ids=["initial", "previous", "coalesced", "changes", "since", "kind"],
)
def test_what_an_event_reports_is_part_of_equality(event: RevisionEvent) -> None:
    assert event not in [added(), changed(), updated(), stalled()]


def test_for_how_long_a_revision_was_stuck_when_it_was_observed_is_not_part_of_equality() -> None:
    assert stalled() == stalled(seconds=1000.0)
    assert stalled(seconds=1000.0).seconds == 1000.0
    assert stalled().id == stalled(since=SEEN, seconds=1000.0, stalled_after=30.0).id
    assert stalled(stalled_after=None).server_time is None


@pytest.mark.parametrize("make", MAKERS)
def test_an_event_names_its_revision_and_workload(make: Any) -> None:
    event = make()
    assert (event.revision_id, event.workload_id) == (REVISION.id, REVISION.workload_id)


@pytest.mark.parametrize(
    ("make", "time"),
    [
        (added, REVISION.created_at),
        (changed, REVISION.phase_updated_at),
        (updated, None),
        (stalled, datetime(2025, 9, 14, 8, 8, 4, 100200, tzinfo=UTC)),
        (deleted, REVISION.deleted_at),
    ],
)
def test_the_server_s_time_is_that_of_the_change(make: Any, time: datetime | None) -> None:
    assert make().server_time == time


@pytest.mark.parametrize("make", [changed, stalled, deleted])
def test_a_time_that_the_server_did_not_send_is_none(make: Any) -> None:
    untimed = attrs.evolve(REVISION, phase_updated_at=None, deleted_at=None)
    assert make(revision=untimed).server_time is None


@pytest.mark.parametrize(
    ("cls", "fields", "kind"),
    [
        (Synced, {}, "synced"),
        (WatchDegraded, {"error": RunaiError("x")}, "degraded"),
        (WatchRecovered, {"seconds": 2.5}, "recovered"),
        (WorkloadFailed, {"error": RunaiError("x")}, "workload_failed"),
    ],
)
def test_an_event_about_a_workload_names_it(cls: Any, fields: dict[str, Any], kind: str) -> None:
    event = cls(workload_id="w", observed_at=SEEN, **fields)
    assert (event.kind, event.workload_id, event.observed_at) == (kind, "w", SEEN)
    assert {name: getattr(event, name) for name in fields} == fields
    assert event == cls(workload_id="w", observed_at=LATER, **fields)
    assert event != cls(workload_id="v", observed_at=SEEN, **fields)


def disconnected(**fields: Any) -> ClusterDisconnected:
    known = {"cluster_id": REVISION.cluster_id, "name": "eu-1", "last_seen_at": SEEN, "observed_at": SEEN}
    return ClusterDisconnected(**{**known, **fields})


def connected(**fields: Any) -> ClusterConnected:
    known = {"cluster_id": REVISION.cluster_id, "name": "eu-1", "last_seen_at": SEEN, "observed_at": SEEN}
    return ClusterConnected(**{**known, **fields})


@pytest.mark.parametrize("make", [disconnected, connected])
def test_an_id_of_a_cluster_s_event_is_made_of_kind_cluster_and_when_it_was_last_seen(make: Any) -> None:
    name = f"{make().kind}\n{REVISION.cluster_id}\n2025-09-14T12:00:00+00:00"
    assert make().id == make(observed_at=LATER, name="eu-2").id == str(uuid5(NAMESPACE, name))
    assert make(last_seen_at=SEEN.replace(microsecond=5)).id == make().id
    assert len({make(last_seen_at=LATER).id, make(cluster_id="c").id, make().id}) == 3
    untimed = [make(last_seen_at=None, observed_at=at).id for at in (SEEN, LATER)]
    assert untimed[0] != untimed[1]
    assert connected().id != disconnected().id


@pytest.mark.parametrize("make", [disconnected, connected])
def test_an_event_about_a_cluster_names_it_and_no_revision_or_workload(make: Any) -> None:
    event = make()
    assert (event.cluster_id, event.name, event.last_seen_at) == (REVISION.cluster_id, "eu-1", SEEN)
    assert event.workload_id == ""
    assert not hasattr(event, "revision")
    assert event == make(observed_at=LATER) != make(name="eu-2")
    assert event != make(cluster_id="c")


def test_when_a_cluster_was_last_seen_is_what_the_server_says_of_its_loss_only() -> None:
    assert (disconnected().server_time, connected().server_time) == (SEEN, None)
    assert disconnected() != disconnected(last_seen_at=LATER)
    assert connected() == connected(last_seen_at=None)


def test_the_unions_list_every_event() -> None:
    of_revisions = {RevisionAdded, PhaseChanged, RevisionUpdated, RevisionStalled, RevisionDeleted}
    of_clusters: set[Any] = {ClusterDisconnected, ClusterConnected}
    of_a_watch = of_revisions | of_clusters | {Synced, WatchDegraded, WatchRecovered}
    assert set(get_args(RevisionEvent)) == of_revisions
    assert set(get_args(ClusterEvent)) == of_clusters
    assert set(get_args(WatchEvent)) == of_a_watch
    assert set(get_args(FleetEvent)) == of_a_watch | {WorkloadFailed}


@pytest.mark.parametrize("cls", get_args(FleetEvent))
def test_an_event_is_frozen_slotted_and_made_by_keywords(cls: Any) -> None:
    names = [attribute.alias for attribute in attrs.fields(cls)]
    with pytest.raises(TypeError, match="positional"):
        cls(*names)
    event = cls(**dict.fromkeys(names))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.observed_at = SEEN
    assert not hasattr(event, "__dict__")


@pytest.mark.parametrize("make", MAKERS)
def test_an_event_does_not_show_secrets(make: Any) -> None:
    secrets = ("hub-secret-123", "cmd-secret-456", "arg-secret-789")
    assert [secret for secret in secrets if secret in repr(make())] == []

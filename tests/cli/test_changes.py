"""Which events change a row of a list that is watched."""

from attrs import evolve
from support.samples import NOW, WORKLOAD, revision

from runai_async import (
    PhaseChanged,
    RevisionAdded,
    RevisionDeleted,
    RevisionUpdated,
    Synced,
    TransportError,
    WatchRecovered,
    Workload,
    WorkloadFailed,
)
from runai_async.cli.changes import RevisionChanges, WorkloadChanges
from runai_async.cli.overview import Overview
from runai_async.models import Phase

ONE, TWO = revision(1), revision(2, "Pending")
ROW = Workload(
    type="Inference",
    name="llm",
    id=WORKLOAD,
    cluster_id=ONE.cluster_id,
    project_id=ONE.project_id,
    phase=Phase.RUNNING,
    created_at=NOW,
)


def test_what_is_in_the_table_already_is_no_change() -> None:
    changes = RevisionChanges([ONE])
    assert changes.note(RevisionAdded(revision=ONE, observed_at=NOW, initial=True)) is None
    assert changes.note(Synced(workload_id=WORKLOAD, observed_at=NOW)) is None


def test_another_phase_other_pods_or_another_message_is_a_change() -> None:
    changes = RevisionChanges([])
    assert changes.note(RevisionAdded(revision=TWO, observed_at=NOW)) == TWO
    told = evolve(TWO, phase_message="waiting for 2 GPUs")
    assert changes.note(RevisionUpdated(revision=told, observed_at=NOW, changes=())) == told
    hidden = evolve(told, command="other")
    assert changes.note(RevisionUpdated(revision=hidden, observed_at=NOW, changes=())) is None
    runs = evolve(told, phase=Phase.RUNNING)
    assert changes.note(PhaseChanged(revision=runs, observed_at=NOW, previous_phase=Phase.PENDING)) == runs


def test_a_deletion_is_a_change() -> None:
    assert RevisionChanges([ONE]).note(RevisionDeleted(revision=ONE, observed_at=NOW)) == ONE


def test_a_workload_is_judged_when_all_its_revisions_are_known() -> None:
    changes = WorkloadChanges([Overview(ROW, (ONE,))], {WORKLOAD: ROW})
    assert changes.note(RevisionAdded(revision=TWO, observed_at=NOW, initial=True)) is None
    assert changes.note(RevisionAdded(revision=ONE, observed_at=NOW, initial=True)) is None
    changed = changes.note(Synced(workload_id=WORKLOAD, observed_at=NOW))
    assert changed is not None
    assert (changed.newest, changed.serving, changed.phase) == (TWO, ONE, Phase.PENDING)
    assert changes.note(RevisionUpdated(revision=TWO, observed_at=NOW, changes=())) is None


def test_a_workload_whose_revisions_are_gone_is_deleted() -> None:
    changes = WorkloadChanges([Overview(ROW, (ONE,))], {WORKLOAD: ROW})
    changes.note(RevisionAdded(revision=ONE, observed_at=NOW, initial=True))
    assert changes.note(Synced(workload_id=WORKLOAD, observed_at=NOW)) is None
    changed = changes.note(RevisionDeleted(revision=ONE, observed_at=NOW))
    assert changed == Overview(ROW, (), is_deleted=True)


def test_what_is_about_no_revision_changes_no_row() -> None:
    changes = WorkloadChanges([Overview(ROW, (ONE,))], {WORKLOAD: ROW})
    failed = WorkloadFailed(workload_id=WORKLOAD, observed_at=NOW, error=TransportError("gone"))
    recovered = WatchRecovered(workload_id=WORKLOAD, observed_at=NOW, seconds=1.0)
    assert [changes.note(failed), changes.note(recovered)] == [None, None]


def test_a_workload_that_is_not_listed_has_no_row() -> None:
    changes = WorkloadChanges([], {})
    assert changes.note(Synced(workload_id=WORKLOAD, observed_at=NOW)) is None

"""One moment in several precisions is one moment; another moment is another."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.harness import Harness

from runai_async import PhaseChanged, PollPolicy, RevisionAdded
from runai_async._clock import finest, is_same_moment

STEADY = PollPolicy(interval=10, jitter=0, fast_for=0)
SPELLINGS = ["00.123456789Z", "00.123456Z", "00.123Z", "00Z"]


@pytest.mark.parametrize("order", [SPELLINGS, SPELLINGS[::-1], [*SPELLINGS, *SPELLINGS]])
async def test_a_time_cut_to_another_precision_is_not_a_return_to_the_phase(order: list[str]) -> None:
    harness = Harness()
    revision_id = harness.add("Running", phase_updated_at="2026-01-01T00:00:" + order[0])
    for number, spelling in enumerate(order[1:]):
        fields = {"phase_updated_at": "2026-01-01T00:00:" + spelling}
        harness.at(10 * number + 5, lambda fields=fields: harness.state.update_revision(revision_id, fields))
    harness.at(200, lambda: harness.set_phase(revision_id, "Running"))  # a real return
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 220)

    assert [type(event) for event in events] == [RevisionAdded, PhaseChanged]
    assert isinstance(events[1], PhaseChanged)
    assert events[1].coalesced


async def test_two_times_in_one_second_of_the_finest_precision_are_two() -> None:
    harness = Harness()
    revision_id = harness.add("Running", phase_updated_at="2026-01-01T00:00:00.100Z")
    fields = {"phase_updated_at": "2026-01-01T00:00:00.900Z"}
    harness.at(5, lambda: harness.state.update_revision(revision_id, fields))
    async with harness.client() as runai:
        events = await harness.collect(runai.watch_revisions(harness.workload_id, poll=STEADY), 20)

    assert [type(event) for event in events] == [RevisionAdded, PhaseChanged]
    added, changed = events
    assert isinstance(added, RevisionAdded)
    assert isinstance(changed, PhaseChanged)
    assert changed.id != added.id


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 2), timezones=st.just(UTC))
UNITS = st.sampled_from([timedelta(microseconds=1), timedelta(milliseconds=1), timedelta(seconds=1)])


def cut(time: datetime, unit: timedelta) -> datetime:
    return time - (time - datetime(2026, 1, 1, tzinfo=UTC)) % unit


def rounded(time: datetime, unit: timedelta) -> datetime:
    return cut(time + unit / 2, unit)


@given(MOMENTS, UNITS)
def test_cut_or_rounded_a_moment_is_the_same_and_the_finer_spelling_is_kept(
    time: datetime, unit: timedelta
) -> None:
    for spelled in (cut(time, unit), rounded(time, unit)):
        assert is_same_moment(time, spelled)
        assert is_same_moment(spelled, time)
        assert finest(time, spelled) == finest(spelled, time) == time


@given(MOMENTS, st.timedeltas(timedelta(seconds=1), timedelta(days=1)), UNITS)
def test_a_second_later_is_another_moment(time: datetime, gap: timedelta, unit: timedelta) -> None:
    later = cut(time, unit) + gap
    assert is_same_moment(time, later) == is_same_moment(later, time)
    if gap > timedelta(seconds=1):
        assert not is_same_moment(time, time + gap)

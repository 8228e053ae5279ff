"""Whether the rows of the workloads list are trusted, verdict by verdict."""

from uuid import UUID

import pytest
from support.fleets import controls_of

from runai_async._fleet.controls import Controls
from runai_async._fleet.hints import Hints
from runai_async._fleet.spread import offset_of

INTERVAL = 5.0
IDS = [str(UUID(int=number, version=4)) for number in range(10_000)]
CONTROLS = controls_of(IDS)
CONTROL = next(key for key in IDS if key in CONTROLS)
OTHER = next(key for key in IDS if key not in CONTROLS)
W = OTHER


class Story:
    """Listings every few seconds, and polls in between."""

    def __init__(self, *, relaxes: bool = False) -> None:
        self.hints = Hints(relaxes=relaxes)
        self.hints.choose_controls(frozenset(IDS))
        self.now = 0.0
        self.list()

    def list(self, *changed: str, seconds: float = 0.0) -> list[str]:
        """Wait for the next listing, which takes so long."""
        self.now += INTERVAL
        return self.hints.listed(changed, self.now - seconds, self.now)

    def poll(
        self, *, found: bool, key: str = W, at: float = 0.0, seconds: float = 0.0, relaxed: bool = False
    ) -> None:
        """Poll so many seconds after the last listing."""
        began = self.now + at
        self.hints.polled(key, began=began, ended=began + seconds, found_change=found, is_relaxed=relaxed)

    def shown_change(self, key: str = W) -> None:
        """Let a row change, and a poll find out why."""
        self.list(key)
        self.poll(found=True, key=key, at=1)

    def missed_change(self, key: str = W) -> None:
        """Let a poll find a change that no row shows."""
        self.poll(found=True, key=key, at=1)
        self.list()

    def vain_row(self) -> None:
        """Let a row change for no reason."""
        self.list(W)
        self.poll(found=False, at=1)

    def quiet(self, listings: int = 10) -> None:
        """Let nothing change for some listings."""
        for _ in range(listings):
            self.list()

    def changes(self, count: int) -> None:
        """Let as many rows change, one a listing, and polls find out why."""
        for _ in range(count):
            self.shown_change()
        self.list()  # which judges the last one

    def state(self) -> str:
        return self.hints.state

    @property
    def counts(self) -> tuple[int, int]:
        return self.hints.changes_hinted, self.hints.changes_unhinted


def trusted(**options: bool) -> Story:
    """Return a story in which thirty changes have shown in their rows."""
    story = Story(**options)
    story.changes(30)
    assert story.state() == "trusted"
    return story


# --- one verdict --------------------------------------------------------------------------------------------


def test_a_row_that_changes_before_the_poll_has_shown_its_change() -> None:
    story = Story()
    story.list(W)
    assert len(story.hints) == 1
    story.poll(found=True, at=1)
    assert (story.counts, len(story.hints)) == ((1, 0), 0)


def test_a_row_that_changed_some_listings_before_the_poll_has_shown_its_change() -> None:
    story = Story()
    story.list(W)
    story.list()
    story.list()
    story.poll(found=True)
    assert (story.counts, len(story.hints)) == ((1, 0), 0)


def test_a_row_may_change_in_the_listing_after_the_poll() -> None:
    story = Story()
    story.poll(found=True, at=1)
    assert story.counts == (0, 0)  # not yet
    story.list(W)
    assert story.counts == (1, 0)


def test_a_row_that_changes_later_than_that_comes_too_late() -> None:
    story = Story()
    story.poll(found=True, at=1)
    story.list()
    assert (story.counts, len(story.hints)) == ((0, 1), 0)
    story.list(W)
    assert story.counts == (0, 1)


def test_a_listing_that_began_during_the_poll_does_not_speak_against_the_row() -> None:
    story = Story()
    story.poll(found=True, at=1, seconds=INTERVAL)
    story.list()
    assert story.counts == (0, 0)
    story.list(W)
    assert story.counts == (1, 0)


def test_a_listing_that_began_before_the_poll_can_speak_for_the_row() -> None:
    story = Story()
    story.poll(found=True, at=2)
    story.list(W, seconds=4)
    assert story.counts == (1, 0)


def test_a_poll_that_began_before_the_listing_ended_does_not_speak_against_the_row() -> None:
    story = Story()
    story.list(W, seconds=4)
    story.poll(found=False, at=-1, seconds=2)
    assert len(story.hints) == 1
    story.poll(found=True, at=-1, seconds=2)
    story.poll(found=True, at=1)  # what it found may be in the same row
    assert (story.counts, len(story.hints)) == ((2, 0), 0)


def test_a_row_that_explains_one_poll_may_show_what_the_next_one_finds_too() -> None:
    story = Story()
    story.poll(found=True, at=1)
    story.list(W)
    story.poll(found=True)
    story.poll(found=True, at=1)
    story.list()
    assert story.counts == (2, 1)


def test_a_row_is_explained_by_a_poll_that_found_a_change_since_the_listing_before() -> None:
    story = Story()
    story.poll(found=True, at=1)
    story.list(W, CONTROL)
    assert [story.hints.is_explained(key) for key in (W, CONTROL, IDS[-1])] == [True, False, False]


def test_changes_that_polls_find_between_two_listings_are_judged_as_one() -> None:
    story = Story()
    for at in (1, 2, 3):
        story.poll(found=True, at=at)
    assert len(story.hints) == 1
    story.list(W)
    assert story.counts == (1, 0)


def test_a_change_found_while_a_listing_was_under_way_is_judged_by_the_next_one() -> None:
    story = Story()
    story.poll(found=True, at=1)
    story.poll(found=True, at=4)
    story.list(seconds=2)
    assert story.counts == (0, 1)  # the first of them
    story.list()
    assert (story.counts, len(story.hints)) == ((0, 2), 0)


def test_polls_that_find_nothing_and_rows_that_stay_say_nothing() -> None:
    story = Story()
    for _ in range(200):
        story.poll(found=False, at=1)
        assert story.list() == []
    assert (story.state(), story.counts, len(story.hints)) == ("learning", (0, 0), 0)


def test_a_workload_that_is_forgotten_gets_no_verdict() -> None:
    story = Story()
    story.list(W)
    story.poll(found=True, key=CONTROL)
    assert len(story.hints) == 2
    for key in (W, CONTROL, IDS[-1]):
        story.hints.forget(key)
    assert len(story.hints) == 0
    story.list()
    assert story.counts == (0, 0)


# --- trust --------------------------------------------------------------------------------------------------


def test_rows_are_trusted_after_twenty_changes_that_they_have_shown_and_ten_listings_that_agree() -> None:
    story = Story()
    for _ in range(29):
        assert story.list(W) == []
        story.poll(found=True, at=1)
    assert story.state() == "learning"
    assert story.list(W, CONTROL) == [W, CONTROL]
    assert story.state() == "trusted"


def test_nineteen_changes_are_not_enough_in_however_many_listings() -> None:
    story = Story()
    story.changes(19)
    story.quiet(1000)
    assert story.state() == "learning"


def test_listings_in_which_nothing_was_found_are_no_evidence() -> None:
    story = Story()
    story.changes(28)
    story.quiet(1000)
    assert story.state() == "learning"


def test_one_change_of_very_many_at_once_is_not_enough() -> None:
    story = Story()
    for _ in range(9):
        story.list(*IDS[:1000])
        for key in IDS[:1000]:
            story.poll(found=True, key=key, at=1)
        story.quiet()
    assert story.state() == "learning"
    story.changes(1)
    assert story.state() == "trusted"


@pytest.mark.parametrize(("missed", "state"), [(3, "trusted"), (4, "untrusted")])
def test_rows_must_have_shown_97_of_the_last_100_changes(missed: int, state: str) -> None:
    story = Story()
    story.changes(100 - missed)
    for _ in range(missed):
        story.missed_change()
    assert (story.state(), story.counts) == (state, (100 - missed, missed))


@pytest.mark.parametrize(("shown", "state"), [(41, "untrusted"), (42, "trusted")])
def test_one_change_that_was_missed_is_too_many_among_33(shown: int, state: str) -> None:
    story = Story()
    story.missed_change()
    story.changes(shown)  # they hold from the 33rd on
    assert story.state() == state


@pytest.mark.parametrize(("vain", "state"), [(80, "trusted"), (81, "untrusted")])
def test_one_in_five_rows_must_mean_a_change(vain: int, state: str) -> None:
    story = trusted()
    for _ in range(vain):
        story.vain_row()
    story.list()
    assert story.state() == state


def test_rows_that_look_right_for_some_listings_in_each_minute_are_not_trusted() -> None:
    """As those of an old view do, just after it was refreshed, where many workloads change."""
    story = Story()
    for _ in range(20):
        for _ in range(9):
            story.list(*IDS[:200])
            for key in IDS[:200]:
                story.poll(found=True, key=key, at=1)
        for key in IDS[200:300]:
            story.poll(found=True, key=key, at=2)
        story.list()
        assert story.state() == "untrusted"


def test_rows_that_change_in_each_listing_are_judged_by_how_many_of_them_meant_something() -> None:
    story = Story()
    for _ in range(40):
        for _ in range(6):
            story.list(W)
        story.poll(found=True, at=1)  # a poll for six listings, and it finds something each time
    story.list()
    assert (story.state(), story.counts) == ("untrusted", (40, 0))


@pytest.mark.parametrize("fails_at", [4, 50, 99])
def test_trust_is_lost_with_the_fourth_of_a_hundred_changes_that_was_missed(fails_at: int) -> None:
    story = trusted()
    for _ in range(80):
        story.shown_change()
    for _ in range(3):
        story.missed_change()
    assert story.state() == "trusted"
    for _ in range(fails_at - 4):
        story.shown_change()
    story.missed_change()
    assert story.state() == "untrusted"
    assert story.list(W) == []


def test_trust_that_was_lost_comes_back_after_a_hundred_new_changes_and_ten_listings() -> None:
    story = trusted()
    story.missed_change()
    assert story.state() == "untrusted"
    for _ in range(109):
        story.shown_change()
    assert story.state() == "untrusted"
    assert story.list(W) == [W]
    assert story.state() == "trusted"


def test_a_control_plane_that_starts_to_reflect_revisions_becomes_trusted() -> None:
    story = Story()
    for _ in range(300):
        story.missed_change()
    assert story.state() == "untrusted"
    story.changes(105)
    assert story.state() == "untrusted"
    story.changes(1)
    assert story.state() == "trusted"


# --- relaxed workloads --------------------------------------------------------------------------------------


def test_one_workload_in_twenty_is_a_control_wherever_its_offset_is() -> None:
    for quarter in range(4):
        part = [key for key in IDS if int(offset_of(key) * 4) == quarter]
        assert 0.04 < sum(key in CONTROLS for key in part) / len(part) < 0.06


@pytest.mark.parametrize(("workloads", "controls"), [(0, 0), (3, 3), (5, 5), (6, 5), (20, 5)])
def test_a_small_fleet_has_five_controls(workloads: int, controls: int) -> None:
    assert len(controls_of(IDS[:workloads])) == controls


def test_which_are_controls_does_not_depend_on_what_were_candidates_before() -> None:
    controls = Controls()
    for candidates in (IDS[:3], IDS[:2000], IDS[1000:], IDS[:8], [], IDS[5:900]):
        controls.choose(frozenset(candidates))
        assert controls.ids == controls_of(candidates)
        assert {key for key in IDS[:2000] if controls.may_relax(key)} == {*candidates[:2000]} & {
            *IDS[:2000]
        } - controls.ids


def test_only_candidates_that_are_new_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = list[str]()
    controls = Controls()
    controls.choose(frozenset(IDS[1:]))

    def rank(key: str) -> bytes:
        hashed.append(key)
        return b""

    monkeypatch.setattr("runai_async._fleet.controls._rank", rank)
    controls.choose(frozenset(IDS[:5000]))
    assert hashed == IDS[:1]


def test_others_that_join_change_few_controls() -> None:
    assert len(controls_of(IDS[:1000]) & controls_of(IDS[:1100])) >= 40


def test_all_but_the_controls_may_relax_while_rows_are_trusted() -> None:
    story = trusted(relaxes=True)
    assert (story.hints.may_relax(OTHER), story.hints.may_relax(CONTROL)) == (True, False)
    assert not trusted().hints.may_relax(OTHER)
    assert not Story(relaxes=True).hints.may_relax(OTHER)


def test_only_what_controls_find_is_judged_while_others_may_relax() -> None:
    story = trusted(relaxes=True)
    for _ in range(300):
        story.shown_change(OTHER)  # as all of theirs do, where they are polled because of it
    story.missed_change(CONTROL)
    assert (story.state(), story.counts) == ("untrusted", (330, 1))


@pytest.mark.parametrize("relaxed", [True, False])
def test_what_relaxed_workloads_find_ends_trust_as_soon(relaxed: bool) -> None:
    """For controls may not change for days."""
    story = trusted(relaxes=True)
    for _ in range(100):
        story.shown_change(OTHER)
    for _ in range(3):
        story.poll(found=True, key=OTHER, at=1, relaxed=relaxed)  # or sooner at the moment
        story.list()
    assert story.state() == "trusted"
    story.poll(found=True, key=OTHER, at=1, relaxed=relaxed)
    story.list()
    assert story.state() == "untrusted"


@pytest.mark.parametrize("seventh", [OTHER, CONTROL])
def test_seven_changes_that_no_row_shows_end_trust_whoever_finds_them(seventh: str) -> None:
    story = trusted(relaxes=True)
    for _ in range(100):
        story.shown_change(OTHER)
        story.shown_change(CONTROL)
    for key in (OTHER, CONTROL) * 3:
        story.missed_change(key)
    assert story.state() == "trusted"
    story.missed_change(seventh)
    assert story.state() == "untrusted"


def test_a_fleet_whose_controls_were_not_chosen_yet_is_not_relaxed() -> None:
    story = trusted(relaxes=True)
    story.hints.choose_controls(frozenset())  # as when no polls succeed any more
    assert not story.hints.may_relax(OTHER)
    hints = Hints(relaxes=True)
    hints.state = "trusted"
    assert not hints.may_relax(OTHER)


def test_a_workload_that_was_no_candidate_when_controls_were_chosen_is_not_relaxed() -> None:
    story = trusted(relaxes=True)
    story.hints.choose_controls(frozenset(IDS) - {CONTROL, OTHER})
    assert not story.hints.may_relax(CONTROL)
    assert not story.hints.may_relax(OTHER)
    story.hints.choose_controls(frozenset(IDS))
    assert not story.hints.may_relax(CONTROL)
    assert story.hints.may_relax(OTHER)


@pytest.mark.parametrize(("shown", "state"), [(18, "trusted"), (19, "untrusted")])
def test_of_fewer_than_twenty_changes_of_relaxed_workloads_no_one_speaks_against_the_rows(
    shown: int, state: str
) -> None:
    story = Story(relaxes=True)
    for _ in range(30):
        story.shown_change(CONTROL)
    story.missed_change(OTHER)
    for _ in range(shown):
        story.shown_change(OTHER)
    story.list()
    assert story.state() == state


def test_a_poll_that_was_planned_at_the_relaxed_interval_is_no_measure() -> None:
    story = trusted(relaxes=True)
    story.missed_change(CONTROL)
    assert story.state() == "untrusted"
    for _ in range(150):  # those that are still on their way back
        story.list(W)
        story.poll(found=True, relaxed=True, at=1)
    assert story.state() == "untrusted"


def test_a_change_found_at_both_intervals_counts() -> None:
    story = Story(relaxes=True)
    for _ in range(20):
        story.poll(found=True, at=1, relaxed=True)
        story.poll(found=True, at=2)
        story.list()
    assert (story.state(), story.counts) == ("untrusted", (0, 20))


# --- listings that fail -------------------------------------------------------------------------------------


def test_listings_that_fail_for_three_intervals_end_trust_until_ten_have_succeeded() -> None:
    story = trusted()
    story.hints.check_age(story.now + 3 * INTERVAL, INTERVAL)
    assert story.state() == "trusted"
    story.hints.check_age(story.now + 3 * INTERVAL + 0.1, INTERVAL)
    assert story.state() == "untrusted"
    story.now += 100
    assert story.list(W) == []  # nobody knows when that was
    for _ in range(10):
        assert story.state() == "untrusted"
        story.shown_change()
    assert story.list(W) == [W]
    assert story.state() == "trusted"


def test_what_polls_find_while_no_listing_succeeds_gets_no_verdict() -> None:
    story = trusted()
    story.list(W)
    story.poll(found=True, key=CONTROL, at=1)
    story.hints.check_age(story.now + 100, INTERVAL)
    assert len(story.hints) == 0
    story.now += 100
    story.poll(found=True)
    story.quiet(11)
    assert (story.counts, story.state()) == ((30, 0), "untrusted")


def test_a_stretched_interval_is_three_times_as_patient() -> None:
    story = trusted()
    story.hints.check_age(story.now + 100, 60.0)
    assert story.state() == "trusted"


def test_listings_that_fail_from_the_start_leave_it_learning() -> None:
    hints = Hints()
    for now in (10.0, 1000.0):
        hints.check_age(now, INTERVAL)
    hints.polled(W, began=1000, ended=1000, found_change=True)
    assert (hints.state, len(hints)) == ("learning", 0)
    hints.listed([], 2000, 2001)
    hints.check_age(3000, INTERVAL)
    assert hints.state == "learning"

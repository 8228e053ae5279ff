"""Lets a fleet follow the rows of its list: who is polled early because of them, and who is relaxed.

What the rows are worth is judged by `hints`. Here is what is done about it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable

from runai_async._clock import Clock
from runai_async._fleet.discovery import Discovery, Listed
from runai_async._fleet.dispatch import Dispatcher
from runai_async._fleet.hints import Hints
from runai_async._fleet.member import Member
from runai_async._fleet.members import Members
from runai_async._fleet.outcomes import Outcome, Poll
from runai_async._fleet.slices import give_way, in_turns
from runai_async._fleet.status import HintStatus
from runai_async._observe.log import logger
from runai_async.events import PhaseChanged, RevisionAdded, RevisionDeleted, WatchEvent
from runai_async.policy import PollPolicy

_MANY_FAIL = 0.1
"""Share of the polls that fail from which on nobody is polled more often than before."""
_LEAST_POLLS = 20
"""Polls that the share is one of at least: one failure of a few polls is not many."""
_MEMORY = 1.0
"""Intervals after which a poll counts for 37 % of a new one in that share."""
_LONGEST_PAUSE = 300.0
"""Seconds between the polls of a workload without revisions whose row changes all the time."""
_LONG_OUTAGE = 900.0
"""Seconds after which an outage of some workloads says nothing about the others."""


class _Failures:
    """Which share of the latest polls failed.

    Args:
        interval: seconds between the polls of a workload.
    """

    def __init__(self, interval: float) -> None:
        self._memory = _MEMORY * interval
        self._polls = self._failed = 0.0
        self._noted_at = -math.inf

    def note(self, now: float, *, failed: bool) -> None:
        """Note a poll that ended now."""
        faded = math.exp((self._noted_at - now) / self._memory)
        self._polls = self._polls * faded + 1
        self._failed = self._failed * faded + failed
        self._noted_at = now

    @property
    def are_many(self) -> bool:
        """Whether the control plane seems to be in trouble."""
        return self._failed >= _MANY_FAIL * max(self._polls, _LEAST_POLLS)


class Follower:
    """Follows the rows of a query's workloads; of a fleet without one it has nothing to do.

    Args:
        policy: how often the fleet polls.
        relaxed: seconds between the polls of a workload for which no hint asks; None where that is as usual.
        hints: judges the rows; None without a query.
        discovery: what is listed.
        members: who is watched.
        dispatcher: polls them.
        clock: the client's clock.
    """

    def __init__(
        self,
        policy: PollPolicy,
        relaxed: float | None,
        hints: Hints | None,
        *,
        discovery: Discovery,
        members: Members,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self._hints = hints
        self._policy = policy
        self._relaxed = relaxed
        self._discovery = discovery
        self._members = members
        self._dispatcher = dispatcher
        self._clock = clock
        self._listing_interval = discovery.interval
        self._failures = _Failures(policy.interval)

    @property
    def state(self) -> HintStatus:
        """Whether the rows are trusted."""
        return "off" if self._hints is None else self._hints.state

    @property
    def counts(self) -> tuple[int, int]:
        """The changes that polls found and that rows had shown, and those that they had not."""
        return (0, 0) if self._hints is None else (self._hints.changes_hinted, self._hints.changes_unhinted)

    # --- listings -----------------------------------------------------------------------------------------

    async def listed(self, listed: Listed, interval: float) -> None:
        """Take in a successful listing.

        Args:
            listed: what it named.
            interval: seconds between listings while they succeed.
        """
        if self._hints is None:
            return
        self._listing_interval = interval
        if self._relaxed is not None:
            candidates = frozenset([key async for key in self._relaxable(listed)])
            await give_way(len(candidates))
            self._hints.choose_controls(candidates)
            await give_way(len(candidates))
        changed = [self._members[key] for key in sorted(listed.changed & self._members.ids)]
        polled = [item.tracker.workload_id for item in changed if item.last_success_at is not None]
        before = self._hints.state
        hinted = self._hints.listed(polled, listed.began_at, self._clock.monotonic())
        self._note_state(before, "it does not show all changes")
        bare = [item.tracker.workload_id for item in changed if item.without_revisions]
        for workload_id in dict.fromkeys([*hinted, *bare]):
            self.hasten(self._members[workload_id])

    async def _relaxable(self, listed: Listed) -> AsyncIterator[str]:
        """Yield the workloads that have a row, and polls that succeed or have not failed for long.

        A failure that may be over soon changes nothing: otherwise an outage would leave no controls.
        """
        async for member in in_turns([*self._members]):
            workload_id = member.tracker.workload_id
            is_fit = member.last_success_at is not None and not (member.backoff or member.without_revisions)
            if is_fit and workload_id in listed.ids:
                yield workload_id

    def check_list(self) -> None:
        """Notice that no listing has succeeded for a while, whether they fail or hang."""
        if self._hints is not None:
            before = self._hints.state
            self._hints.check_age(self._clock.monotonic(), self._listing_interval)
            self._note_state(before, "it cannot be read")

    def _note_state(self, before: HintStatus, problem: str) -> None:
        if self.state == before or "trusted" not in (self.state, before):
            return
        if self.state == "trusted":
            logger.info(
                "the list of workloads shows changes: where a row changes, the workload is polled early"
            )
        else:
            self._dispatcher.forget_hints()
            logger.info("the rows of the list of workloads are not relied on any more: %s", problem)

    # --- polls --------------------------------------------------------------------------------------------

    def hasten(self, member: Member) -> None:
        """Have a member polled early because its row has changed, but never sooner than the server wishes.

        A row that a poll before it explains may show no more than that: such a hint yields to all others.
        """
        now, policy, workload_id = self._clock.monotonic(), self._policy, member.tracker.workload_id
        is_hinted = member.without_revisions or (self.state == "trusted" and not member.streak.failures)
        if not (is_hinted and member.is_watched) or member.earliest > now:
            member.hinted_for = None
            return
        at = max(now, member.began_at + min(policy.interval, policy.fast_interval))
        if member.without_revisions:
            at = max(at, member.hinted_at + _pause_after(member, now))
        if member.due is None:  # its poll is in flight, and may have missed the change: see `Polling`
            member.hinted_for = at
        elif at < member.due:
            yields = self._hints is not None and self._hints.is_explained(workload_id)
            self._dispatcher.hasten(member, at, yields=yields)

    def succeeded(
        self,
        member: Member,
        poll: Poll,
        events: Iterable[WatchEvent],
        *,
        is_first: bool,
        was_settled: bool,
    ) -> None:
        """Take in a successful poll.

        Args:
            member: whose poll it was.
            poll: when it was.
            events: what it found.
            is_first: whether none had succeeded before it.
            was_settled: whether nothing was missing before it: a deletion that took several polls to confirm
                is not to be found in the row any more.
        """
        self._failures.note(poll.now, failed=False)
        member.vain = 0
        workload_id = member.tracker.workload_id
        # What is not listed, because it was added by its id, has no row that could show anything.
        if self._hints is not None and not is_first and self._discovery.is_listed(workload_id):
            self._hints.polled(
                workload_id,
                began=poll.began,
                ended=poll.now,
                found_change=any(_is_change(event, was_settled=was_settled) for event in events),
                is_relaxed=member.interval == self._relaxed,
            )

    def failed(self, member: Member, outcome: Outcome, poll: Poll, *, was_hinted: bool) -> None:
        """Take in a poll that failed, which speaks of trouble if it got no response.

        What a workload gets for long, or was reported for, is its own matter, unless nobody gets a response.

        Args:
            member: whose poll it was.
            outcome: what it meant.
            poll: when it was.
            was_hinted: whether a hint had asked for it.
        """
        member.vain += was_hinted and outcome.without_revisions
        since = outcome.streak.outage_since
        is_recent = since is not None and poll.now - since < _LONG_OUTAGE and not outcome.backoff
        self._failures.note(poll.now, failed=outcome.response == "no" and (is_recent or poll.is_silent))

    def usual_interval(self, member: Member, *, is_failing: bool) -> float:
        """Return the seconds between a member's polls while none of its revisions is on its way."""
        usual, relaxed = self._policy.interval, self._relaxed
        if relaxed is None or self._hints is None:
            return usual
        self.check_list()
        if member.interval == relaxed and self._failures.are_many:
            return relaxed  # a control plane in trouble is not asked more often all of a sudden
        workload_id = member.tracker.workload_id
        is_quiet = member.tracker.is_settled and not is_failing and self._discovery.is_listed(workload_id)
        return relaxed if is_quiet and self._hints.may_relax(workload_id) else usual


def _pause_after(member: Member, now: float) -> float:
    """Return the seconds between two hinted polls of a workload without revisions."""
    if now - member.hinted_at >= 2 * _LONGEST_PAUSE:  # its row does not change all the time
        member.vain = 0
    return min(_LONGEST_PAUSE, member.interval * 2.0 ** min(member.vain - 1, 32)) if member.vain else 0.0


def _is_change(event: WatchEvent, *, was_settled: bool) -> bool:
    return (
        was_settled if isinstance(event, RevisionDeleted) else isinstance(event, RevisionAdded | PhaseChanged)
    )

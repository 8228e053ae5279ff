"""The progress of many rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from rich.text import Text

from runai_async._clock import Clock
from runai_async._wait.pods import is_serving
from runai_async.cli.diagnostics import say
from runai_async.cli.rollouts import Rollout, State, ended_badly, of_state, some, totals
from runai_async.cli.text import clean, counted
from runai_async.cli.times import Times
from runai_async.cli.views.lines import cluster_line, outage_line, recovery_line, revision_line, stalled_line
from runai_async.cli.views.log import Log
from runai_async.cli.views.silence import Silence
from runai_async.errors import RunaiError
from runai_async.events import ClusterEvent, RevisionStalled


class Tally:
    """Prints a line when a rollout changes, and every 30 seconds how many are how far.

    An outage, and a cluster that has lost its connection, is one line, however many rollouts it concerns.

    Args:
        timeout: seconds that the command may take; None for no limit.
        clock: a clock for tests.

    Attributes:
        times: by whose clock ages are.
    """

    def __init__(self, timeout: float | None, clock: Clock | None = None) -> None:
        self.times: Times = Times(clock=clock)
        self._log = Log(timeout, self._state, lambda: self._state().plain, clock, steady=True)
        self._silence = Silence(self._log.clock)
        self._silent: set[Rollout | None] = set()
        self._rollouts: Sequence[Rollout] = ()
        self._printed: dict[Rollout, Text] = {}
        self._reported: set[str] = set()

    def live(self) -> AbstractAsyncContextManager[None]:
        """Show the totals below the lines, or repeat them, for as long as the context lasts."""
        return self._log.live()

    def _state(self) -> Text:
        if not self._rollouts:
            return Text(f"waiting for the list of workloads{self._outage()}")
        waiting = of_state(self._rollouts, State.WAITING)
        return Text(f"{totals(self._rollouts)}{f' ({some(waiting)})' if waiting else ''}{self._outage()}")

    def _outage(self) -> str:
        return f"; {self.silence()}" if self._silent else ""

    def silence(self) -> str:
        """Describe the outage that lasts; empty if none does."""
        return self._silence.text()

    @property
    def elapsed(self) -> str:
        """The time since the start."""
        return self._log.elapsed

    def begin(self, rollouts: Sequence[Rollout]) -> None:
        """Print how many rollouts are waited for."""
        self._silence.has_begun = True
        self._rollouts = rollouts
        self._log.print(f"waiting for the rollouts of {counted(len(rollouts), 'workload')}")

    def outage_began(self, error: RunaiError, rollout: Rollout | None = None) -> None:
        """Print that an outage began, if the other rollouts do not have it already."""
        if not self._silent:
            self._silence.began(error)
            self._log.print(outage_line(error))
        self._silent.add(rollout)

    def outage_ended(self, seconds: float, rollout: Rollout | None = None) -> None:
        """Print that an outage ended, if it has for each rollout."""
        if self._silent == {rollout}:
            self._silence.ended()
            self._log.print(recovery_line(seconds))
        self._silent.discard(rollout)

    def cluster(self, event: ClusterEvent) -> None:
        """Print that a cluster has lost its connection, or is back."""
        if event.id not in self._reported:
            self._reported.add(event.id)
            self._log.print(cluster_line(event, self.times))

    def stalled(self, event: RevisionStalled, rollout: Rollout) -> None:
        """Print that a newest revision has been in its phase for long."""
        self._log.print(stalled_line(event, rollout.label))

    def changed(self, rollout: Rollout) -> None:
        """Print the newest revision of a workload, if it is not as it was printed last."""
        line = self._line(rollout)
        if line != self._printed.get(rollout):
            self._printed[rollout] = line
            is_done = rollout.revision is not None and is_serving(rollout.revision)
            if not is_done:  # which is a line of its own
                self._log.print(line)

    def _line(self, rollout: Rollout) -> Text:
        if rollout.state is State.EMPTY:
            return Text(f"{rollout.label} has no revisions: it is not waited for")
        if rollout.revision is None:
            return Text(f"{rollout.label} waiting for the new revision")
        line = revision_line(rollout.revision)
        is_named = clean(rollout.revision.name).startswith(rollout.label)
        return line if is_named else Text(f"{rollout.label}  ").append(line)

    def ended(self, rollout: Rollout) -> None:
        """Print that a rollout is done or has failed; those whose time is up are listed at the end."""
        self._silent.discard(rollout)
        if rollout.state is State.DONE and rollout.revision is not None:
            self._log.print(
                Text(f"{rollout.label} is done: {clean(rollout.revision.name)} serves", style="green")
            )
        elif rollout.state in {State.FAILED, State.ERROR}:
            self._log.print(Text(_verdict(rollout), style="red"))

    def done(self) -> None:
        """Print that all rollouts are done."""
        self._log.print(Text(f"the rollouts are done: {totals(self._rollouts)}", style="green"))


def print_ended(rollouts: Sequence[Rollout]) -> None:
    """Print on stderr why rollouts are not done, a line for each."""
    for item in ended_badly(rollouts):
        say(_verdict(item))


def _verdict(rollout: Rollout) -> str:
    return f"{rollout.label} {rollout.state}: {rollout.reason}"

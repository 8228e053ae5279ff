"""The progress of a rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

from rich.text import Text

from runai_async._clock import Clock
from runai_async._wait.pods import pods_text
from runai_async.cli.diagnostics import say
from runai_async.cli.text import clean, phase_name, since
from runai_async.cli.times import Times
from runai_async.cli.views.console import console
from runai_async.cli.views.lines import (
    cluster_line,
    outage_line,
    recovery_line,
    revision_line,
    stalled_line,
)
from runai_async.cli.views.log import Log
from runai_async.cli.views.silence import Silence
from runai_async.cli.views.tables import conditions_table, phase_text
from runai_async.errors import RunaiError
from runai_async.events import ClusterEvent, RevisionStalled
from runai_async.explanation import Explanation, listed
from runai_async.models import Revision


class Progress:
    """Prints a line for each step of a rollout; on a terminal, a last line shows the present state.

    Args:
        timeout: seconds that the command may take; None for no limit.
        clock: a clock for tests.

    Attributes:
        times: by whose clock ages are.
    """

    def __init__(self, timeout: float | None, clock: Clock | None = None) -> None:
        self.times: Times = Times(clock=clock)
        self._log = Log(timeout, lambda: self._state, lambda: f"still waiting{self._waits_for()}", clock)
        self._state = Text("waiting for the first response")
        self._revision: Revision | None = None
        self._silence = Silence(self._log.clock)

    def live(self) -> AbstractAsyncContextManager[None]:
        """Show the present state below the lines, or repeat it, for as long as the context lasts."""
        return self._log.live()

    def _waits_for(self) -> str:
        if self._silence.lasts:
            return f": {self.silence()}"
        revision = self._revision
        if revision is None:
            return self._state.plain.removeprefix("waiting")
        for_ = since(revision.phase_updated_at, self.times.server_now())
        state = f"{clean(revision.name)} is {phase_name(revision.phase)}{for_ and f' for {for_}'}"
        return f" for the rollout: {state}, {pods_text(revision)} pods"

    def silence(self) -> str:
        """Describe the outage that lasts; empty if none does."""
        return self._silence.text()

    @property
    def elapsed(self) -> str:
        """The time since the start."""
        return self._log.elapsed

    def begin(self, workload: str, after: str | None) -> None:
        """Print which rollout this is, once it is found."""
        self._silence.has_begun = True
        self._log.print(f"rollout of {clean(workload)}{f', after {clean(after)}' if after else ''}")

    def outage_began(self, error: RunaiError) -> None:
        """Print that an outage began."""
        self._silence.began(error)
        self._log.print(outage_line(error))

    def outage_ended(self, seconds: float) -> None:
        """Print that an outage ended."""
        self._silence.ended()
        self._log.print(recovery_line(seconds))

    def cluster(self, event: ClusterEvent) -> None:
        """Print that the workload's cluster has lost its connection, or is back."""
        self._log.print(cluster_line(event, self.times))

    def stalled(self, event: RevisionStalled) -> None:
        """Print that the newest revision has been in its phase for long."""
        self._log.print(stalled_line(event))

    def revision(self, revision: Revision | None, *, is_empty: bool = False) -> None:
        """Print the state of the newest revision, if it is not the one printed last."""
        del is_empty
        self._revision = revision
        state = Text("waiting for the new revision") if revision is None else revision_line(revision)
        if state != self._state:
            self._state = state
            self._log.print(state)

    def unknown(self) -> None:
        """Display nothing: how long that is doubted is the wait's own matter."""

    def done(self, revision: Revision) -> None:
        """Print that the rollout is done."""
        self._log.print(Text(f"the rollout is done: {clean(revision.name)} serves", style="green"))


_DEADLINE = (
    "it was not ready within Knative's progress-deadline: 10 minutes, unless the ConfigMap config-deployment "
    "says otherwise"
)


def print_why(explanation: Explanation) -> None:
    """Print on stderr why a revision does not serve, as far as `print_state` does not say it."""
    for line in _why(explanation):
        say(line)


def _why(explanation: Explanation) -> Iterator[str]:
    cause = clean(explanation.cause)
    if cause and cause.removesuffix(" ...") not in clean(explanation.message):
        times = next((item.count for item in explanation.warnings), 1)
        yield f"why: {cause}{f' ({times} times)' if times > 1 else ''}"
    if explanation.exceeded_deadline:
        yield f"why: {_DEADLINE}"
    if explanation.pods:
        yield f"pods: {listed(explanation.pod_phases)}"


def print_state(revision: Revision) -> None:
    """Print on stderr what a revision says about itself: phase, message and conditions."""
    screen = console(stderr=True)
    with screen.capture() as lines:
        screen.print(Text.assemble((clean(revision.name), "bold"), " is ").append(phase_text(revision.phase)))
        if revision.phase_message:
            screen.print(Text(clean(revision.phase_message)), soft_wrap=True)
        if revision.conditions:
            screen.print(conditions_table(revision.conditions))
    say("\n".join(line.rstrip() for line in lines.get().splitlines()))

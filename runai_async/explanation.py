"""Why a revision does not serve: what its phase, conditions, events and pods say. No I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from runai_async._text import beginning, one_line
from runai_async._values import frozen
from runai_async.models import Condition, Phase, Pod, PodContainer, Revision, RevisionLogEvent

_LONGEST = 300
"""Characters of a cause: a message of Kubernetes can name every node of a cluster."""
_USUAL = frozenset({"pending", "running", "succeeded"})
"""Phases of pods that explain nothing."""
_STARTS = frozenset({"ContainerCreating", "PodInitializing"})
"""What containers wait for that simply start."""
_DEADLINE = ("progressdeadlineexceeded", "exceeded its progress deadline")
"""How Knative says that a revision was not ready in time."""


@frozen
class EventCount:
    """Warnings with the same reason and message.

    Attributes:
        reason: what happened in one word; empty if the API does not say.
        message: the same in a sentence.
        count: how often.
        last_at: when the last one was recorded, by the server's clock.

    Example:
        >>> explanation = await runai.explain_revision(revision_id)
        >>> [(item.reason, item.count) for item in explanation.warnings]
        [('Unhealthy', 1)]
    """

    reason: str
    message: str
    count: int
    last_at: datetime

    def __str__(self) -> str:
        return _said(self.reason, self.message)


@frozen
class Explanation:
    """What there is to say about why a revision does not serve.

    Messages are the server's own and can hold anything. `str()` puts it all into a few lines.

    Attributes:
        revision_id: the revision.
        name: its name.
        phase: its phase.
        message: the reason for the phase.
        conditions: those that are not True.
        warnings: the Warning events, those with the same reason and message as one, the newest first.
        pods: its pods.
        lost_cluster: which cluster has lost its connection, and since when, so that the rest may be out of
            date; None if it is connected, or that is not known.
        unread: what could not be read, because the endpoint is missing or refused: "events", "pods".

    Example:
        >>> explanation = await runai.explain_revision(revision_id)
        >>> explanation.cause
        'Unhealthy: Readiness probe failed: HTTP 503'
        >>> print(explanation)
        revision chat-00001 is Running
        why: Unhealthy: Readiness probe failed: HTTP 503
        pods: 1 Running
    """

    revision_id: str
    name: str
    phase: Phase
    message: str | None = None
    conditions: tuple[Condition, ...] = ()
    warnings: tuple[EventCount, ...] = ()
    pods: tuple[Pod, ...] = ()
    lost_cluster: str | None = None
    unread: tuple[str, ...] = ()

    @property
    def cause(self) -> str | None:
        """The first cause, in one line of at most 300 characters; None if nothing says why.

        That is the first there is of: the newest warning; what a container waits for, such as its image; a
        pod in a phase other than Pending, Running and Succeeded; a condition that is False; the message of
        the phase; a cluster that has lost its connection.
        """
        return next((beginning(text, _LONGEST) for text in self._causes() if one_line(text)), None)

    def _causes(self) -> Iterator[str]:
        yield from (str(item) for item in self.warnings)
        yield from _waiting(self.pods)
        for pod in self.pods:
            if pod.k8s_phase.lower() not in _USUAL:
                yield f"pod {pod.name} is {pod.k8s_phase}"
        for item in self.conditions:
            if item.status == "False":
                yield _said(item.reason, item.message)
        yield self.message or ""
        yield self.lost_cluster or ""

    @property
    def pod_phases(self) -> Mapping[str, int]:
        """How many pods are in each phase, the most common one first."""
        return dict(Counter(pod.k8s_phase for pod in self.pods).most_common())

    @property
    def exceeded_deadline(self) -> bool:
        """Whether Knative gave up on the revision, because it was not ready within its progress deadline."""
        texts = [self.message, *(str(item) for item in self.warnings)]
        texts += [text for item in self.conditions for text in (item.reason, item.message)]
        return any(words in (text or "").lower() for text in texts for words in _DEADLINE)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        message, cause = beginning(self.message, _LONGEST), self.cause
        yield f"revision {one_line(self.name)} is {one_line(self.phase)}{message and f': {message}'}"
        if cause and cause != message:
            yield f"why: {cause}"
        if self.pods:
            yield f"pods: {listed(self.pod_phases)}"
        if self.lost_cluster and self.lost_cluster != cause:
            yield one_line(self.lost_cluster)
        if self.unread:
            yield f"not readable: {', '.join(self.unread)}"


def listed(phases: Mapping[str, int]) -> str:
    """Write how many pods are in each phase: `2 Running, 1 Pending`."""
    return ", ".join(f"{count} {one_line(phase)}" for phase, count in phases.items())


def explanation_of(
    revision: Revision,
    events: Iterable[RevisionLogEvent],
    pods: Iterable[Pod],
    *,
    lost_cluster: str | None = None,
    unread: Iterable[str] = (),
) -> Explanation:
    """Return what there is to say about a revision."""
    return Explanation(
        revision.id,
        revision.name,
        revision.phase,
        revision.phase_message or None,
        tuple(item for item in revision.conditions or () if item.status != "True"),
        counted_warnings(events),
        tuple(pods),
        lost_cluster,
        tuple(unread),
    )


def counted_warnings(events: Iterable[RevisionLogEvent]) -> tuple[EventCount, ...]:
    """Return the warnings among events, those with the same reason and message as one, the newest first."""
    found: dict[tuple[str, str], EventCount] = {}
    for event in events:
        if event.is_warning:
            key = (event.reason or "", event.message or "")
            known = found.get(key, EventCount(*key, 0, event.created_at))
            last_at = max(known.last_at, event.created_at)
            found[key] = EventCount(*key, known.count + _times(event), last_at)
    return tuple(sorted(found.values(), key=lambda item: item.last_at, reverse=True))


def _times(event: RevisionLogEvent) -> int:
    """Return how often an event happened: Kubernetes counts those that repeat, and a server may say so."""
    count = event.extra.get("count")
    return count if type(count) is int and count > 0 else 1


def _waiting(pods: Iterable[Pod]) -> Iterator[str]:
    """Yield what containers wait for, where a server passes on the state that Kubernetes gives them."""
    for pod in pods:
        for container in pod.containers or ():
            waiting = _part(_part(container.extra, "state"), "waiting")
            reason, message = (waiting.get(key) for key in ("reason", "message"))
            if isinstance(reason, str) and reason not in _STARTS:
                yield _of(container, _said(reason, message if isinstance(message, str) else None))


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = value.get(key)
    return part if isinstance(part, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _of(container: PodContainer, text: str) -> str:
    return f"container {container.name}: {text}"


def _said(reason: str | None, message: str | None) -> str:
    """Return a reason and its message in one line; a message that begins with it suffices."""
    kind, text = one_line(reason), one_line(message)
    return text if text.startswith(f"{kind} ") else ": ".join(filter(None, (kind, text)))

"""A control plane that changes and fails at random, and checks of what a consumer saw of it."""

import asyncio
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from random import Random
from uuid import UUID

from attrs import evolve

from runai_async import (
    HookEvent,
    PhaseChanged,
    PollFinished,
    PollStarted,
    RevisionAdded,
    RevisionDeleted,
    RevisionEvent,
    RevisionStalled,
    RevisionUpdated,
    WatchEvent,
)
from runai_async._clock import SystemClock
from runai_async._http.aiohttp_transport import AiohttpTransport
from runai_async.testing import FakeControlPlane, FaultKind, RecordedResponse, Request, Response
from support.replica import StaleReplica

PHASES = ("Creating", "Pending", "Running", "Degraded", "Failed", "Unknown", "Suspending")
BODY_FAULTS: tuple[FaultKind, ...] = (
    *("zero_time", "empty_time", "coarse_times", "surrogate", "nan", "control_character", "deep_nesting"),
    *("null_list", "empty_object", "broken_row", "undecodable_newest", "uppercase_ids", "dashless_ids"),
    *("other_revision", "shuffled_conditions"),
)
FAULTS: tuple[FaultKind, ...] = ("latency", "hang", "reset", "truncate", "drip", "bad_json")
EMPTY: dict[str, object] = {"revisions": []}
HTML = "<html>sick</html>"
RETRY_AFTER = {"Retry-After": "0.05"}
LIST = r"/revisions$"
LISTED = b'{"revisions":'
"""How a list of revisions begins."""
PRECISIONS = (None, None, None, 0, 3, 9)
"""Digits of the fractions of seconds in a response; None for as the server wrote them."""
HIDDEN_STEPS = 8
"""Steps after which a hidden revision is shown again: one that nobody finds for long counts as deleted."""
WHOLE_SECOND = len("2026-01-01T00:00:00")
GRACE = 1.5
"""Seconds of `missing_grace`: many times what those steps take, but a busy machine may take longer."""
STALLED_AFTER = 0.3
"""Seconds of `stalled_after`: most phases are left before, and some are not."""
BEHIND = GRACE / 2
"""Seconds by which a replica is behind at most: what was deleted is remembered for longer."""
STALE_RATE = 0.1
"""The part of the lists that such a replica serves."""
RESTART = 0.5
"""Seconds that each service is away for at most, once in a run: less than a refused token is tried for."""
ROWS = 3
"""Workloads in a page of their list, so that a few of them take several pages."""
LEAST_POLLS = 3
"""Polls in a row that must lack a revision before a 404 by id is believed."""
ROUNDING = 0.1
"""Part of `GRACE` by which the times noted here may differ from those that a watch goes by."""
OK = 200


class Sightings:
    """A hook of the consumer's clients that notes which revisions each successful poll found."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._received: list[tuple[float, set[str]]] = []
        self._polls: dict[str, list[tuple[float, set[str]]]] = defaultdict(list)

    def __call__(self, event: HookEvent) -> None:
        match event:
            case PollStarted(workload_id=key):
                self._began[key] = time.monotonic()
            case PollFinished(workload_id=key, error=None):
                self._polls[key].append((time.monotonic(), self._found_since(self._began[key])))
            case _:
                pass

    def received(self, body: bytes) -> None:
        """Note the revisions in a response that a client received, even those that cannot be decoded."""
        ids = {str(UUID(found.decode())) for found in re.findall(rb'"id":"([^"]+)"', body)}
        self._received.append((time.monotonic(), ids))

    def _found_since(self, began: float) -> set[str]:
        """Return the revisions in all responses since then."""
        found: set[str] = set()
        for at, ids in reversed(self._received):
            if at < began:
                break
            found |= ids
        return found

    def missed(self, events: Iterable[WatchEvent]) -> set[str]:
        """Return the revisions reported as deleted after enough polls had missed them for the grace."""
        wall = time.time() - time.monotonic()
        missed: set[str] = set()
        for event in events:
            if isinstance(event, RevisionDeleted):
                deleted_at = event.observed_at.timestamp() - wall
                lacking = self._lacking(event, deleted_at)
                # The poll that reports it ends later and is one more.
                is_long = deleted_at - min(lacking, default=deleted_at) > (1 - ROUNDING) * GRACE
                if is_long and len(lacking) + 1 >= LEAST_POLLS:
                    missed.add(event.revision_id)
        return missed

    def _lacking(self, event: RevisionEvent, until: float) -> list[float]:
        """Return when the last polls before a time ended that did not find the revision."""
        lacking: list[float] = []
        for at, found in self._polls[event.workload_id]:
            if at < until:
                lacking = [] if event.revision_id in found else [*lacking, at]
        return lacking


class Interference:
    """A transport over a real one: a response may lack a revision, or have times of another precision.

    What the client receives of it is noted.
    """

    def __init__(self, chaos: "Chaos") -> None:
        self._inner = AiohttpTransport(SystemClock())
        self._chaos = chaos

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        if request.url.path.endswith("/workloads"):
            request = evolve(request, url=request.url.update_query(limit=ROWS))
        response = await self._inner.send(request, timeout=timeout, deadline=deadline)
        if response.status != OK:
            return response
        body = self._chaos.interfere(self._listed(request, response.body))
        self._chaos.sightings.received(body)
        return evolve(response, body=body)

    def _listed(self, request: Request, body: bytes) -> bytes:
        """Return a response, or, of a list of live revisions, perhaps an older one."""
        is_list = request.url.path.endswith("/revisions") and request.url.query.get("deleted") != "true"
        return self._chaos.replicated(request.url.path.split("/")[-2], body) if is_list else body

    async def aclose(self) -> None:
        await self._inner.aclose()


class Chaos:
    """Changes the revisions of some workloads, and injects faults, at random.

    Attributes:
        live: the revisions that live.
        hidden: the live ones that no response contains, and the step at which each was hidden.
        deleted: the revisions that were deleted or purged.
        sightings: a hook for every client that watches.
        replica: responds to some requests for a list, and is behind.
        flapped: the revisions that it showed in a phase which they had left.
        lasting: live revisions that are never deleted, one of each workload.
    """

    def __init__(self, control_plane: FakeControlPlane, workload_ids: Sequence[str], random: Random) -> None:
        self.control_plane = control_plane
        self.workload_ids = workload_ids
        self.random = random
        self.live: list[str] = []
        self.hidden: dict[str, int] = {}
        self.deleted: set[str] = set()
        self.sightings = Sightings()
        self.replica = StaleReplica(random, seconds=BEHIND, rate=STALE_RATE)
        self.flapped: set[str] = set()
        self.lasting = {control_plane.add_revision(key, random.choice(PHASES)) for key in workload_ids}
        self.live += self.lasting
        self._rows: list[str] = []
        self._steps = 0
        self._lacks: dict[str, int] = {}
        self._is_over = False

    async def run(self, steps: int, *, pause: float) -> None:
        """Take *steps* random steps; then show all hidden revisions and remove all faults."""
        restarts = {self.random.randrange(steps): restart for restart in self._restarts()}
        for step in range(steps):
            restarts.get(step, self._step)()
            await asyncio.sleep(self.random.uniform(0, pause))
        for revision_id in list(self.hidden):
            self._show(revision_id)
        self.control_plane.clear_faults()
        for restart in self._restarts(0.0):
            restart()
        self._is_over = True

    def _restarts(self, longest: float = RESTART) -> list[Callable[[], None]]:
        """Return what lets each service be away for a while."""
        control_plane, missing = self.control_plane, self.random.random() < 0.5
        seconds = [self.random.uniform(longest / 10, longest) for _ in range(3)]
        return [
            lambda: control_plane.restart_identity(seconds[0]),
            lambda: control_plane.restart_authorization(seconds[1]),
            lambda: control_plane.restart_read_model(seconds[2], missing=missing),
        ]

    def replicated(self, workload_id: str, body: bytes) -> bytes:
        """Return the list of a workload as it arrives: that of a replica counts as one of the responses."""
        older = None if self._is_over else self.replica.respond(workload_id, body)
        if older is None:
            return body
        self.control_plane.responses.append(RecordedResponse(time.monotonic(), workload_id, older.phases))
        present = {key: self.control_plane.revision(key)["phase"] for key in self.live}
        self.flapped |= {key for key, (phase, _) in older.phases.items() if present.get(key, phase) != phase}
        return older.body

    def interfere(self, body: bytes) -> bytes:
        """Return what arrives of a response: times in some precision, and without what lists shall lack."""
        if self._is_over:
            return body
        if body.startswith(LISTED):
            for revision_id in [key for key in self._lacks if key.encode() in body]:
                body = without(body, revision_id)
                self._lacks[revision_id] -= 1
                if not self._lacks[revision_id]:
                    del self._lacks[revision_id]
        return in_precision(body, self.random.choice(PRECISIONS))

    def _step(self) -> None:
        self._steps += 1
        for revision_id in [key for key, step in self.hidden.items() if self._steps - step > HIDDEN_STEPS]:
            self._show(revision_id)
        choice = self.random.random()
        if choice < 0.15 or not self.live:
            workload_id = self.random.choice(self.workload_ids)
            self.live.append(self.control_plane.add_revision(workload_id, self.random.choice(PHASES)))
        elif choice < 0.60:
            self.control_plane.set_phase(self.random.choice(self.live), self.random.choice(PHASES))
        elif choice < 0.70:
            self._remove(self.control_plane.delete_revision)
        elif choice < 0.73:
            self._remove(self.control_plane.purge_revision)
        elif choice < 0.78:
            self._hide()
        elif choice < 0.82:
            self._move_rows()
        else:
            self._fail()

    def _remove(self, remove: Callable[[str], None]) -> None:
        removable = [key for key in self.live if key not in self.lasting]
        if removable and (revision_id := self.random.choice(removable)) not in self.hidden:
            self.live.remove(revision_id)
            self.deleted.add(revision_id)
            remove(revision_id)

    def _move_rows(self) -> None:
        """Add a workload of another kind to the list of workloads, or delete one."""
        if self._rows and self.random.random() < 0.5:
            self.control_plane.delete_workload(self._rows.pop(self.random.randrange(len(self._rows))))
        else:
            self._rows.append(self.control_plane.add_workload(type="Workspace"))

    def _hide(self) -> None:
        revision_id = self.random.choice(self.live)
        if revision_id not in self.hidden:
            self.control_plane.hide_revision(revision_id)
            self.hidden[revision_id] = self._steps

    def _show(self, revision_id: str) -> None:
        self.control_plane.show_revision(revision_id)
        del self.hidden[revision_id]

    def _fail(self) -> None:
        """Inject a fault into one of the next responses."""
        match self.random.randrange(9):
            case 0:
                self.control_plane.fail_next(1, self.random.choice((500, 502, 503)), body=HTML)
            case 1:
                self.control_plane.fail_next(1, 404, body=HTML, path=LIST)
            case 2:
                self.control_plane.fail_next(self.random.randrange(1, 4), 200, body=EMPTY, path=LIST)
            case 3:
                self.control_plane.fail_next(1, self.random.choice((429, 503)), headers=RETRY_AFTER)
            case 4:
                self.control_plane.fail_next(1, 200, body=HTML)
            case 5:
                self._lacks[self.random.choice(self.live)] = self.random.randrange(1, 3)
            case 6:
                self.control_plane.fault(self.random.choice(FAULTS), seconds=0.05)
            case _:
                kind = self.random.choice(BODY_FAULTS)
                path = LIST if kind == "null_list" else None  # elsewhere it changes what a revision has
                self.control_plane.fault(kind, path=path, times=self.random.randrange(1, 4))

    def missed(self, events: Iterable[WatchEvent]) -> set[str]:
        """Return the live revisions that were rightly reported as deleted, and that reappear later."""
        return self.sightings.missed(events) - self.deleted

    def returned(self) -> set[str]:
        """Return the revisions that left a phase and came back to it, as far as their times can tell.

        Ids of events have whole seconds, and a replica that is behind takes a phase back. The return has the
        id of the first entry, unless the watch knows of that: one that resumed from an older checkpoint does
        not. A deletion is not meant: whatever a replica shows after it, that is reported once.
        """
        entries: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for change in self.control_plane.transitions:
            if change.phase_updated_at and change.kind in {"added", "phase"}:
                entries[change.revision_id].append((change.phase, change.phase_updated_at[:WHOLE_SECOND]))
        within_a_second = {key for key, (*before, last) in entries.items() if last in before}
        return within_a_second | self.flapped

    def lacks_stalls(self, events: Iterable[WatchEvent]) -> set[str]:
        """Return the live revisions that are on their way, and not reported as stalled in their phase."""
        stalled: dict[str, bool] = {}
        for event in events:
            if isinstance(event, RevisionStalled):
                assert event.seconds >= STALLED_AFTER
                stalled[event.revision_id] = True
            elif isinstance(event, RevisionAdded | PhaseChanged):
                stalled[event.revision_id] = event.revision.phase.is_settled  # then it need not be
        return {key for key in self.live if not stalled.get(key)}

    def agrees(self, events: Iterable[WatchEvent], *, except_for: AbstractSet[str] = frozenset()) -> bool:
        """Return whether *events* end with the state of the control plane, *except for* some revisions."""
        last: dict[str, str] = {}
        for event in events:
            if isinstance(event, RevisionDeleted):
                last.pop(event.revision_id, None)
            elif isinstance(event, RevisionEvent):
                last[event.revision_id] = event.revision.phase
        state = {key: self.control_plane.revision(key)["phase"] for key in self.live}
        return all(last.get(key) == state.get(key) for key in (last.keys() | state.keys()) - except_for)


def without(body: bytes, revision_id: str) -> bytes:
    """Return a list of revisions that lacks one of them; what is not JSON stays as it is."""
    try:
        listed = json.loads(body)
    except (ValueError, RecursionError):
        return body
    rest = [item for item in listed["revisions"] or () if item.get("id") != revision_id]
    return json.dumps(listed | {"revisions": rest}, separators=(",", ":")).encode()


def in_precision(body: bytes, digits: int | None) -> bytes:
    """Return a response whose times are cut to so many digits, or are made longer."""

    def cut(time: re.Match[bytes]) -> bytes:
        fraction = (time[2] + b"123")[:digits]
        return time[1] + (b"." + fraction if fraction else b"") + b"Z"

    return body if digits is None else re.sub(rb"(T[0-9:]{8})\.(\d{6})Z", cut, body)


def check_stream(events: Sequence[WatchEvent], chaos: Chaos) -> None:
    """Assert that no event is repeated, and that each revision is added, changed, deleted, in that order.

    Each of it once: a deleted revision that a stale replica shows again is neither added nor deleted again.
    """
    events_of = by_revision(events)
    for revision_id in chaos.missed(events):
        del events_of[revision_id]
    ids = [event.id for own in events_of.values() for event in own]
    assert len(ids) == len(set(ids)), "an event was repeated"
    for revision_id, own in events_of.items():
        assert isinstance(own[0], RevisionAdded)
        assert all(not isinstance(event, RevisionAdded) for event in own[1:])
        assert all(not isinstance(event, RevisionDeleted) for event in own[:-1])
        assert isinstance(own[-1], RevisionDeleted) == (revision_id in chaos.deleted)
        check_stalls(own)
    check_phases(events, chaos.control_plane)


def check_phases(events: Sequence[WatchEvent], control_plane: FakeControlPlane) -> None:
    """Assert that the reported phases of each revision are a subsequence of those in responses."""
    responded: dict[str, list[str]] = defaultdict(list)
    for response in control_plane.responses:
        for revision_id, (phase, _) in response.phases.items():
            responded[revision_id].append(phase)
    for revision_id, own in by_revision(events).items():
        phases = [event.revision.phase for event in own if isinstance(event, RevisionAdded | PhaseChanged)]
        assert is_subsequence(phases, responded[revision_id]), (phases, responded[revision_id])


def check_stalls(events: list[RevisionEvent]) -> None:
    """Assert that a revision's stalls are of phases that it has to leave, one for each that it entered."""
    phase, is_stalled = None, False
    for event in events:
        if isinstance(event, RevisionStalled):
            assert (event.revision.phase, is_stalled) == (phase, False)
            assert not event.revision.phase.is_settled
            is_stalled = True
        elif not isinstance(event, RevisionUpdated):
            phase, is_stalled = event.revision.phase, False


def by_revision(events: Iterable[WatchEvent]) -> dict[str, list[RevisionEvent]]:
    events_of: dict[str, list[RevisionEvent]] = defaultdict(list)
    for event in events:
        assert isinstance(event, RevisionEvent), event
        events_of[event.revision_id].append(event)
    return events_of


def is_subsequence(part: Iterable[str], whole: Iterable[str]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


def without_repeats(events: Iterable[WatchEvent]) -> list[RevisionEvent]:
    """Drop events with an id that came before, as a consumer that was killed may see them again.

    A deletion stays that comes again behind a change which is new, because changes were merged.
    """
    seen: set[str] = set()
    ended: set[str] = set()
    kept: list[RevisionEvent] = []
    for event in events:
        if not isinstance(event, RevisionEvent):
            continue
        is_deletion = isinstance(event, RevisionDeleted)
        if event.id not in seen or (is_deletion and event.revision_id not in ended):
            seen.add(event.id)
            kept.append(event)
            (ended.add if is_deletion else ended.discard)(event.revision_id)
    return kept

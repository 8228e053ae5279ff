"""The bytes of list responses: which revisions are listed, and which of them have changed. No I/O, no clock.

Nearly all of a response was in the one before. Parsing it whole, to find that out, would be most of the cost
of a poll that brings one change. So the last body is kept, and a new one is walked from the front: the bytes
of known revisions are stepped over; what is between them is parsed and must be whole revisions, or else the
response is parsed from the start. Only what is parsed is decoded.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain

from runai_async import _codec
from runai_async._clock import EARLIEST
from runai_async._watch.packed import KeptBody, PackedBody, unpacked
from runai_async.errors import DecodeError
from runai_async.models import Revision

_OPENING, _CLOSING = b'{"revisions":[', b"]}"
_HEAD = 192
"""Bytes of a revision's beginning by which it is found; they hold its name and id. A comparison decides."""

Span = tuple[int, int]
"""Where a revision's bytes begin and end in the body."""
_Spans = dict[str, Span]
_Unknown = list[tuple[int, int, Revision | None]]
"""Where revisions are whose bytes are new, or whose id is listed twice; decoded where that was quick."""
_Heads = Mapping[bytes, tuple[str, bytes]]
"""The ids and bytes of known revisions, by how they begin."""


class Snapshot:
    """One list response, read and compared with what is known, but not yet applied.

    Attributes:
        spans: of every revision that is listed and can be decoded.
        changed: those whose bytes are new, decoded.
        undecodable: the bytes of those that could not be decoded, with their ids where those could be read.
        problems: why, for those that were not undecodable before.
    """

    __slots__ = ("body", "changed", "problems", "spans", "undecodable")

    def __init__(self, body: bytes) -> None:
        self.body: bytes = body
        self.spans: dict[str, Span] = {}
        self.changed: dict[str, Revision] = {}
        self.undecodable: dict[bytes, str | None] = {}
        self.problems: list[DecodeError] = []

    @property
    def is_complete(self) -> bool:
        """Whether every revision in it could be identified; otherwise nothing counts as missing."""
        return None not in self.undecodable.values()

    def lists(self, revision_id: str) -> bool:
        """Return whether a revision is listed, even as one that cannot be decoded."""
        return revision_id in self.spans or revision_id in self.undecodable.values()

    def raw(self, revision_id: str) -> bytes:
        """Return the bytes of a revision that is listed and can be decoded."""
        return self.body[slice(*self.spans[revision_id])]


_NO_BYTES: dict[str, bytes] = {}
_ALL_DECODABLE: Mapping[bytes, str | None] = {}
_NO_BOUNDS = array("Q")


class Listing:
    """The bytes of the last response, and those of known revisions that are not in it.

    A fleet keeps one for each of thousands of workloads, so the spans are not kept as a `dict` of tuples but
    as the ids and one array of beginnings and ends in turn, which takes a quarter of the memory. The body is
    packed at once, since all of a fleet may begin or change in the same moment. After two changes in a row it
    is packed only when it is repeated: of a workload that changes with every poll, each would unpack it.

    Attributes:
        body: the last response, packed or not; empty before there was one.
        repeated_as: the hash of the compressed body of a response that has repeated the last one, if any.
    """

    __slots__ = ("_bounds", "_held", "_ids", "_is_new", "body", "repeated_as", "undecodable")

    def __init__(self) -> None:
        self.body: KeptBody = b""
        self.repeated_as: int | None = None
        self.undecodable = _ALL_DECODABLE
        self._ids: tuple[str, ...] = ()
        self._bounds = _NO_BOUNDS
        self._held = _NO_BYTES
        self._is_new = False  # whether no response has repeated the last one

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the revisions in the last response that can be decoded."""
        return self._ids

    def lists(self, revision_id: str) -> bool:
        """Return whether the last response listed a revision, or may have: as one that cannot be read."""
        return revision_id in self._ids or not {revision_id, None}.isdisjoint(self.undecodable.values())

    # --- reading ------------------------------------------------------------------------------------------

    def is_repeated(self, body: bytes) -> bool:
        """Return whether a response equals the last one."""
        kept = self.body
        if isinstance(kept, PackedBody):
            if not kept.equals(body):
                return False
        elif kept == body:
            self.body = PackedBody(body)
        else:
            return False
        self._is_new = False
        return True

    def read(self, body: bytes) -> Snapshot:
        """Read a list response without changing anything.

        Raises:
            DecodeError: it is not a list of revisions at all.
        """
        snapshot, kept = Snapshot(body), unpacked(self.body)
        # Built each time and not kept: there are far more workloads than responses that change.
        heads = {
            kept[start : start + _HEAD]: (revision_id, kept[start:end])
            for revision_id, start, end in zip(self._ids, self._bounds[::2], self._bounds[1::2], strict=True)
        }
        try:
            unknown = _walked(body, heads, snapshot.spans)
        except DecodeError:
            snapshot.spans.clear()
            unknown = _parsed(body, heads, snapshot.spans)
        for start, end, revision in unknown:
            if revision is None:
                self._look(snapshot, start, end)
            else:
                self._list(snapshot, revision, (start, end))
        return snapshot

    def _look(self, snapshot: Snapshot, start: int, end: int) -> None:
        """Look at a revision whose bytes are new, or whose id is listed twice."""
        raw = snapshot.body[start:end]
        if raw in self.undecodable:
            revision_id = self.undecodable[raw]
        else:
            try:
                self._list(snapshot, _codec.decode_revision(raw), (start, end))
            except DecodeError as error:
                snapshot.problems.append(error)
                revision_id = _codec.identity(raw)
            else:
                return
        snapshot.undecodable[raw] = revision_id

    def _list(self, snapshot: Snapshot, revision: Revision, span: Span) -> None:
        """Add a decoded revision; of two with one id the newer, so that their order does not matter."""
        other = self._listed(snapshot, revision.id)
        if other is None or _state_order(revision) > _state_order(other):
            snapshot.spans[revision.id] = span
            snapshot.changed[revision.id] = revision

    def _listed(self, snapshot: Snapshot, revision_id: str) -> Revision | None:
        """Return the revision with that id that was listed already, if it could be decoded."""
        if revision_id not in snapshot.spans:
            return None
        return snapshot.changed.get(revision_id) or _codec.decode_revision(snapshot.raw(revision_id))

    # --- keeping ------------------------------------------------------------------------------------------

    def keep(self, snapshot: Snapshot, known: Mapping[str, object]) -> None:
        """Keep a response for the next comparison; of *known* revisions no bytes are lost."""
        gone = [key for key in chain(self._ids, self._held) if key not in snapshot.spans]
        held = {key: raw for key in gone if key in known and (raw := self.raw(key)) is not None}
        self._held = held or _NO_BYTES
        self.body = snapshot.body if self._is_new else PackedBody(snapshot.body)
        self._is_new, self.repeated_as = True, None
        self.undecodable = snapshot.undecodable or _ALL_DECODABLE
        self._ids = tuple(snapshot.spans)
        # By way of a list: an array made from an iterator has room to grow.
        self._bounds = array("Q", [*chain.from_iterable(snapshot.spans.values())])

    def hold(self, revision_id: str, raw: bytes) -> None:
        """Keep the bytes of a revision that is not listed but was found elsewhere."""
        self._held = {**self._held, revision_id: raw}

    def raw(self, revision_id: str) -> bytes | None:
        """Return the last known bytes of a revision, if any."""
        found = self.find(revision_id)
        if not isinstance(found, slice):
            return found
        self.body = body = unpacked(self.body)  # to be kept so, since many may be asked for in one poll
        return body[found]

    def find(self, revision_id: str) -> slice | bytes | None:
        """Return where the last known bytes of a revision are in the body, or the bytes; None without any."""
        if revision_id in self._held:
            return self._held[revision_id]
        if revision_id not in self._ids:
            return None
        index = 2 * self._ids.index(revision_id)
        return slice(self._bounds[index], self._bounds[index + 1])


# --- cutting ----------------------------------------------------------------------------------------------


def _walked(body: bytes, heads: _Heads, spans: _Spans) -> _Unknown:
    """Cut a response as servers write it: note where the known revisions are, and return the others.

    Raises:
        DecodeError: it is written in another way, or what stands between known revisions is not whole ones.
    """
    last = body.rfind(_CLOSING)
    if not body.startswith(_OPENING) or body[last + len(_CLOSING) :].strip():
        raise DecodeError("not as servers write it")
    at, unknown = len(_OPENING), _Unknown()
    if at == last:
        return unknown
    while True:
        known = heads.get(body[at : at + _HEAD])  # as `_known_at` does, without a call for each revision
        if known is None or not body.startswith(known[1], at):
            end = _next_known(body, at, last, heads)
            unknown += _decoded(body, at, end, is_one=bool(heads))
        else:
            end = at + len(known[1])
            if spans.setdefault(known[0], (at, end))[0] != at:
                unknown.append((at, end, None))
        if end == last > at:
            return unknown
        if end == at or body[end : end + 1] != b",":
            raise DecodeError("not one revision after another, with a comma between them")
        at = end + 1


def _parsed(body: bytes, heads: _Heads, spans: _Spans) -> _Unknown:
    """Cut a response by parsing it whole, and note and return the same.

    Raises:
        DecodeError: it is not a list of revisions at all.
    """
    unknown = _Unknown()
    for start, end in _located(body, _codec.split_revisions(body), 0):
        known = _known_at(body, start, heads)
        if known is None or spans.setdefault(known[0], (start, end))[0] != start:
            unknown.append((start, end, None))
    return unknown


def _decoded(body: bytes, at: int, end: int, *, is_one: bool) -> _Unknown:
    """Cut what is between two known revisions, which mostly is a single one.

    Raises:
        DecodeError: it is not one revision or more.
    """
    if is_one and (revision := _codec.decode_one_revision(body[at:end])) is not None:
        return [(at, end, revision)]
    parsed = _codec.split_revisions(_OPENING + body[at:end] + _CLOSING)
    return [(*span, None) for span in _located(body, parsed, at)]


def _known_at(body: bytes, at: int, heads: _Heads) -> tuple[str, bytes] | None:
    """Return the id and bytes of the known revision that begins at *at*, if one does."""
    known = heads.get(body[at : at + _HEAD])
    return known if known is not None and body.startswith(known[1], at) else None


def _next_known(body: bytes, at: int, last: int, heads: _Heads) -> int:
    """Return where the comma before the next known revision is, or the end of the list."""
    while heads and (at := body.find(b",{", at)) >= 0:
        if _known_at(body, at + 1, heads) is not None:
            return at
        at += 1
    return last


def _located(body: bytes, pieces: Sequence[bytes], at: int) -> Iterator[Span]:
    """Find pieces, which follow one another, from *at* on."""
    for piece in pieces:
        # Right behind the one before, but for a comma: looking there is quicker than searching.
        start = at if body.startswith(piece, at) else body.index(piece, at)
        yield start, start + len(piece)
        at = start + len(piece) + 1


def _state_order(revision: Revision) -> tuple[bool, datetime, str]:
    """Return a sort key for two states of one revision."""
    return revision.deleted_at is not None, revision.phase_updated_at or EARLIEST, revision.phase

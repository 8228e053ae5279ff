"""The bytes of list answers: which revisions are listed, and which of them are news. No I/O, no clock.

Nearly all of an answer was in the one before. Parsing it whole, to find that out, would be most of the cost
of a poll that brings one change. So the last body is kept. A new one is walked through from the front: where
the bytes of a known revision stand, they are stepped over; what is between such revisions is parsed, and has
to be whole revisions, or else the answer is parsed from the start. Only what is parsed is decoded.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

from runai_async import _codec
from runai_async.errors import DecodeError
from runai_async.models import Revision

_OPENING, _CLOSING = b'{"revisions":[', b"]}"
_HEAD = 192
"""Bytes of a revision's beginning by which it is found; they hold its name and id. Comparing decides."""

Place = tuple[int, int]
"""Where a revision's bytes begin and end in the body."""
_Piece = tuple[int, int, "str | None"]
_Heads = Mapping[bytes, tuple[str, bytes]]
"""The ids and bytes of known revisions, by how they begin."""


class Snapshot:
    """One list answer, read and compared with what is known, but not yet taken in.

    Attributes:
        places: of every revision that is listed and can be decoded.
        changed: those whose bytes are new, decoded.
        undecodable: the bytes of those that could not be decoded, with their ids where those could be read.
        problems: what was wrong with those that were not undecodable before.
    """

    __slots__ = ("body", "changed", "places", "problems", "undecodable")

    def __init__(self, body: bytes) -> None:
        self.body: bytes = body
        self.places: dict[str, Place] = {}
        self.changed: dict[str, Revision] = {}
        self.undecodable: dict[bytes, str | None] = {}
        self.problems: list[DecodeError] = []

    @property
    def is_complete(self) -> bool:
        """Whether every revision in it could be told apart; otherwise nothing counts as missing."""
        return None not in self.undecodable.values()

    def lists(self, revision_id: str) -> bool:
        """Tell whether a revision is listed, be it one that cannot be decoded."""
        return revision_id in self.places or revision_id in self.undecodable.values()


_EARLIEST = datetime.min.replace(tzinfo=UTC)
_NO_BYTES: dict[str, bytes] = {}
_NONE_UNDECODABLE: Mapping[bytes, str | None] = {}
_NO_BOUNDS = array("Q")


class Listing:
    """Remembers the bytes of the last answer, and those of revisions that are not in it.

    A fleet keeps one for each of thousands of workloads: so the places are not kept as a `dict` of tuples,
    but as the ids, and an array of where each begins and ends in turn, which take a quarter of the memory.
    """

    __slots__ = ("_bounds", "_held", "_ids", "body", "undecodable")

    def __init__(self) -> None:
        self.body = b""
        self.undecodable = _NONE_UNDECODABLE
        self._ids: tuple[str, ...] = ()
        self._bounds = _NO_BOUNDS
        self._held = _NO_BYTES

    # --- reading ------------------------------------------------------------------------------------------

    def read(self, body: bytes) -> Snapshot:
        """Read a list answer, and change nothing.

        Raises:
            DecodeError: it is no list of revisions at all.
        """
        snapshot = Snapshot(body)
        for start, end, revision_id in self._pieces(body):
            if revision_id is None or revision_id in snapshot.places:
                self._look(snapshot, start, end)
            else:
                snapshot.places[revision_id] = (start, end)
        return snapshot

    def _look(self, snapshot: Snapshot, start: int, end: int) -> None:
        """Look at a revision whose bytes are new, or whose id was there before."""
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

    def _list(self, snapshot: Snapshot, revision: Revision, place: Place) -> None:
        """Note a revision that was decoded; of two of one id the newer, so that their order is nothing."""
        other = self._listed(snapshot, revision.id)
        if other is None or _age(revision) > _age(other):
            snapshot.places[revision.id] = place
            snapshot.changed[revision.id] = revision

    def _listed(self, snapshot: Snapshot, revision_id: str) -> Revision | None:
        """Return the revision of that id which the answer listed already, if it could be decoded."""
        place = snapshot.places.get(revision_id)
        if place is None:
            return None
        return snapshot.changed.get(revision_id) or _codec.decode_revision(snapshot.body[slice(*place)])

    def _pieces(self, body: bytes) -> list[_Piece]:
        """Cut an answer into revisions: where each begins and ends, and its id if its bytes are known."""
        # Made each time, and not kept: there are far more workloads than answers that change.
        heads = {
            self.body[start : start + _HEAD]: (revision_id, self.body[start:end])
            for revision_id, start, end in zip(self._ids, self._bounds[::2], self._bounds[1::2], strict=True)
        }
        try:
            return _walked(body, heads)
        except DecodeError:
            places = _located(body, _codec.split_revisions(body), 0)
            return [(start, end, (_known_at(body, start, heads) or (None,))[0]) for start, end in places]

    # --- keeping ------------------------------------------------------------------------------------------

    def keep(self, snapshot: Snapshot, known: Mapping[str, object]) -> None:
        """Make an answer the one that the next is compared with; of *known* revisions no bytes are lost."""
        gone = {*self._ids, *self._held} - snapshot.places.keys()
        held = {key: raw for key in gone if key in known and (raw := self.raw(key)) is not None}
        self._held = held or _NO_BYTES
        self.body, self.undecodable = snapshot.body, snapshot.undecodable or _NONE_UNDECODABLE
        self._ids = tuple(snapshot.places)
        # By way of a list: an array that is made of an iterator has room to grow.
        self._bounds = array("Q", [*chain.from_iterable(snapshot.places.values())])

    def hold(self, revision_id: str, raw: bytes) -> None:
        """Keep the bytes of a revision that is not listed, but was found elsewhere."""
        self._held = {**self._held, revision_id: raw}

    def raw(self, revision_id: str) -> bytes | None:
        """Return the last known bytes of a revision, if there are any."""
        if revision_id in self._held:
            return self._held[revision_id]
        if revision_id not in self._ids:
            return None
        index = 2 * self._ids.index(revision_id)
        return self.body[self._bounds[index] : self._bounds[index + 1]]


# --- cutting ----------------------------------------------------------------------------------------------


def _walked(body: bytes, heads: _Heads) -> list[_Piece]:
    """Cut an answer as servers write it.

    Raises:
        DecodeError: it is written in another way, or between known revisions there are no whole ones.
    """
    last = body.rfind(_CLOSING)
    if not body.startswith(_OPENING) or body[last + len(_CLOSING) :].strip():
        raise DecodeError("not as servers write it")
    at, pieces = len(_OPENING), list[_Piece]()
    if at == last:
        return pieces
    while True:
        known = _known_at(body, at, heads)
        if known is None:
            end = _next_known(body, at, last, heads)
            parsed = _codec.split_revisions(_OPENING + body[at:end] + _CLOSING)
            pieces += [(*place, None) for place in _located(body, parsed, at)]
        else:
            end = at + len(known[1])
            pieces.append((at, end, known[0]))
        if end == last > at:
            return pieces
        if end == at or body[end : end + 1] != b",":
            raise DecodeError("not one revision after the other, with a comma between them")
        at = end + 1


def _known_at(body: bytes, at: int, heads: _Heads) -> tuple[str, bytes] | None:
    """Return the id and bytes of the known revision that stands at a place in a body, if there is one."""
    known = heads.get(body[at : at + _HEAD])
    return known if known is not None and body.startswith(known[1], at) else None


def _next_known(body: bytes, at: int, last: int, heads: _Heads) -> int:
    """Return where the next known revision's comma is, or the end of the list."""
    while heads and (at := body.find(b",{", at)) >= 0:
        if _known_at(body, at + 1, heads) is not None:
            return at
        at += 1
    return last


def _located(body: bytes, pieces: Sequence[bytes], at: int) -> Iterator[Place]:
    """Find pieces, which come one after the other, from a place in the body on."""
    for piece in pieces:
        # Next to the one before, but for a comma: to look there is quicker than to search.
        start = at if body.startswith(piece, at) else body.index(piece, at)
        yield start, start + len(piece)
        at = start + len(piece) + 1


def _age(revision: Revision) -> tuple[bool, datetime, str]:
    """Return what orders two states of one revision."""
    return revision.deleted_at is not None, revision.phase_updated_at or _EARLIEST, revision.phase

"""The rows of the list of workloads as bytes: which are new, and which have changed. No I/O, no clock.

Nearly every row of a listing was in the one before, and decoding them all to find that out would be most of
what a listing costs. So the bytes of each row are kept, and those of the next listing are looked up among
them. A row that is new is decoded once, to see whether its workload is one to watch; a row that has changed
is decoded only if somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from runai_async import _codec
from runai_async._api.paging import LeftOut
from runai_async.errors import DecodeError
from runai_async.models import Workload


class Row(NamedTuple):
    """One row.

    Attributes:
        raw: its bytes.
        id: of its workload; None where that cannot be read.
        is_included: whether the workload is one to watch.
        is_whole: whether that was decided by all of the workload, and not only by what could be read of it.
    """

    raw: bytes
    id: str | None
    is_included: bool = False
    is_whole: bool = True


class Rows:
    """The rows of the last listing; of one that was not sound, also those that only the one before had.

    Args:
        includes: returns whether a workload is one to watch.
        left_out: reports the rows that cannot be decoded.
    """

    def __init__(self, includes: Callable[[Workload], bool], left_out: LeftOut) -> None:
        self._includes = includes
        self._left_out = left_out
        self._by_raw: dict[bytes, Row] = {}
        self._by_id: dict[str, Row] = {}
        self._fresh: dict[bytes, Row] = {}
        self._named: AbstractSet[str] = frozenset()  # by the last listing

    def begin(self) -> None:
        """Begin a listing, which leaves the rows of the last one as they are until `keep`."""
        self._fresh = {}
        self._left_out.begin()

    def look_up(self, raw: bytes) -> Row:
        """Return the row that has these bytes; it is decoded if its workload was not listed before."""
        row = self._by_raw.get(raw) or self._fresh.get(raw)
        if row is None:
            row = self._fresh[raw] = self._read(raw)
        return row

    def _read(self, raw: bytes) -> Row:
        workload_id = _codec.identity(raw)
        known = self._by_id.get(workload_id) if workload_id is not None else None
        if known is not None and known.is_whole:
            return known._replace(raw=raw)
        workload, is_whole = self._decoded(raw)
        is_included = workload is not None and self._includes(workload)
        return Row(raw, workload_id, is_included, is_whole)

    def _decoded(self, raw: bytes) -> tuple[Workload | None, bool]:
        try:
            return _codec.from_json(raw, Workload), True
        except DecodeError as error:
            self._left_out.report(_codec.label(raw), str(error))
            return _codec.workload_outline(raw), False

    def keep(self, rows: Iterable[Row], *, is_sound: bool = True) -> frozenset[str]:
        """Keep the rows of a listing and forget the others.

        Args:
            rows: all that it named; of two with one id, the later one counts.
            is_sound: whether what it did not name is gone.

        Returns:
            The ids of the included workloads whose rows have changed, or are gone, since the listing before.
        """
        listed = {row.raw: row for row in rows}
        if listed.keys() == self._by_raw.keys():  # quick, since they are mostly the same objects
            self._named = self._by_id.keys()
            return frozenset()
        kept = {row.id: row for row in listed.values() if row.id is not None}
        last, self._named = self._named, kept.keys()
        if not is_sound:
            carried = {key: self._by_id[key] for key in last - kept.keys()}
            kept = {**kept, **carried}
            listed |= {row.raw: row for row in carried.values()}
        known, self._by_id, self._by_raw, self._fresh = self._by_id, kept, listed, {}
        return frozenset(
            key
            for key, before in known.items()
            if before.is_included
            and (row := kept.get(key, None if is_sound else before)) is not before
            and (row is None or row.raw != before.raw)
        )

    def workload(self, workload_id: str) -> Workload | None:
        """Return an included workload as the last listing had it, or what can be read of it; None without."""
        row = self._by_id.get(workload_id)
        if row is None or not row.is_included:
            return None
        try:
            return _codec.from_json(row.raw, Workload)
        except DecodeError:
            return _codec.workload_outline(row.raw)

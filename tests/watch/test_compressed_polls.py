"""Polls whose responses come compressed: unchanged ones are recognised without being decompressed."""

import gzip
from datetime import UTC, datetime
from typing import Any

import pytest
from support.model import WORKLOAD_ID, RawRevision, body_of, revision
from yarl import URL

from runai_async import Response, TransportError
from runai_async._api.endpoints import Endpoints
from runai_async._http.messages import CompressedResponse
from runai_async._watch.poll import ListCall
from runai_async._watch.tracker import Tracker

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BROKEN = b"broken"


class Polls:
    """Polls of one workload, with a count of the responses that were decompressed."""

    def __init__(self) -> None:
        self.tracker = Tracker(WORKLOAD_ID)
        self.call = ListCall(Endpoints(URL("https://acme.run.ai/")).list_revisions(WORKLOAD_ID), self.tracker)
        self.decompressed = 0

    def poll(self, *revisions: RawRevision, mtime: int = 0) -> list[Any] | None:
        """Return the events of a compressed response, or None if it was found to be unchanged."""
        return self.read(gzip.compress(body_of(*revisions), mtime=mtime))

    def read(self, compressed: bytes) -> list[Any] | None:
        def decompress() -> bytes:
            self.decompressed += 1
            if compressed == BROKEN:
                raise TransportError("broken")
            return gzip.decompress(compressed)

        return self.apply(CompressedResponse({}, compressed, decompress))

    def apply(self, response: Response) -> list[Any] | None:
        snapshot = self.call.read(response)
        if snapshot is None:
            return None
        self.tracker.apply(snapshot, at=0.0, now=NOW)
        return [self.tracker.take() for _ in range(self.tracker.pending)]


def test_a_response_that_repeats_is_decompressed_no_more_than_twice() -> None:
    polls = Polls()
    assert polls.poll(revision("a")) != []
    for _ in range(5):
        assert polls.poll(revision("a")) is None
    assert polls.decompressed == 2


def test_a_change_is_seen_at_once_and_so_is_the_change_back() -> None:
    polls = Polls()
    for phase in ("Running", "Failed", "Running", "Failed"):
        events = polls.poll(revision("a", phase=phase))
        assert events is not None
        assert [event.revision.phase for event in events] == [phase]
        assert polls.poll(revision("a", phase=phase)) is None
        assert polls.poll(revision("a", phase=phase)) is None
    assert polls.decompressed == 8


def test_a_change_back_after_a_single_poll_is_seen() -> None:
    polls = Polls()
    polls.poll(revision("a"))
    assert polls.poll(revision("a")) is None
    for phase in ("Failed", "Running"):
        events = polls.poll(revision("a", phase=phase))
        assert events is not None
        assert [event.revision.phase for event in events] == [phase]


def test_an_equal_body_that_is_compressed_in_another_way_is_unchanged() -> None:
    polls = Polls()
    polls.poll(revision("a"))
    for mtime in (1, 2, 2, 1):
        assert polls.poll(revision("a"), mtime=mtime) is None
    assert polls.decompressed == 4


def test_a_server_may_stop_compressing_and_begin_again() -> None:
    polls = Polls()
    polls.poll(revision("a"))
    assert polls.poll(revision("a")) is None
    assert polls.apply(Response(body=body_of(revision("a")))) is None
    assert polls.poll(revision("a")) is None
    assert polls.decompressed == 2
    assert polls.apply(Response(body=body_of(revision("a", phase="Failed")))) != []
    assert polls.poll(revision("a")) != []


def test_while_a_revision_is_missing_each_response_is_read() -> None:
    polls = Polls()
    polls.poll(revision("a"), revision("b"))
    for _ in range(3):
        assert polls.poll(revision("a")) == []
    assert polls.decompressed == 4


def test_after_the_end_of_a_workload_the_response_that_it_had_is_new() -> None:
    polls = Polls()
    polls.poll(revision("a"))
    assert polls.poll(revision("a")) is None
    polls.tracker.delete_all(NOW)
    polls.tracker.take()
    assert polls.poll(revision("a")) is not None


def test_a_body_that_cannot_be_decompressed_is_an_error_and_changes_nothing() -> None:
    polls = Polls()
    polls.poll(revision("a"))
    assert polls.poll(revision("a")) is None
    with pytest.raises(TransportError, match="broken"):
        polls.read(BROKEN)
    assert polls.poll(revision("a")) is None
    assert polls.decompressed == 3

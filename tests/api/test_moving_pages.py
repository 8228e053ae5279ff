"""Which page of a moving list is read next: nothing that stays is missed, whatever moves."""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async._api.moving_pages import MovingPages

Rows = list[tuple[int, str]]
"""The rows of a list: when each was created, and its id."""
Change = tuple[int, int]
"""A row created at a time of its own (the first number), or one deleted: the row at the second number."""


class Outcome(NamedTuple):
    """What a listing named, reading by reading, and how many requests that took."""

    named: list[set[str]]
    is_sound: bool
    requests: int

    @property
    def ids(self) -> set[str]:
        return self.named[-1] if self.is_sound else set().union(*self.named)


def listed(
    limit: int,
    fetch: Callable[[int, int], tuple[Sequence[str | None], int | None]],
    longest: int = 1000,
) -> Outcome:
    """List to the end; *fetch* returns the rows from an offset on, and what `next` is."""
    pages = MovingPages(limit)
    named: list[set[str]] = []
    offset: int | None = 0
    for request in range(1, longest):
        assert offset is not None
        named += [set() for _ in range(pages.reading - len(named))]
        rows, following = fetch(offset, pages.limit)
        named[-1] |= {row for row in rows if row is not None}
        offset = pages.take(rows, following)
        if offset is None:
            return Outcome(named[: pages.reading], pages.is_sound, request)
    raise AssertionError("endless")


def server(rows: Rows, most: int = 500) -> Callable[[int, int], tuple[list[str], int | None]]:
    """Return a server of these rows that returns at most so many at once."""

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        end = offset + min(limit, most)
        return [row for _, row in rows[offset:end]], end if end < len(rows) else None

    return fetch


def rows_of(count: int) -> Rows:
    return [(n, f"row-{n}") for n in range(count)]


def apply(rows: Rows, change: Change, name: str) -> None:
    created_at, index = change
    if created_at >= 0:
        rows.append((created_at, name))
        rows.sort(key=lambda row: row[0])  # stable: rows of one time keep their order
    elif rows:
        del rows[index % len(rows)]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
@pytest.mark.parametrize("most", [1, 2, 5, 500])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 8, 13, 40])
def test_a_list_that_keeps_still_is_read_once(limit: int, most: int, count: int) -> None:
    found = listed(limit, server(rows_of(count), most))
    assert found.ids == {f"row-{n}" for n in range(count)}
    assert len(found.named) == 1
    # A server that returns rows one by one leaves nothing to compare.
    assert found.is_sound == (most > 1 or count <= 1)


def test_each_page_begins_with_the_row_that_ended_the_one_before() -> None:
    offsets: list[int] = []

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        offsets.append(offset)
        return server(rows_of(10))(offset, limit)

    assert listed(4, fetch).is_sound
    assert offsets == [0, 3, 6]


@given(
    st.lists(st.integers(0, 9), max_size=30).map(sorted),
    st.integers(1, 6),
    st.integers(2, 9),
    st.lists(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 99)), max_size=6), max_size=12),
)
def test_what_exists_throughout_is_named_and_what_was_gone_before_is_not(
    created: list[int], limit: int, most: int, batches: list[list[Change]]
) -> None:
    rows: Rows = [(at, f"old-{n}") for n, at in enumerate(created)]
    throughout, ever = {name for _, name in rows}, {name for _, name in rows}
    changes = iter(batches)
    asked = 0

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        nonlocal asked
        if asked:
            for number, change in enumerate(next(changes, [])):
                apply(rows, change, f"new-{asked}-{number}")
            throughout.intersection_update(name for _, name in rows)
            ever.update(name for _, name in rows)
        asked += 1
        return server(rows, most)(offset, limit)

    found = listed(limit, fetch)
    assert throughout <= found.ids <= ever
    assert len(found.named) <= 3


@given(st.integers(3, 40), st.integers(2, 9), st.integers(1, 8), st.randoms(use_true_random=False))
def test_rows_that_are_put_into_another_order_meanwhile_are_all_named(
    count: int, limit: int, request: int, random: Random
) -> None:
    rows, asked = rows_of(count), 0

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        nonlocal asked
        if asked == request:
            random.shuffle(rows)
        asked += 1
        return server(rows)(offset, limit)

    found = listed(limit, fetch)
    assert found.ids == {f"row-{n}" for n in range(count)}
    assert found.is_sound


def test_a_row_deleted_between_two_pages_has_the_list_read_again() -> None:
    rows, asked = rows_of(9), 0

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        nonlocal asked
        if (asked := asked + 1) == 2:
            del rows[0]
        return server(rows)(offset, limit)

    found = listed(4, fetch)
    assert (found.is_sound, len(found.named), found.requests) == (True, 2, 5)
    assert found.ids == {f"row-{n}" for n in range(1, 9)}


def test_a_row_that_comes_twice_has_the_list_read_again_and_at_last_taken_as_it_is() -> None:
    rows = [*rows_of(8), (8, "row-3"), *rows_of(12)[9:]]
    found = listed(4, server(rows))
    assert (found.is_sound, len(found.named)) == (False, 3)
    assert found.ids == {f"row-{n}" for n in range(12) if n != 8}


def test_a_server_that_orders_the_rows_anew_each_time_is_read_to_the_end_three_times_at_most() -> None:
    random, rows = Random(1), rows_of(1200)

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        random.shuffle(rows)
        return server(rows)(offset, limit)

    found = listed(500, fetch)
    assert (found.is_sound, found.requests) == (False, 7)


def test_rows_whose_ids_cannot_be_read_are_no_sign_of_movement() -> None:
    rows = ["a", None, None, "b", None, "c", "d"]
    found = listed(
        3, lambda offset, limit: (rows[offset : offset + limit], offset + limit if offset < 4 else None)
    )
    assert (found.is_sound, found.ids) == (True, {"a", "b", "c", "d"})


@pytest.mark.parametrize(
    "fetch",
    [
        lambda _, limit: (["a", "b", "c", "d"][:limit], 4),
        lambda offset, limit: (["a", "b", "c", "d"][:limit], offset + limit),
        lambda offset, _: (["a"], offset + 1),
        lambda offset, _: ([f"{offset}"] if offset < 5 else [], offset + 1),
        lambda offset, _: (["a", "b"] if offset < 5 else [], offset + 2),
        lambda _, __: ([], 7),
    ],
    ids=["the same page", "the same page further on", "one row", "one row each", "two rows", "empty"],
)
def test_a_server_s_mistake_does_not_make_it_endless(
    fetch: Callable[[int, int], tuple[list[str | None], int | None]],
) -> None:
    assert listed(4, fetch, longest=60)


def test_a_next_page_after_the_last_row_is_no_movement() -> None:
    """Some servers name a next page as long as the last one had a row."""
    rows = rows_of(7)

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        page = [row for _, row in rows[offset : offset + limit]]
        return page, offset + len(page) if page else None

    found = listed(4, fetch)
    assert (found.is_sound, found.ids) == (True, {f"row-{n}" for n in range(7)})


def test_rows_that_a_server_leaves_out_of_its_pages_are_named_all_the_same() -> None:
    """It counts the rows that the account may not see, too."""
    rows = [None if n % 5 == 3 else f"row-{n}" for n in range(30)]

    def fetch(offset: int, limit: int) -> tuple[list[str], int | None]:
        end = offset + limit
        return [row for row in rows[offset:end] if row], end if end < len(rows) else None

    assert listed(7, fetch).ids == {row for row in rows if row}

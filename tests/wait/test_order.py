"""Which revision is the newest: by identity first, then by time, number and appearance."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from runai_async._wait.order import is_newer, newest

START = datetime(2026, 1, 1, tzinfo=UTC)


@frozen
class Item:
    id: str
    name: str
    created_at: datetime


def item(key: str, seconds: float, name: str = "llm") -> Item:
    return Item(key, name, START + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        pytest.param(item("b", 0), item("a", 31), id="more than 30 s apart: by time"),
        pytest.param(item("b", 0, "llm-00009"), item("a", 31, "llm-00002"), id="time goes before the number"),
        pytest.param(item("z", 0, "llm-00001"), item("a", 0, "llm-00002"), id="one second: by number"),
        pytest.param(item("b", 2, "llm-00009"), item("a", 0, "llm-00010"), id="a replica's clock is behind"),
        pytest.param(item("a", 0, "llm-a"), item("b", 1, "llm-b"), id="without numbers: by time"),
        pytest.param(item("b", 0, "llm-a"), item("a", 0, "llm-b"), id="then by name"),
        pytest.param(item("a", 0), item("b", 0), id="then by id"),
    ],
)
def test_of_two_one_is_the_newest_in_any_order(older: Item, newer: Item) -> None:
    assert newest([older, newer]) == newest([newer, older]) == newer
    assert is_newer(newer, older)
    assert not is_newer(older, newer)


def test_without_numbers_what_appeared_later_is_newer() -> None:
    listed, appeared = item("b", 5, "llm-b"), item("a", 0, "llm-a")

    assert newest([listed, appeared], {"b"}) == appeared
    assert is_newer(appeared, listed, {"b"})
    assert not is_newer(listed, appeared, {"b"})


@pytest.mark.parametrize("spelled", [0.25, -0.5, 3600.0])
def test_a_revision_is_never_newer_than_itself_however_its_time_is_spelled(spelled: float) -> None:
    assert not is_newer(item("a", spelled), item("a", 0))


def test_nothing_has_no_newest() -> None:
    assert newest(list[Item]()) is None


ITEMS = st.lists(
    st.builds(
        item,
        st.sampled_from("abcd"),
        st.sampled_from([0.0, 0.5, 20.0, 40.0]),
        st.sampled_from(["llm", "llm-00001", "llm-00002", "llm-00010"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda made: made.id,
)


@given(ITEMS, st.frozensets(st.sampled_from("abcd")))
def test_the_order_of_a_list_means_nothing(items: list[Item], first_ids: frozenset[str]) -> None:
    assert {newest(order, first_ids) for order in permutations(items)} == {newest(items, first_ids)}


@given(ITEMS, st.frozensets(st.sampled_from("abcd")))
def test_of_two_at_most_one_is_newer(items: list[Item], first_ids: frozenset[str]) -> None:
    for one in items:
        for other in items:
            assert not (is_newer(one, other, first_ids) and is_newer(other, one, first_ids))

"""The rows of the list of workloads: cut by bytes, and decoded only when they are new."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import DecodeError, Workload, _codec
from runai_async._api.paging import LeftOut
from runai_async._fleet.row_pages import RowPages
from runai_async._fleet.rows import Row, Rows

WORKLOAD_ID = "5b7ad5a4-4f2c-4c0a-b63b-{:012d}"
Encode = Callable[[list[bytes], int | None], bytes]


def row(number: int, **fields: Any) -> bytes:
    known = {
        "type": "Inference",
        "name": f"llm-{number}",
        "id": WORKLOAD_ID.format(number),
        "clusterId": "c",
        "projectId": "1",
        "phase": "Running",
        "createdAt": "2026-01-01T00:00:00Z",
        "runningPods": 1,
    }
    return json.dumps(known | fields).encode()


def compact(rows: list[bytes], following: int | None = None) -> bytes:
    end = b"" if following is None else b',"next":%d' % following
    return b'{"workloads":[%b]%b}' % (b",".join(rows), end)


class Reader:
    """Rows that are listed again and again; it notes what is decoded to be judged."""

    def __init__(self) -> None:
        self.judged: list[str] = []
        self.rows = Rows(self._includes, LeftOut("test"))
        self.pages = RowPages(self.rows.look_up)

    def _includes(self, workload: Workload) -> bool:
        self.judged.append(workload.name)
        return workload.type == "Inference"

    def read(self, *bodies: bytes) -> tuple[list[Row], frozenset[str]]:
        self.rows.begin()
        rows = [item for n, body in enumerate(bodies) for item in self.pages.cut(body, n).rows]
        self.pages.keep()
        return rows, self.rows.keep(rows)

    def read_unsound(self, body: bytes) -> frozenset[str]:
        self.rows.begin()
        return self.rows.keep(self.pages.cut(body, 0).rows, is_sound=False)


def test_a_row_is_decoded_when_it_is_new_and_not_when_it_has_changed() -> None:
    reader = Reader()
    assert reader.read(compact([row(1), row(2, type="Training"), row(3)]))[1] == frozenset()
    assert reader.judged == ["llm-1", "llm-2", "llm-3"]
    body = compact([row(1), row(2, type="Training", runningPods=2), row(3, runningPods=0), row(4)])
    rows, changed = reader.read(body)
    assert reader.judged[3:] == ["llm-4"]
    assert changed == {WORKLOAD_ID.format(3)}  # that of the other kind does not count
    assert [item.is_included for item in rows] == [True, False, True, True]
    assert reader.read(body)[1] == frozenset()
    assert reader.judged[4:] == []


def test_a_workload_is_decoded_on_demand_as_the_last_listing_had_it() -> None:
    reader = Reader()
    reader.read(compact([row(1), row(2, type="Training")]))
    reader.read(compact([row(1, runningPods=7), row(2, type="Training")]))
    found = reader.rows.workload(WORKLOAD_ID.format(1))
    assert found is not None
    assert found.running_pods == 7
    assert reader.rows.workload(WORKLOAD_ID.format(2)) is None
    assert reader.rows.workload(WORKLOAD_ID.format(3)) is None
    reader.read(compact([row(1, phase=None)]))
    found = reader.rows.workload(WORKLOAD_ID.format(1))
    assert found is not None
    assert (found.phase, found.name) == ("Unknown", "llm-1")


def test_a_row_that_could_not_be_judged_is_judged_again_when_it_has_changed() -> None:
    reader = Reader()
    (item,), _ = reader.read(compact([row(1, type=None)]))
    assert (item.id, item.is_included, reader.judged) == (WORKLOAD_ID.format(1), False, [])
    assert reader.read(compact([row(1, type=None)]))[0] == [item]
    (item,), changed = reader.read(compact([row(1)]))
    assert (item.is_included, reader.judged) == (True, ["llm-1"])
    assert changed == frozenset()  # as a workload to watch it is new


def test_a_listing_that_ends_early_leaves_the_rows_of_the_last_one() -> None:
    reader = Reader()
    reader.read(compact([row(1)]))
    reader.rows.begin()
    reader.pages.cut(compact([row(1, runningPods=2), row(2)]), 0)
    assert reader.rows.workload(WORKLOAD_ID.format(2)) is None
    assert reader.read(compact([row(1, runningPods=2)]))[1] == {WORKLOAD_ID.format(1)}


def test_a_row_that_is_gone_has_changed_unless_rows_moved() -> None:
    for is_sound in (True, False):
        reader = Reader()
        reader.read(compact([row(1), row(2), row(3, type="Training")]))
        reader.rows.begin()
        changed = reader.rows.keep(reader.pages.cut(compact([row(2)]), 0).rows, is_sound=is_sound)
        assert changed == ({WORKLOAD_ID.format(1)} if is_sound else frozenset())


def test_a_workload_that_is_listed_again_is_new() -> None:
    reader = Reader()
    reader.read(compact([row(1), row(2)]))
    reader.read(compact([row(2)]))
    assert reader.read(compact([row(1), row(2)]))[1] == frozenset()
    assert reader.judged == ["llm-1", "llm-2", "llm-1"]


# --- pages --------------------------------------------------------------------------------------------------


def spaced(rows: list[bytes], following: int | None = None) -> bytes:
    return b'{"workloads": [%b], "next": %s}' % (b", ".join(rows), json.dumps(following).encode())


def broken_up(rows: list[bytes], following: int | None = None) -> bytes:
    return b'\n{"next":%s,"workloads":[ %b ] }' % (json.dumps(following).encode(), b"\n,".join(rows))


def uneven(rows: list[bytes], following: int | None = None) -> bytes:
    gaps = [b",", b" , "] * len(rows)
    parts = b"".join(item + gap for item, gap in zip(rows, gaps, strict=False))
    return compact([parts.strip(b" ,")] if rows else [], following)


FORMS: dict[str, Encode] = {"compact": compact, "spaced": spaced, "broken up": broken_up, "uneven": uneven}


def parsed(body: bytes) -> tuple[list[bytes], int | None] | type[DecodeError]:
    try:
        page = _codec.split_page(body, "workloads")
    except DecodeError:
        return DecodeError
    return page.items, page.next_offset


def walked(pages: RowPages, body: bytes) -> tuple[list[bytes], int | None] | type[DecodeError]:
    try:
        page = pages.cut(body, 0)
    except DecodeError:
        return DecodeError
    return [item.raw for item in page.rows], page.next_offset


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 2**32))
def test_a_page_is_cut_as_if_it_were_parsed_whatever_was_there_before(form: str, seed: int) -> None:
    random, encode, pages = Random(seed), FORMS[form], Reader().pages
    listed = [row(n) for n in range(random.randrange(40))]
    following: int | None = None
    for turn in range(6):
        body = encode(listed, following)
        if random.random() < 0.3:
            body = damaged(body, random)
        assert walked(pages, body) == parsed(body)
        for _ in range(random.choice((0, 0, 1, 2, 20))):
            change(listed, turn, random)
        if random.random() < 0.2:
            following = random.choice((None, 500))


def change(listed: list[bytes], turn: int, random: Random) -> None:
    at = random.randrange(len(listed) + 1)
    kind = random.choice(("change", "insert", "delete", "swap", "twice", "broken"))
    if kind == "insert":
        listed.insert(at, row(random.randrange(1000), name='}, {"id": 1'))
    elif at < len(listed):
        changed = {
            "change": [row(at, turn=turn)],
            "delete": [],
            "swap": [listed[-1]],
            "twice": [listed[at], listed[at]],
            "broken": [b'{"id": NaN}'],
        }[kind]
        listed[at : at + 1] = changed


def damaged(body: bytes, random: Random) -> bytes:
    at = random.randrange(len(body))
    return random.choice(
        (body[:at], body[:at] + b"," + body[at:], body[:at] + b"}]" + body[at:], body + b"x")
    )


def test_pages_that_a_whole_listing_did_not_have_are_forgotten() -> None:
    reader = Reader()
    reader.read(*(compact([row(n)]) for n in range(5)))
    assert len(reader.pages) == 5
    reader.pages.cut(compact([row(0)]), 0)  # a listing that fails
    assert len(reader.pages) == 5
    reader.read(compact([row(0)]), compact([row(1)]))
    assert len(reader.pages) == 2


def test_what_a_listing_with_moved_rows_did_not_name_stays_known_until_the_next_one() -> None:
    reader = Reader()
    reader.read(compact([row(1), row(2), row(3)]))
    assert reader.read_unsound(compact([row(1)])) == frozenset()
    assert reader.rows.workload(WORKLOAD_ID.format(2)) is not None
    _, changed = reader.read(compact([row(1), row(2, runningPods=5)]))
    assert changed == {WORKLOAD_ID.format(2), WORKLOAD_ID.format(3)}  # another one, and gone
    assert reader.judged == ["llm-1", "llm-2", "llm-3"]
    for _ in range(2):
        assert reader.read_unsound(compact([row(1)])) == frozenset()
    assert reader.rows.workload(WORKLOAD_ID.format(2)) is None  # or memory would grow where rows always move


def test_a_row_that_is_named_again_is_known_for_another_listing_with_moved_rows() -> None:
    reader = Reader()
    both = compact([row(1), row(2)])
    reader.read(both)
    for _ in range(2):
        reader.read_unsound(compact([row(1)]))
        assert reader.read(both)[1] == frozenset()
    assert reader.judged == ["llm-1", "llm-2"]


def test_known_rows_are_stepped_over_and_only_what_is_between_them_is_looked_up() -> None:
    looked_up: list[bytes] = []

    def look_up(raw: bytes) -> Row:
        looked_up.append(raw)
        return Row(raw, None)

    pages, listed = RowPages(look_up), [row(n) for n in range(50)]
    pages.cut(compact(listed), 0)
    looked_up.clear()
    pages.cut(compact(listed), 0)
    assert looked_up == []
    changed = [*listed[1:20], row(20, runningPods=3), *listed[21:], row(50)]
    assert [item.raw for item in pages.cut(compact(changed), 0).rows] == changed
    assert looked_up == [row(20, runningPods=3), row(50)]

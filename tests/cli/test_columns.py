"""Tables as values: columns, and how they fit a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async.cli.columns import Cell, Column, Table, fitted, table_of, total_width, widths_of
from runai_async.cli.text import cut_end, cut_middle, width_of

NAMES = ["team-a-llama-3-70b-instruct-00012", "team-a-llama-3-70b-instruct-00013"]
COLUMNS = [Column("NAME", "name"), Column("PHASE"), Column("MESSAGE", "text")]
TABLE = table_of(COLUMNS, [[name, "Running", "the image is pulled from models.example"] for name in NAMES])


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("team-a-llama-00012", 18, "team-a-llama-00012"),
        ("team-a-llama-00012", 11, "team-…00012"),
        ("team-a-llama-00012", 10, "team…00012"),
        ("abc", 2, "…c"),
        ("abc", 1, "…"),
        ("abc", 0, "…"),
        ("", 0, ""),
        ("日本語日本語", 7, "日…語"),
        ("e\u0301e\u0301e\u0301e\u0301", 4, "e\u0301e\u0301e\u0301e\u0301"),
    ],
)
def test_a_name_is_cut_in_its_middle(text: str, width: int, shown: str) -> None:
    assert cut_middle(text, width) == shown


def test_a_sentence_is_cut_at_its_end() -> None:
    assert cut_end("no such image", 10) == "no such i…"
    assert cut_end("no such image", 8) == "no such…"
    assert cut_end("no such image", 13) == "no such image"


@given(st.text(), st.integers(1, 30))
def test_what_is_cut_is_as_wide_as_allowed_at_most(text: str, width: int) -> None:
    assert width_of(cut_middle(text, width)) <= width
    assert width_of(cut_end(text, width)) <= width


def test_a_table_with_room_is_whole() -> None:
    assert fitted(TABLE, total_width(TABLE)) == TABLE


def test_messages_are_cut_before_names() -> None:
    narrow = fitted(TABLE, 70)
    assert [row[0] for row in texts(narrow)] == NAMES
    assert texts(narrow)[0][2].endswith("…")
    assert 69 <= total_width(narrow) <= 70


def test_images_are_cut_before_names() -> None:
    columns = [Column("NAME", "name"), Column("IMAGE", "image")]
    narrow = fitted(table_of(columns, [["a" * 20, "models.example/llm-server:1.4"]]), 40)
    assert texts(narrow) == [["a" * 20, "models.e…erver:1.4"]]


def test_names_stay_distinct_when_they_are_cut() -> None:
    shown = [row[0] for row in texts(fitted(TABLE, 50))]
    assert len(set(shown)) == 2
    assert [name[-6:] for name in shown] == ["-00012", "-00013"]


def test_without_room_messages_are_left_out_and_names_keep_their_ends() -> None:
    narrow = fitted(TABLE, 30)
    assert [column.heading for column in narrow.columns] == ["NAME", "PHASE"]
    assert total_width(narrow) == 30


def test_of_several_names_the_widest_are_cut_first() -> None:
    columns = [Column("NAME", "name"), Column("PROJECT", "name")]
    assert texts(fitted(table_of(columns, [["a" * 40, "b" * 14]]), 30)) == [["aaaaaa…aaaaaaa", "b" * 14]]


def test_an_empty_cell_is_a_dash_unless_it_is_the_last() -> None:
    table = table_of(COLUMNS, [["", Cell("", "red"), ""]])
    assert texts(table) == [["-", "-", ""]]


def test_cells_are_in_one_line() -> None:
    assert texts(table_of(COLUMNS, [["a\nb", "x\x1b[31m", " c\t "]])) == [["a b", "x [31m", "c"]]


def test_a_table_without_rows_is_as_wide_as_its_headings() -> None:
    assert widths_of(table_of(COLUMNS, [])) == [4, 5, 7]

"""What keys do to a list."""

import pytest

from runai_async.cli.views.window import Window

ITEMS = list(range(100))


def pressed(*keys: str, window: Window | None = None) -> Window:
    window = window or Window()
    window.visible(ITEMS, 10)
    for key in keys:
        assert window.press(key) is False
    return window


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        (["j", "down", "k"], 1),
        (["up"], 0),
        (["pagedown", " ", "pageup", "j"], 11),
        (["end"], 90),
        (["G", "k"], 90),
        (["G", "g"], 0),
        (["end", "home"], 0),
        (["x", "enter", "backspace"], 0),
    ],
)
def test_keys_scroll(keys: list[str], first: int) -> None:
    window = pressed(*keys)
    assert window.visible(ITEMS, 10)[0] == first


def test_a_list_that_became_shorter_is_scrolled_back() -> None:
    window = pressed("pagedown", "pagedown")
    assert window.visible(ITEMS[:15], 10) == ITEMS[5:15]
    assert window.visible(ITEMS[:5], 10) == ITEMS[:5]


def test_q_ends_the_view_but_not_in_a_filter() -> None:
    assert Window().press("q") is True
    window = pressed("/", "q")
    assert (window.text, window.is_typing) == ("q", True)


def test_a_filter_is_typed_corrected_kept_and_given_up() -> None:
    window = pressed("j", "/", "a", "x", "backspace", "b", "c", "enter")
    assert (window.text, window.is_typing, window.offset) == ("abc", False, 0)
    pressed("/", "d", "down", window=window)
    assert (window.text, window.is_typing, window.offset) == ("abcd", True, 1)
    pressed("escape", window=window)
    assert (window.text, window.is_typing) == ("", False)
    window.text = "abc"
    assert pressed("escape", window=window).text == ""

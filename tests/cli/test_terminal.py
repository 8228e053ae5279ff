"""Commands on a real terminal: a pseudo-terminal of 80 by 24."""

import asyncio
import re

import pytest
from support.cli import Ran, on_terminal, without_styles

from runai_async.testing import FakeControlPlane


@pytest.fixture(scope="module")
def shows() -> dict[str, Ran]:
    """Return how commands look on a terminal; they run at the same time, since each is slow to start."""

    async def play() -> dict[str, Ran]:
        async with FakeControlPlane() as control_plane:
            control_plane.add_revision(control_plane.add_workload("my-llm"), "Pending")
            watch = ["watch", "my-llm", "--timeout", "600ms"]
            shown = await asyncio.gather(
                on_terminal(control_plane, *watch),
                on_terminal(control_plane, *watch, NO_COLOR="1"),
                on_terminal(control_plane, "rollout", "status", "my-llm", "--timeout", "600ms"),
                on_terminal(None, "demo", "--pace", "0.05"),
                on_terminal(control_plane, *watch, TERM="dumb"),
            )
        return dict(zip(["watch", "no color", "rollout", "demo", "dumb"], shown, strict=True))

    return asyncio.run(play())


@pytest.mark.parametrize(("name", "coloured"), [("watch", True), ("no color", False)])
def test_watch_is_a_live_view_on_a_terminal(shows: dict[str, Ran], name: str, coloured: bool) -> None:
    result = shows[name]
    assert result.status == 3
    assert "Revisions of my-llm" in result.out
    assert re.search(r"exists: Pending for \ds  0/1-4 pods", without_styles(result.out))
    assert ("\x1b[35m" in result.out) == coloured
    assert '"event"' not in result.out


def test_a_terminal_that_only_appends_gets_lines(shows: dict[str, Ran]) -> None:
    result = shows["dumb"]
    assert (result.status, "Revisions of" in result.out, "\x1b" in result.out) == (3, False, False)
    assert re.search(r"exists: Pending for \ds  0/1-4 pods", result.out)


def test_the_demo_is_a_live_view_on_a_terminal(shows: dict[str, Ran]) -> None:
    result = shows["demo"]
    assert (result.status, result.err) == (0, "")
    assert "\x1b[32m" in result.out
    assert "what the watches reported agrees with the control plane" in result.out


def test_a_rollout_has_a_temporary_last_line_on_a_terminal(shows: dict[str, Ran]) -> None:
    result = shows["rollout"]
    assert (result.status, "0s of 0s" in without_styles(result.out)) == (3, True)
    assert "rollout of my-llm" in result.out

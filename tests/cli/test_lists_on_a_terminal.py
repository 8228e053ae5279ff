"""Lists on a pseudo-terminal, and elsewhere."""

import asyncio
import re

import pytest
from support.cli import Ran, on_terminal, ran, without_styles

from runai_async.testing import FakeControlPlane

NAME = "team-a-llama-3-70b-instruct"
LONG = "ImagePullBackOff: models.example/llama:9 is not in the registry, or needs a login"
HIDDEN = "*** may hide a secret: --show-secrets shows the values\n"


@pytest.fixture(scope="module")
def shown() -> dict[str, Ran]:
    """Return how commands look."""

    async def play() -> dict[str, Ran]:
        async with FakeControlPlane() as control_plane:
            workload_id = control_plane.add_workload(NAME)
            for phase, message in (("Running", None), ("Failed", LONG)):
                control_plane.add_revision(workload_id, phase, phase_message=message)
            control_plane.update_revision(control_plane.transitions[-1].revision_id, environment_variables={})
            revisions = f"revisions list {NAME}"
            diff = f"revisions diff {NAME} {NAME}-00001 {NAME}-00002 --all"
            get = f"revisions get {NAME}-00002"
            shows: dict[str, tuple[str, dict[str, str]]] = {
                "80": (revisions, {}),
                "160": (f"{revisions} -o wide", {"COLUMNS": "160"}),
                "80, wide": (f"{revisions} -o wide", {}),
                "50": (revisions, {"COLUMNS": "50"}),
                "no color": (revisions, {"NO_COLOR": "1"}),
                "diff": (diff, {}),
                "wide diff": (diff, {"COLUMNS": "300"}),
                "get": (get, {}),
            }
            return {
                **dict(zip(shows, await on_terminal(control_plane, *shows.values()), strict=True)),
                "pipe": await ran(control_plane, *revisions.split()),
                "get in a pipe": await ran(control_plane, *get.split()),
            }

    return asyncio.run(play())


def lines(result: Ran) -> list[str]:
    assert (result.status, result.err.removeprefix(HIDDEN)) == (0, "")
    return without_styles(result.out).replace("\r", "").splitlines()


@pytest.mark.parametrize(("name", "width"), [("50", 50), ("80", 80), ("no color", 80)])
def test_a_table_fits_the_terminal_and_names_keep_their_ends(
    shown: dict[str, Ran], name: str, width: int
) -> None:
    table = lines(shown[name])
    assert max(map(len, table)) <= width
    assert [line.split()[0][-6:] for line in table[1:]] == ["-00002", "-00001"]
    assert ("MESSAGE" in table[0]) == (width > 60)


def test_phases_are_coloured_unless_colours_are_unwanted(shown: dict[str, Ran]) -> None:
    assert "\x1b[1;31mFailed" in shown["80"].out
    assert "\x1b[3" not in shown["no color"].out


def test_a_wide_table_has_whole_ids_on_a_terminal(shown: dict[str, Ran]) -> None:
    table = lines(shown["160"])
    assert table[0].split()[5:7] == ["ID", "IMAGE"]
    assert all(re.search(r" [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} ", line) for line in table[1:])


def test_a_pipe_gets_whole_lines_without_blanks_at_their_ends(shown: dict[str, Ran]) -> None:
    out = shown["pipe"].out
    assert "\x1b" not in out
    assert [line for line in lines(shown["pipe"]) if line != line.rstrip()] == []
    assert LONG in out
    assert f"\n{NAME}-00002  Failed" in out


def test_a_diff_is_stacked_where_a_table_has_no_room(shown: dict[str, Ran]) -> None:
    narrow = lines(shown["diff"])
    assert narrow[:2] == [f"--- {NAME}-00001", f"+++ {NAME}-00002"]
    place = narrow.index("phase")
    assert narrow[place : place + 3] == ["phase", "- Running", "+ Failed"]
    assert max(map(len, narrow)) <= 80
    assert "phase_message" in narrow
    removed = narrow.index("environment_variables.API_KEY")
    assert narrow[removed + 1] == "- ***"
    assert narrow[removed + 2].startswith("environment_variables.") or narrow[removed + 2][0] not in "+-"
    words = " ".join(narrow)
    assert "registry, or needs" in words  # wrapped between words
    assert lines(shown["wide diff"])[0].split() == ["FIELD", f"{NAME}-00001", f"{NAME}-00002"]


def test_facts_are_wrapped_on_a_terminal_and_whole_in_a_pipe(shown: dict[str, Ran]) -> None:
    assert max(map(len, lines(shown["get"]))) <= 80
    piped = lines(shown["get in a pipe"])
    assert f"Message      {LONG}" in piped
    assert [line for line in piped if line != line.rstrip()] == []
    assert "Conditions" in piped


def test_a_wide_table_is_whole_on_a_narrow_terminal_too(shown: dict[str, Ran]) -> None:
    for line in lines(shown["80, wide"])[1:]:
        assert line.startswith(NAME)
    assert LONG in without_styles(shown["80, wide"].out)

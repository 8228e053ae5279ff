"""Listings page by page: rows that cannot be decoded are left out, and named once."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from runai_async import DecodeError, RunaiClient
from runai_async._api.paging import LeftOut
from runai_async._http.messages import Response
from runai_async.models import Workload
from runai_async.testing import FakeControlPlane, FakeTransport

DATA = Path(__file__).parents[1] / "data"
ROW: dict[str, Any] = json.loads((DATA / "workloads.json").read_bytes())["workloads"][0]
RECORDS: list[dict[str, Any]] = json.loads((DATA / "history.json").read_bytes())["records"]
IDS = [f"5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c0{n}" for n in range(4)]


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {**ROW, "id": IDS[number], "name": f"llm-{number}", "type": "Inference", **fields}


def without(fields: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != key}


def scripted(*bodies: Any) -> FakeTransport:
    """Return a transport that responds with these bodies."""
    return FakeTransport([Response(body=json.dumps(body).encode()) for body in bodies])


def client(*pages: list[Any], key: str = "workloads") -> RunaiClient:
    """Return a client of a control plane that responds with these pages.

    A page of workloads is asked for from the last row of the one before on.
    """
    bodies: list[dict[str, Any]] = []
    for number, page in enumerate(pages):
        before = pages[number - 1][-1:] if number and key == "workloads" else []
        bodies.append({key: [*before, *page], "next": sum(map(len, pages[: number + 1]))})
    del bodies[-1]["next"]
    return RunaiClient("https://acme.run.ai", "token", transport=scripted(*bodies))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


BROKEN_ROWS = [without(row(0), "clusterId"), row(0, phase=None), row(0, createdAt="soon"), row(0, images=5)]


@pytest.mark.parametrize("broken", BROKEN_ROWS, ids=["no cluster", "no phase", "time", "images"])
async def test_a_row_that_cannot_be_decoded_is_left_out_and_named(
    broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with client([row(1), broken], [row(2)]) as runai:
        assert [item.name async for item in runai.list_workloads()] == ["llm-1", "llm-2"]
    (warning,) = warnings(caplog)
    assert warning.startswith("list_workloads: left out what cannot be read: $.workloads[1].")
    assert warning.endswith(f"(id {IDS[0]})")


async def test_a_listing_warns_once_and_the_next_one_again(caplog: pytest.LogCaptureFixture) -> None:
    broken = [row(number, phase=None) for number in range(3)]
    for _ in range(2):
        async with client(broken[:2], broken[2:], [row(3)]) as runai:
            assert [item.name async for item in runai.list_workloads()] == ["llm-3"]
        assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("broken", BROKEN_ROWS, ids=["no cluster", "no phase", "time", "images"])
async def test_discovery_takes_the_ids_that_it_can_read(
    broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with client([broken, row(1)], [row(2)]) as runai:
        assert {item.id async for item in runai.inference_workloads()} == set(IDS[:3])
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    "broken",
    [
        row(0, phase=None, type="Training"),
        row(0, type=None),
        row(0, id=None),
        row(0, id="llm"),
        None,
        5,
        "text",
    ],
)
async def test_discovery_leaves_out_what_is_not_an_id_of_an_inference_workload(
    broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with client([broken, row(1)]) as runai:
        assert [item.id async for item in runai.inference_workloads()] == [IDS[1]]
    assert len(warnings(caplog)) == 1


async def test_a_caller_s_own_test_sees_what_can_be_read() -> None:
    def is_of_the_team(workload: Workload) -> bool:
        return workload.project_name == "team-a"

    rows = [row(0, phase=None, projectName="team-a"), row(1, phase=None, projectName="team-b")]
    async with client(rows) as runai:
        assert [item.id async for item in runai.inference_workloads(is_inference=is_of_the_team)] == [IDS[0]]


async def test_a_discovery_that_repeats_warns_of_a_row_once(caplog: pytest.LogCaptureFixture) -> None:
    pages = [[row(0, phase=None)], [row(0, phase=None)], [row(0, phase=None), row(1, phase=None)]]
    transport = scripted(*({"workloads": page} for page in pages))
    async with RunaiClient("https://acme.run.ai", "token", transport=transport) as runai:
        counts = []
        for _ in pages:
            assert IDS[0] in [item.id async for item in runai.inference_workloads()]
            counts.append(len(warnings(caplog)))
    assert counts == [1, 0, 1]


def test_the_rows_that_are_remembered_are_bounded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runai_async._api.paging._ROWS_MAX", 1)
    left_out = LeftOut("list_workloads")
    for expected in [("a", 1), ("a", 0), ("b", 1), ("b", 1)]:
        left_out.begin()
        left_out.report(expected[0], "broken")
        assert len(warnings(caplog)) == expected[1]


async def test_a_record_that_cannot_be_decoded_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with client([{"meta": None}, RECORDS[0]], [RECORDS[1]], key="records") as runai:
        kinds = [record.meta.type async for record in runai.revision_history(IDS[0])]
    assert kinds == ["PhaseUpdate", "Event"]
    (warning,) = warnings(caplog)
    assert warning == (
        "revision_history: left out what cannot be read: $.records[0].meta: null, but it is required "
        "(neither its id nor its name can be read)"
    )


async def test_a_page_of_which_nothing_can_be_read_is_not_the_end() -> None:
    async with client([row(0, phase=None)], [row(1)]) as runai:
        assert [item.name async for item in runai.list_workloads()] == ["llm-1"]


@pytest.mark.parametrize("following", ["2", 2.0])
async def test_the_next_page_may_be_a_number_in_any_form(following: Any) -> None:
    pages = [{"workloads": [row(0), row(1)], "next": following}, {"workloads": [row(1), row(2), row(3)]}]
    transport = scripted(*pages)
    async with RunaiClient("https://acme.run.ai", "token", transport=transport) as runai:
        assert len([item async for item in runai.list_workloads()]) == 4


@pytest.mark.parametrize("following", ["x", -1, True, 1.5, {}])
async def test_a_next_that_is_not_a_number_is_an_error(following: Any) -> None:
    transport = scripted({"workloads": [row(0)], "next": following})
    async with RunaiClient("https://acme.run.ai", "token", transport=transport) as runai:
        with pytest.raises(DecodeError, match=r"^\$\.next: expected a whole number$"):
            _ = [item async for item in runai.list_workloads()]


async def test_a_fleet_watches_the_workloads_beside_a_broken_row() -> None:
    control_plane = FakeControlPlane()
    for phase in ("Running", None):
        control_plane.add_revision(control_plane.add_workload(phase=phase), "Running")
    async with (
        control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
        runai.watch_fleet(runai.inference_workloads, interval=0.05) as fleet,
    ):
        events = [await anext(fleet), await anext(fleet)]
    assert {event.workload_id for event in events} == set(control_plane._state.workloads)

"""`runai-async workloads`: list."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from attrs import frozen
from support.cli import Ran, finished, on_terminal, polled, ran, started, without_styles

from runai_async import Revision, Workload, from_json
from runai_async.testing import FakeControlPlane

NUMBER = {"requested_pods": {"number": 2}}
OTHER = "7d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"


@frozen
class Setting:
    """Four workloads: one serves, one has a failed rollout, one no revisions; one is of another team."""

    control_plane: FakeControlPlane
    ids: dict[str, str]


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    async with FakeControlPlane() as control_plane:
        created = datetime.now(UTC) - timedelta(hours=5, seconds=5)
        ids = {
            name: control_plane.add_workload(name, created_at=created, **fields)
            for name, fields in (
                ("chat", {}),
                ("embed", {}),
                ("idle", {"phase": "Stopped"}),
                ("zoo", {"project_id": OTHER, "project_name": "team-b"}),
            )
        }
        control_plane.add_workload("job", type="Training")
        for name in ("chat", "embed", "zoo"):
            control_plane.add_revision(ids[name], "Running", created_at=created, **NUMBER)
        control_plane.add_revision(ids["embed"], "Failed", phase_message="no such image", **NUMBER)
        yield Setting(control_plane, ids)


def rows(result: Ran) -> list[list[str]]:
    assert result.status == 0, result
    return [line.split() for line in result.out.splitlines()]


LISTED = [
    ["NAME", "PROJECT", "PHASE", "SERVING", "PODS", "NEWEST", "AGE"],
    ["chat", "team-a", "Running", "00001", "2/2", "-", "5h00m"],
    ["embed", "team-a", "Failed", "00001", "2/2", "00002", "5h00m"],
    ["idle", "team-a", "Stopped", "-", "-", "-", "5h00m"],
    ["zoo", "team-b", "Running", "00001", "2/2", "-", "5h00m"],
]


async def test_each_workload_has_a_line_with_what_serves_and_what_is_newest(setting: Setting) -> None:
    result = await ran(setting.control_plane, "workloads", "list")
    assert rows(result) == LISTED
    assert result.err == ""


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["-p", "team-a"], ["chat", "embed", "idle"]),
        (["-p", OTHER], ["zoo"]),
        (["--phase", "failed"], ["embed"]),
        (["--phase", "Running", "--phase", "Stopped"], ["chat", "idle", "zoo"]),
        (["-p", "team-b", "--phase", "Failed"], []),
    ],
)
async def test_a_project_and_phases_can_be_chosen(
    setting: Setting, args: list[str], names: list[str]
) -> None:
    result = await ran(setting.control_plane, "workloads", "list", *args, "-o", "name")
    assert result == Ran(0, "".join(f"{name}\n" for name in names), "")


async def test_nothing_to_list_is_a_message(setting: Setting) -> None:
    result = await ran(setting.control_plane, "workloads", "list", "--phase", "Deleting")
    assert result == Ran(0, "", "no inference workload matches\n")
    async with FakeControlPlane() as empty:
        assert await ran(empty, "workloads", "list") == Ran(0, "", "there are no inference workloads\n")


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["--fail-on", "Failed"], 1),
        (["--fail-on", "Degraded"], 0),
        (["--fail-on", "Degraded", "--fail-on", "failed", "-o", "json"], 1),
        (["--fail-on", "Failed", "-p", "team-b"], 0),
        (["--fail-on", "Failed", "--no-revisions"], 0),
    ],
)
async def test_a_phase_can_be_made_a_failure(setting: Setting, args: list[str], status: int) -> None:
    result = await ran(setting.control_plane, "workloads", "list", *args)
    assert (result.status, result.out != "", result.err) == (status, True, "")


async def test_the_list_alone_costs_no_request_for_each_workload(setting: Setting) -> None:
    result = await ran(setting.control_plane, "workloads", "list", "--no-revisions")
    assert rows(result)[0] == ["NAME", "PROJECT", "PHASE", "PODS", "AGE"]
    assert [row[2] for row in rows(result)[1:]] == ["Running", "Running", "Stopped", "Running"]
    paths = [request.path for request in setting.control_plane.requests]
    assert [path for path in paths if path.endswith("/revisions")] == []


async def test_a_wide_table_has_ids_and_images(setting: Setting) -> None:
    _, _, embed, *_ = rows(await ran(setting.control_plane, "workloads", "list", "-o", "wide"))
    assert embed[7] == setting.ids["embed"]
    assert embed[-3:] == ["no", "such", "image"]


async def test_json_and_yaml_have_the_api_s_own_shape_with_secrets_masked(setting: Setting) -> None:
    control_plane = setting.control_plane
    control_plane.update_revision(
        control_plane.transitions[-1].revision_id, environment_variables={"KEY": "c4nary"}
    )
    result = await ran(control_plane, "workloads", "list", "-o", "json")
    assert "c4nary" not in result.out
    document = json.loads(result.out)
    chat, embed, idle, _ = document["workloads"]
    assert (list(chat), list(idle)) == (["workload", "serving", "newest"], ["workload"])
    assert from_json(json.dumps(embed["workload"]).encode(), Workload).id == setting.ids["embed"]
    newest = from_json(json.dumps(embed["newest"]).encode(), Revision)
    assert (newest.name, newest.phase, embed["serving"]["name"]) == ("embed-00002", "Failed", "embed-00001")
    assert yaml.safe_load((await ran(control_plane, "workloads", "list", "-o", "yaml")).out) == document
    shown = await ran(control_plane, "workloads", "list", "-o", "jsonl", "--show-secrets")
    assert len(shown.out.splitlines()) == 4
    assert "c4nary" in shown.out


async def test_a_lost_cluster_is_named(setting: Setting) -> None:
    (cluster_id,) = setting.control_plane.cluster_ids
    at = datetime.now(UTC) - timedelta(minutes=12, seconds=5)
    setting.control_plane.disconnect_cluster(cluster_id, at=at)
    result = await ran(setting.control_plane, "workloads", "list")
    assert result.err == "cluster cluster-1 lost its connection 12m ago: states may be out of date\n"
    assert rows(result) == LISTED


async def test_a_cluster_that_may_not_be_seen_stops_nothing(setting: Setting) -> None:
    setting.control_plane.fail_next(2, 403, path="/clusters/")
    assert rows(await ran(setting.control_plane, "workloads", "list")) == LISTED


async def test_a_workload_whose_revisions_cannot_be_read_is_named_and_the_others_are_listed(
    setting: Setting,
) -> None:
    setting.control_plane.fail_next(None, 500, path=setting.ids["chat"])
    result = await ran(setting.control_plane, "workloads", "list", "--deadline", "1s", "--no-headers")
    assert [line.split()[0] for line in result.out.splitlines()] == ["embed", "idle", "zoo"]
    assert result.err.startswith("runai-async: warning: the revisions of 1 workload could not be read: GET ")
    assert result.status == 4


async def test_a_workload_that_has_no_revisions_in_the_api_s_own_words_is_listed(setting: Setting) -> None:
    body = {"code": 404, "message": "no revisions"}
    setting.control_plane.fail_next(1, 404, body=body, path=setting.ids["zoo"])
    result = await ran(setting.control_plane, "workloads", "list")
    assert rows(result)[-1] == ["zoo", "team-b", "Running", "-", "-", "-", "5h00m"]


async def test_a_404_of_a_gateway_is_no_workload_without_revisions(setting: Setting) -> None:
    setting.control_plane.fail_next(None, 404, body="<html>", path=setting.ids["zoo"])
    result = await ran(setting.control_plane, "workloads", "list", "-o", "name")
    assert (result.status, result.out) == (4, "chat\nembed\nidle\n")
    assert result.err.startswith("runai-async: warning: the revisions of 1 workload could not be read: ")


async def test_where_nothing_can_be_read_the_error_is_the_only_line(setting: Setting) -> None:
    setting.control_plane.fail_next(None, 403, path="/revisions")
    result = await ran(setting.control_plane, "workloads", "list")
    assert (result.status, result.out, result.err.count("\n")) == (4, "", 1)
    assert result.err.startswith("Error: ")


async def test_on_a_terminal_there_are_totals_and_lines_fit(setting: Setting) -> None:
    setting.control_plane.disconnect_cluster(setting.control_plane.cluster_ids[0])
    (result,) = await on_terminal(setting.control_plane, "workloads list")
    assert (result.status, result.err) == (0, "")
    lines = without_styles(result.out).replace("\r", "").splitlines()
    assert lines[0].startswith("cluster cluster-1 lost its connection ")
    assert [line.split() for line in lines[1:6]] == LISTED
    assert lines[6:] == ["4 workloads: 2 Running, 1 Failed, 1 Stopped"]


# --- watching ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["workloads", "list", "-w", "-o", "json"], "see runai-async watch for JSON lines"),
        (["workloads", "list", "-w", "--fail-on", "Failed"], "give --watch or --fail-on, not both"),
        (["workloads", "list", "-w", "--no-revisions"], "give --watch or --no-revisions, not both"),
        (["revisions", "list", "x", "-w", "--deleted"], "give --watch or --deleted, not both"),
        (["revisions", "list", "x", "-w", "-o", "name"], "--watch prints rows of a table"),
    ],
)
async def test_what_makes_no_sense_with_watch_is_wrong_usage(args: list[str], message: str) -> None:
    result = await ran(None, *args)
    assert (result.status, result.out) == (2, "")
    assert message in result.err


async def ended_by_a_signal(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    ended = await finished(process)
    assert (ended.status, ended.out, ended.err) == (143, "", "")


async def lines_of(process: asyncio.subprocess.Process, count: int) -> list[list[str]]:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return [(await process.stdout.readline()).decode().split() for _ in range(count)]


async def test_a_watched_list_of_workloads_gets_a_row_for_each_change(setting: Setting) -> None:
    control_plane, ids = setting.control_plane, setting.ids
    args = ("workloads", "list", "-w", "-p", "team-a", "--interval", "20ms")
    async with started(control_plane, *args) as process:
        assert await lines_of(process, 4) == LISTED[:4]
        await polled(control_plane, 12)
        added = control_plane.add_revision(ids["chat"], "Creating", **NUMBER)
        assert await lines_of(process, 1) == [
            ["chat", "team-a", "Creating", "00001", "2/2", "00002", "5h00m"]
        ]
        control_plane.set_phase(added, "Running", running_pods=2)
        assert await lines_of(process, 1) == [["chat", "team-a", "Running", "00002", "2/2", "-", "5h00m"]]
        control_plane.add_revision(ids["zoo"], "Failed")  # of another project
        control_plane.add_revision(ids["idle"], "Running", **NUMBER)
        assert await lines_of(process, 1) == [["idle", "team-a", "Running", "00001", "2/2", "-", "5h00m"]]
        new = control_plane.add_workload("new")
        control_plane.add_revision(new, "Pending", **NUMBER)
        ((*row, _),) = await lines_of(process, 1)
        assert row == ["new", "team-a", "Pending", "-", "-", "00001"]
        await ended_by_a_signal(process)


async def test_a_watched_list_of_a_phase_shows_who_comes_and_who_leaves(setting: Setting) -> None:
    control_plane, ids = setting.control_plane, setting.ids
    args = ("workloads", "list", "-w", "--phase", "Failed", "--interval", "20ms", "--no-headers")
    async with started(control_plane, *args) as process:
        assert [row[0] for row in await lines_of(process, 1)] == ["embed"]
        await polled(control_plane, 12)
        control_plane.add_revision(ids["chat"], "Failed")
        assert [row[:3] for row in await lines_of(process, 1)] == [["chat", "team-a", "Failed"]]
        control_plane.set_phase(control_plane.transitions[-1].revision_id, "Running")
        assert [row[:3] for row in await lines_of(process, 1)] == [["chat", "team-a", "Running"]]
        control_plane.add_revision(ids["zoo"], "Creating")
        await polled(control_plane, 12)
        await ended_by_a_signal(process)


async def test_a_watched_list_of_revisions_gets_a_row_for_each_change(setting: Setting) -> None:
    control_plane = setting.control_plane
    args = ("revisions", "list", "chat", "-w", "--interval", "20ms")
    async with started(control_plane, *args) as process:
        first = await lines_of(process, 2)
        assert first[1][:4] == ["chat-00001", "Running", "2/2", "5h00m"]
        await polled(control_plane)
        added = control_plane.add_revision(setting.ids["chat"], "Creating", **NUMBER)
        assert [row[:3] for row in await lines_of(process, 1)] == [["chat-00002", "Creating", "0/2"]]
        control_plane.set_phase(added, "Failed", "no image")
        (failed,) = await lines_of(process, 1)
        assert (failed[:3], failed[5:]) == (["chat-00002", "Failed", "0/2"], ["no", "image"])
        control_plane.delete_revision(added)
        assert [row[:3] for row in await lines_of(process, 1)] == [["chat-00002", "deleted", "-"]]
        await ended_by_a_signal(process)


async def test_a_project_without_workloads_is_an_error_as_it_may_be_mistyped(setting: Setting) -> None:
    result = await ran(setting.control_plane, "workloads", "list", "-p", "tema-a", "--fail-on", "Failed")
    meant = 'did you mean "team-a" or "team-b"?'
    assert result == Ran(2, "", f'Error: project "tema-a" has no workloads ({meant})\n')


async def test_names_are_what_other_commands_accept(setting: Setting) -> None:
    plane = setting.control_plane
    twin = plane.add_workload("chat", project_id=OTHER, project_name="team-b")
    hostile = plane.add_workload("evil\x1b]0;title\x07")
    plane.add_revision(hostile, "Running")
    result = await ran(plane, "workloads", "list", "-o", "name")
    assert sorted(result.out.split()) == sorted([setting.ids["chat"], twin, hostile, "embed", "idle", "zoo"])
    (revision_id,) = (await ran(plane, "revisions", "list", hostile, "-o", "name")).out.split()
    assert (await ran(plane, "revisions", "get", revision_id, "-o", "name")).out == f"{revision_id}\n"

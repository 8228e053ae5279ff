"""`runai-async revisions`: list, count, get, diff."""

import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from attrs import frozen
from support.cli import Ran, ran
from support.samples import revision as sample

from runai_async import Revision, from_json, to_json
from runai_async.cli.columns import Cell
from runai_async.cli.secrets import masked
from runai_async.cli.views.output import RESULTS, VALUES
from runai_async.cli.views.tables import print_facts
from runai_async.testing import FakeControlPlane

IDS = [f"{start}-1111-4111-8111-111111111111" for start in ("aaaa0000", "aaaa1111", "bbbb0000", "dddd0000")]


@frozen
class Llm:
    """A workload with two live revisions and two deleted ones."""

    control_plane: FakeControlPlane
    id: str

    def api(self, revision_id: str) -> dict[str, object]:
        """Return a revision as the API has it, in the normal form."""
        shape = to_json(from_json(json.dumps(self.control_plane.revision(revision_id)).encode(), Revision))
        return dict(json.loads(shape))


@pytest.fixture
async def llm() -> AsyncIterator[Llm]:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("my-llm")
        now = datetime.now(UTC) - timedelta(seconds=5)  # the header with the server's time has no fractions
        for index, (revision_id, phase) in enumerate(
            zip(IDS, ["Stopped", "Running", "Running", "Failed"], strict=True)
        ):
            created = now - timedelta(days=4 - index)
            control_plane.add_revision(
                workload_id, phase, id=revision_id, created_at=created, phase_updated_at=created
            )
        control_plane.set_phase(
            IDS[3], "Failed", "ImagePullBackOff: no such image", at=now - timedelta(minutes=90)
        )
        for revision_id in IDS[:2]:
            control_plane.delete_revision(revision_id)
        yield Llm(control_plane, workload_id)


async def test_a_pipe_gets_whole_columns_newest_first(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "list", llm.id)
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "NAME          PHASE    PODS   AGE    SINCE  MESSAGE",
        "my-llm-00004  Failed   0/1-4  1d00h  1h30m  ImagePullBackOff: no such image",
        "my-llm-00003  Running  2/1-4  2d00h  2d00h",
    ]
    assert result == await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "table", COLUMNS="30")


async def test_a_wide_table_has_ids_and_images(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "wide")
    heading, newest, _ = result.out.splitlines()
    assert heading.split() == ["NAME", "PHASE", "PODS", "AGE", "SINCE", "ID", "IMAGE", "MESSAGE"]
    assert newest.split()[:7] == [
        *("my-llm-00004", "Failed", "0/1-4", "1d00h", "1h30m", IDS[3], "models.example/llm-server:1.4")
    ]


async def test_headings_can_be_left_out(llm: Llm) -> None:
    whole = (await ran(llm.control_plane, "revisions", "list", llm.id)).out.splitlines()
    bare = await ran(llm.control_plane, "revisions", "list", llm.id, "--no-headers")
    assert [line.split()[:3] for line in bare.out.splitlines()] == [line.split()[:3] for line in whole[1:]]
    diff = ["revisions", "diff", llm.id, IDS[0], IDS[3]]
    headings = (await ran(llm.control_plane, *diff)).out.splitlines()[0]
    assert headings.split() == ["FIELD", "my-llm-00001", "my-llm-00004"]
    assert headings not in (await ran(llm.control_plane, *diff, "--no-headers")).out


async def test_names_are_printed_one_a_line_and_are_usable_as_arguments(llm: Llm) -> None:
    names = (await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "name")).out
    assert names == "my-llm-00004\nmy-llm-00003\n"
    for name, revision_id in zip(names.split(), [IDS[3], IDS[2]], strict=True):
        found = await ran(llm.control_plane, "revisions", "get", name, "-o", "jsonl")
        assert json.loads(found.out)["id"] == revision_id
        assert await ran(llm.control_plane, "revisions", "get", revision_id, "-o", "name") == Ran(
            0, f"{name}\n", ""
        )


@pytest.mark.parametrize("named", ["id", "my-llm", "prefix"])
async def test_deleted_revisions_are_listed_on_demand(llm: Llm, named: str) -> None:
    workload = {"id": llm.id, "prefix": llm.id[:9]}.get(named, named)
    result = await ran(llm.control_plane, "revisions", "list", workload, "--deleted", "-o", "table")
    assert [line.split() for line in result.out.splitlines()] == [
        ["NAME", "PHASE", "PODS", "AGE", "DELETED", "MESSAGE"],
        ["my-llm-00002", "deleted", "-", "3d00h", "0s"],
        ["my-llm-00001", "deleted", "-", "4d00h", "0s"],
    ]


@pytest.mark.parametrize("shown", [True, False])
async def test_json_lines_are_in_the_api_s_own_shape(llm: Llm, shown: bool) -> None:
    more = ["--show-secrets"] if shown else []
    result = await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "jsonl", *more)
    expected = [llm.api(IDS[3]), llm.api(IDS[2])]
    assert [json.loads(line) for line in result.out.splitlines()] == (
        expected if shown else [hidden(item) for item in expected]
    )


async def test_json_and_yaml_are_the_same_document(llm: Llm) -> None:
    args = ["revisions", "list", llm.id, "--show-secrets", "-o"]
    expected = {"revisions": [llm.api(IDS[3]), llm.api(IDS[2])]}
    assert json.loads((await ran(llm.control_plane, *args, "json")).out) == expected
    assert yaml.safe_load((await ran(llm.control_plane, *args, "yaml")).out) == expected


async def test_without_pyyaml_yaml_is_one_line_that_says_how_to_get_it(
    llm: Llm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "runai_async.cli.views.yaml_text", raising=False)
    monkeypatch.delattr("runai_async.cli.views.yaml_text", raising=False)
    monkeypatch.setitem(sys.modules, "yaml", None)
    result = await ran(llm.control_plane, "revisions", "count", llm.id, "-o", "yaml")
    assert result == Ran(2, "", "Error: yaml requires PyYAML: pip install 'runai-async[cli]'\n")


# --- secrets ----------------------------------------------------------------------------------------------


def hidden(revision: dict[str, object]) -> dict[str, object]:
    """Return a revision of JSON's types with its secrets masked."""
    names = dict(revision["environmentVariables"])  # type: ignore[call-overload]
    masks: dict[str, object] = {name: "***" for name in ("command", "arguments") if name in revision}
    return {**revision, "environmentVariables": dict.fromkeys(names, "***"), **masks}


@pytest.mark.parametrize("form", sorted(RESULTS))
@pytest.mark.parametrize(
    "command", [["list"], ["get", "my-llm-00004"], ["diff", "my-llm-00001", "my-llm-00004"]]
)
async def test_secrets_are_masked_in_every_format_unless_asked_for(
    llm: Llm, command: list[str], form: str
) -> None:
    if command[0] == "diff" and form not in VALUES:
        return
    secrets = {
        "environment_variables": {"API_KEY": "c4nary-1"},
        "command": "c4nary-2",
        "arguments": "c4nary-3",
    }
    llm.control_plane.update_revision(IDS[3], **secrets)
    name, *others = command
    args = ["revisions", name, *([] if name == "get" else ["my-llm"]), *others, "-o", form]
    masked, shown = [await ran(llm.control_plane, *args, *more) for more in ([], ["--show-secrets"])]
    assert (masked.status, "c4nary" in masked.out) == (0, False)
    has_secrets = form not in {"table", "wide", "name"} or name == "diff" or (name, form) == ("get", "wide")
    if not has_secrets:
        assert (shown.status, shown.out) == (2, "")
        assert f"-o {form} shows no secrets: give --show-secrets with -o " in shown.err
    assert [f"c4nary-{number}" in shown.out for number in (1, 2, 3)] == [has_secrets] * 3
    assert ("API_KEY" in masked.out) == has_secrets


async def test_a_revision_is_found_by_the_number_that_tables_show(llm: Llm) -> None:
    by_number, by_name = [
        await ran(llm.control_plane, "revisions", "diff", "my-llm", *pair)
        for pair in (["00001", "00004"], ["my-llm-00001", "my-llm-00004"])
    ]
    assert by_number == by_name
    assert by_number.status == 0


async def test_masked_output_can_be_read_again(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "get", IDS[3], "-o", "json")
    revision = from_json(result.out.encode(), Revision)
    assert set(dict(revision.environment_variables or {}).values()) == {"***"}
    assert json.loads(to_json(revision)) == hidden(llm.api(IDS[3]))


def test_what_is_empty_or_missing_is_not_masked() -> None:
    bare = sample(1, environment_variables={"A": "", "B": "x"}, command="", arguments=None)
    shown = masked({"revisions": [bare]})["revisions"][0]
    assert (shown.environment_variables, shown.command, shown.arguments) == ({"A": "", "B": "***"}, "", None)
    assert masked([None, 3, "text"]) == [None, 3, "text"]


# ----------------------------------------------------------------------------------------------------------


async def test_an_empty_table_is_a_message_on_stderr(llm: Llm) -> None:
    empty = llm.control_plane.add_workload("empty")
    assert await ran(llm.control_plane, "revisions", "list", "empty", "-o", "table") == Ran(
        0, "", "empty has no live revisions\n"
    )
    assert await ran(llm.control_plane, "revisions", "list", empty, "-o", "jsonl") == Ran(0, "", "")


@pytest.mark.parametrize(
    ("args", "out"),
    [
        ([], "2\n"),
        (["--deleted"], "2\n"),
        (["-o", "table"], "2\n"),
        (["-o", "json"], '{\n  "count": 2\n}\n'),
        (["-o", "jsonl"], '{"count":2}\n'),
        (["-o", "yaml"], "count: 2\n"),
    ],
)
async def test_count_prints_a_number(llm: Llm, args: list[str], out: str) -> None:
    assert await ran(llm.control_plane, "revisions", "count", llm.id, *args) == Ran(0, out, "")


async def test_get_sends_one_request(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "get", IDS[3], "-o", "json")
    assert json.loads(result.out) == hidden(llm.api(IDS[3]))
    assert [request.path for request in llm.control_plane.requests] == [
        f"/api/v1/workloads/inferences/revisions/{IDS[3]}"
    ]


async def test_get_shows_facts_and_conditions_but_no_secrets(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "get", IDS[3], "-o", "table")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert lines[0] == "Name         my-llm-00004"
    assert "Message      ImagePullBackOff: no such image" in lines
    assert "Pods         0/1-4 running" in lines
    assert any(line.split()[:3] == ["Ready", "Unknown", "Deploying"] for line in lines)
    assert "API_KEY" not in result.out
    assert "tensor-parallel" not in result.out


def test_a_revision_without_conditions_has_no_table_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("Name", Cell("chat"))], [])
    assert capsys.readouterr().out == "Name  chat\n"


async def test_get_leaves_out_facts_that_are_not_known(llm: Llm) -> None:
    bare = llm.control_plane.add_revision(llm.id, "Pending", conditions=[])
    result = await ran(llm.control_plane, "revisions", "get", bare, "-o", "table")
    assert [word for word in ("Phase", "Message", "Conditions") if word in result.out] == ["Phase"]


async def test_diff_accepts_prefixes_names_and_deleted_revisions(llm: Llm) -> None:
    llm.control_plane.update_revision(
        IDS[3], environment_variables={"MODEL": "x"}, images=["models.example/other:9"]
    )
    expected = json.loads(
        (await ran(llm.control_plane, "revisions", "diff", llm.id, IDS[0], IDS[3], "-o", "json")).out
    )
    assert {
        "path": "images[0]",
        "old": "models.example/llm-server:1.1",
        "new": "models.example/other:9",
    } in expected
    assert {"path": "environment_variables.MODEL", "old": "***", "new": "***"} in expected
    for old, new in (("aaaa0", "d"), ("my-llm-00001", "my-llm-00004")):
        result = await ran(llm.control_plane, "revisions", "diff", "my-llm", old, new, "-o", "jsonl")
        assert [json.loads(line) for line in result.out.splitlines()] == expected


async def test_diff_shows_secrets_only_on_demand(llm: Llm) -> None:
    key = llm.control_plane.revision(IDS[0])["environmentVariables"]["API_KEY"]
    args = ["revisions", "diff", llm.id, IDS[0], IDS[3], "-o", "table"]
    masked, unmasked = [
        await ran(llm.control_plane, *args, *more, COLUMNS="160") for more in ([], ["--show-secrets"])
    ]
    assert (key in masked.out, key in unmasked.out) == (False, True)
    assert (masked.err, unmasked.err) == ("*** may hide a secret: --show-secrets shows the values\n", "")
    assert masked.out.splitlines()[0].split() == ["FIELD", "my-llm-00001", "my-llm-00004"]


async def test_diff_of_equal_revisions_says_so(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "diff", llm.id, IDS[3], IDS[3], "-o", "table")
    assert result == Ran(0, "", "my-llm-00004 and my-llm-00004 have the same configuration\n")
    everything = ["revisions", "diff", llm.id, IDS[3], IDS[3], "--all", "-o", "table"]
    assert await ran(llm.control_plane, *everything) == Ran(
        0, "", "my-llm-00004 and my-llm-00004 do not differ\n"
    )
    assert (await ran(llm.control_plane, "revisions", "diff", llm.id, IDS[2], IDS[3], "--all")).out.count(
        "\n"
    ) > 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["list", "nothing"],
            'workload "nothing" not found (there are my-llm)',
        ),
        (["diff", "my-llm", "aaaa", "dddd"], '"aaaa" matches my-llm-00001'),
        (["diff", "my-llm", "ffff", "dddd"], "(see runai-async revisions list my-llm, and --deleted)"),
        (["get", "-w", "my-llm", IDS[0].replace("1", "2")], '" not found in workload "my-llm" ('),
    ],
)
async def test_a_name_that_matches_nothing_or_too_much_is_wrong_usage(
    llm: Llm, args: list[str], message: str
) -> None:
    result = await ran(llm.control_plane, "revisions", *args)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err


OTHER = "7d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"
"""The id of another project."""


async def test_a_name_that_workloads_of_two_projects_have_is_not_guessed(llm: Llm) -> None:
    other = llm.control_plane.add_workload("my-llm", project_id=OTHER, project_name="team-b")
    llm.control_plane.add_revision(other, "Running")
    result = await ran(llm.control_plane, "revisions", "count", "my-llm")
    assert result == Ran(2, "", 'Error: "my-llm" exists in projects team-a and team-b: give -p PROJECT\n')
    for project, number in (("team-a", 2), ("team-b", 1), (OTHER, 1)):
        for flag in ("-p", "--project"):
            found = await ran(llm.control_plane, "revisions", "count", "my-llm", flag, project)
            assert found == Ran(0, f"{number}\n", "")


async def test_the_beginning_of_an_id_that_matches_two_workloads_is_not_enough(llm: Llm) -> None:
    for end in "ab":
        llm.control_plane.add_workload(f"other-{end}", id=f"ffffffff-1111-4111-8111-11111111111{end}")
    result = await ran(llm.control_plane, "revisions", "count", "ffffffff")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert result.err.startswith('Error: "ffffffff" matches other-a (ffffffff-')
    assert result.err.endswith("give more of the id\n")


async def test_projects_of_one_name_are_told_apart_by_their_ids(llm: Llm) -> None:
    llm.control_plane.add_workload("my-llm", project_id=OTHER, project_name="team-a")
    error = (await ran(llm.control_plane, "revisions", "count", "my-llm")).err
    assert OTHER in error
    assert "team-a" not in error


@pytest.mark.parametrize(
    ("name", "project", "message"),
    [
        (
            "my-llm",
            "team-b",
            'workload "my-llm" not found in project "team-b" (it exists in project team-a)',
        ),
        ("emb", "team-b", 'workload "emb" not found in project "team-b" (did you mean "embed"?)'),
        ("my-llm", "team-c", 'project "team-c" has no workloads (did you mean "team-b" or "team-a"?)'),
        ("my-llm", "xyz", 'project "xyz" has no workloads'),
    ],
)
async def test_a_name_that_its_project_lacks_is_not_found(
    llm: Llm, name: str, project: str, message: str
) -> None:
    llm.control_plane.add_workload("embed", project_id=OTHER, project_name="team-b")
    result = await ran(llm.control_plane, "revisions", "list", name, "-p", project)
    assert result == Ran(2, "", f"Error: {message}\n")


async def test_names_that_begin_with_the_text_are_suggested_first(llm: Llm) -> None:
    for name in ("my-llm-with-a-long-name", "my-lln", "ny-ll"):
        llm.control_plane.add_workload(name)
    error = (await ran(llm.control_plane, "revisions", "list", "my-ll")).err
    assert error == (
        'Error: workload "my-ll" not found (did you mean "my-llm", "my-llm-with-a-long-name" or "my-lln"?)\n'
    )


@pytest.mark.parametrize("args", [["my-llm-00004"], ["my-llm-00004", "-p", "team-a"], ["my-llm-00001"]])
async def test_a_revision_s_name_suffices(llm: Llm, args: list[str]) -> None:
    result = await ran(llm.control_plane, "revisions", "get", *args, "-o", "name")
    assert result == Ran(0, f"{args[0]}\n", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-llm-00009", 'revision "my-llm-00009" not found in workload "my-llm" (did you mean'),
        ("my-lmm-00004", 'workload "my-lmm" not found (did you mean "my-llm"?)'),
    ],
)
async def test_a_revision_s_name_that_does_not_exist_is_one_line(llm: Llm, name: str, message: str) -> None:
    result = await ran(llm.control_plane, "revisions", "get", name)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err


async def test_of_two_workloads_of_one_name_in_a_project_the_newest_counts(llm: Llm) -> None:
    other = llm.control_plane.add_workload("my-llm")
    llm.control_plane.add_revision(other, "Running")
    assert await ran(llm.control_plane, "revisions", "count", "my-llm") == Ran(0, "1\n", "")


async def test_an_inference_workload_is_preferred_to_others_of_its_name(llm: Llm) -> None:
    llm.control_plane.add_workload("my-llm", type="Training")
    assert await ran(llm.control_plane, "revisions", "count", "my-llm") == Ran(0, "2\n", "")

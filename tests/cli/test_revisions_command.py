"""`runai-async revisions`: list, count, get, diff."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from attrs import frozen
from support.cli import Ran, ran

from runai_async import Revision, from_json, to_json
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
        now = datetime.now(UTC)
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


async def test_a_table_fits_80_columns_and_is_newest_first(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "table")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert (result.status, result.err) == (0, "")
    assert lines == [
        "ID        NAME          PHASE    PODS  AGE    SINCE  MESSAGE",
        "dddd0000  my-llm-00004  Failed   0/2   1d00h  1h30m  ImagePullBackOff: no such …",
        "bbbb0000  my-llm-00003  Running  2/2   2d00h  2d00h",
    ]


async def test_a_wide_table_has_whole_ids_and_images(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "table", COLUMNS="160")
    heading, newest, _ = result.out.splitlines()
    assert heading.split() == ["ID", "NAME", "PHASE", "PODS", "AGE", "SINCE", "IMAGE", "MESSAGE"]
    assert newest.startswith(f"{IDS[3]}  my-llm-00004  Failed ")
    assert "models.example/llm-server:1.4" in newest


async def test_a_narrow_table_keeps_phase_pods_and_ages(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "table", COLUMNS="48")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert lines[0].split() == ["ID", "NAME", "PHASE", "PODS", "AGE", "SINCE"]
    assert lines[1].startswith("dddd0000  my-llm-")
    assert lines[1].endswith("Failed   0/2   1d00h  1h30m")
    assert max(map(len, lines)) <= 48


async def test_shortened_ids_stay_distinct_and_can_be_used(llm: Llm) -> None:
    near = "bbbb0000-1111-4111-8111-222222222222"
    llm.control_plane.add_revision(llm.id, "Pending", id=near)
    result = await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "table", COLUMNS="100")
    shown = [line.split()[0] for line in result.out.splitlines()[1:]]
    assert shown == ["bbbb0000-1111-4111-8111-2", "dddd0000-1111-4111-8111-1", "bbbb0000-1111-4111-8111-1"]
    for prefix, whole in zip(shown, [near, IDS[3], IDS[2]], strict=True):
        found = await ran(llm.control_plane, "revisions", "get", "-w", "my-llm", prefix, "-o", "jsonl")
        assert json.loads(found.out)["id"] == whole


@pytest.mark.parametrize("named", ["id", "my-llm", "prefix"])
async def test_deleted_revisions_are_listed_on_demand(llm: Llm, named: str) -> None:
    workload = {"id": llm.id, "prefix": llm.id[:9]}.get(named, named)
    result = await ran(llm.control_plane, "revisions", "list", workload, "--deleted", "-o", "table")
    assert [line.split()[:3] for line in result.out.splitlines()] == [
        ["ID", "NAME", "PHASE"],
        ["aaaa1111", "my-llm-00002", "Running"],
        ["aaaa0000", "my-llm-00001", "Stopped"],
    ]
    assert "DELETED" in result.out


async def test_a_pipe_gets_a_line_of_json_for_each_revision(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "list", llm.id)
    assert [json.loads(line) for line in result.out.splitlines()] == [llm.api(IDS[3]), llm.api(IDS[2])]
    assert result == await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "jsonl")


async def test_json_is_complete_and_in_the_api_s_own_shape(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "list", llm.id, "-o", "json")
    assert json.loads(result.out) == {"revisions": [llm.api(IDS[3]), llm.api(IDS[2])]}
    assert "API_KEY" in result.out
    help_text = " ".join((await ran(None, "revisions", "list", "--help")).out.split())
    assert (
        "complete, in the API's own shape: they contain environment, command and arguments, which"
        in help_text
    )


async def test_an_empty_table_is_a_message_on_stderr(llm: Llm) -> None:
    empty = llm.control_plane.add_workload("empty")
    assert await ran(llm.control_plane, "revisions", "list", "empty", "-o", "table") == Ran(
        0, "", "empty has no live revisions\n"
    )
    assert await ran(llm.control_plane, "revisions", "list", empty) == Ran(0, "", "")


@pytest.mark.parametrize(
    ("args", "out"),
    [
        ([], "2\n"),
        (["--deleted"], "2\n"),
        (["-o", "table"], "2\n"),
        (["-o", "json"], '{\n  "count": 2\n}\n'),
        (["-o", "jsonl"], '{"count":2}\n'),
    ],
)
async def test_count_prints_a_number(llm: Llm, args: list[str], out: str) -> None:
    assert await ran(llm.control_plane, "revisions", "count", llm.id, *args) == Ran(0, out, "")


async def test_get_sends_one_request(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "get", IDS[3], "-o", "json")
    assert json.loads(result.out) == llm.api(IDS[3])
    assert [request.path for request in llm.control_plane.requests] == [
        f"/api/v1/workloads/inferences/revisions/{IDS[3]}"
    ]


async def test_get_shows_facts_and_conditions_but_no_secrets(llm: Llm) -> None:
    result = await ran(llm.control_plane, "revisions", "get", IDS[3], "-o", "table")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert lines[0] == "Name         my-llm-00004"
    assert "Message      ImagePullBackOff: no such image" in lines
    assert "Pods         0/2 running" in lines
    assert "Ready             Unknown  Deploying  the revision is being rolled out" in lines
    assert max(map(len, lines)) <= 80
    assert "API_KEY" not in result.out
    assert "tensor-parallel" not in result.out


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
        result = await ran(llm.control_plane, "revisions", "diff", "my-llm", old, new)
        assert [json.loads(line) for line in result.out.splitlines()] == expected


async def test_diff_shows_secrets_only_on_demand(llm: Llm) -> None:
    key = llm.control_plane.revision(IDS[0])["environmentVariables"]["API_KEY"]
    args = ["revisions", "diff", llm.id, IDS[0], IDS[3], "-o", "table"]
    masked, unmasked = [
        await ran(llm.control_plane, *args, *more, COLUMNS="160") for more in ([], ["--show-secrets"])
    ]
    assert (key in masked.out, key in unmasked.out) == (False, True)
    assert (masked.err, unmasked.err) == ("*** may hide a secret: --show-secrets shows the values\n", "")
    assert "my-llm-00001" in masked.out.splitlines()[1]


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
            "no workload has the name 'nothing', or an id that starts with it; there are my-llm",
        ),
        (["diff", "my-llm", "aaaa", "dddd"], "'aaaa' matches my-llm-00001"),
        (["diff", "my-llm", "ffff", "dddd"], "revisions list my-llm (and --deleted)"),
        (["get", "-w", "my-llm", IDS[0].replace("1", "2")], "my-llm has no revision '"),
    ],
)
async def test_a_name_that_matches_nothing_or_too_much_is_wrong_usage(
    llm: Llm, args: list[str], message: str
) -> None:
    result = await ran(llm.control_plane, "revisions", *args)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err


async def test_a_name_that_workloads_of_two_projects_have_is_not_guessed(llm: Llm) -> None:
    other = llm.control_plane.add_workload("my-llm", project_id="7d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d")
    result = await ran(llm.control_plane, "revisions", "count", "my-llm")
    assert result.status == 2
    assert f"'my-llm' matches my-llm ({llm.id}), my-llm ({other}): give the whole UUID" in result.err


async def test_of_two_workloads_of_one_name_in_a_project_the_newest_counts(llm: Llm) -> None:
    other = llm.control_plane.add_workload("my-llm")
    llm.control_plane.add_revision(other, "Running")
    assert await ran(llm.control_plane, "revisions", "count", "my-llm") == Ran(0, "1\n", "")


async def test_an_inference_workload_is_preferred_to_others_of_its_name(llm: Llm) -> None:
    llm.control_plane.add_workload("my-llm", type="Training")
    assert await ran(llm.control_plane, "revisions", "count", "my-llm") == Ran(0, "2\n", "")

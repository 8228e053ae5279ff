"""The report of `runai-async rollout status --junit`."""

import re
import signal
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.cli import finished, polled, ran, started

from runai_async.cli.ids import WorkloadRef
from runai_async.cli.junit import junit_xml
from runai_async.cli.rollouts import Rollout, rollouts_of
from runai_async.errors import RolloutFailedError
from runai_async.testing import FakeControlPlane

FAST = ["--interval", "20ms"]
NO_IMAGE = "Back-off pulling image llm:2"
Add = Callable[..., str]


@pytest.fixture
def add(control_plane: FakeControlPlane) -> Add:
    """Return a function that adds a workload with one revision, and returns the id of the revision."""

    def add(name: str, phase: str = "Running", **fields: object) -> str:
        long_ago = datetime.now(UTC) - timedelta(minutes=2)
        workload_id = control_plane.add_workload(name)
        return control_plane.add_revision(workload_id, phase, phase_updated_at=long_ago, **fields)

    return add


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.xml"


def suite_of(path: Path) -> ET.Element:
    """Return the only suite of a report, whose numbers are those of the root."""
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    (suite,) = root
    assert (root.tag, suite.tag, suite.get("name")) == (
        "testsuites",
        "testsuite",
        "runai-async rollout status",
    )
    assert {name: suite.get(name) for name in root.attrib} == root.attrib
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    for number, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert suite.get(number) == str(len(suite.findall(f"testcase/{tag}")))
    for item in (suite, *cases):
        assert re.fullmatch(r"\d+\.\d{3}", item.get("time", ""))
    return suite


def cases(path: Path) -> dict[str, tuple[str, str]]:
    """Return the element, and its message, in each test case by the name of that."""
    found = {}
    for case in suite_of(path).findall("testcase"):
        problem = next(iter(case), None)
        what = ("passed", "") if problem is None else (problem.tag, problem.get("message", ""))
        found[f"{case.get('classname')}/{case.get('name')}"] = what
    return found


async def test_each_workload_is_a_test_case(control_plane: FakeControlPlane, add: Add, path: Path) -> None:
    add("chat")
    control_plane.add_event(add("embed", "Failed"), reason="BackOff", message=NO_IMAGE)
    add("rank", "Pending", phase_message="waiting for 2 GPUs")
    control_plane.add_workload("idle")
    args = ["--all", "--timeout", "1500ms", "--junit", str(path)]
    result = await ran(control_plane, "rollout", "status", *args, *FAST)
    assert result.status == 1
    assert cases(path) == {
        "team-a/chat": ("passed", ""),
        "team-a/embed": ("failure", f"embed-00001 is Failed: BackOff: {NO_IMAGE}"),
        "team-a/rank": ("error", "rank-00001 is Pending: waiting for 2 GPUs"),
        "team-a/idle": ("skipped", "the workload has no revisions"),
    }
    suite = suite_of(path)
    types = [item.get("type") for item in suite.findall("testcase/*")]
    assert sorted(types, key=str) == ["failed", "timed out", "without revisions"]
    text = suite.findtext("testcase/failure") or ""
    assert text.startswith("the rollout failed: revision embed-00001 (")
    assert "\nrevision embed-00001 is Failed\n" in text
    assert f"why: BackOff: {NO_IMAGE}" in text


@pytest.mark.parametrize("by_name", [True, False])
async def test_a_single_workload_has_one_too(
    control_plane: FakeControlPlane, add: Add, path: Path, by_name: bool
) -> None:
    revision_id = add("chat")
    workload_id = control_plane.revision(revision_id)["workloadId"]
    given = "chat" if by_name else workload_id
    result = await ran(control_plane, "rollout", "status", given, "--junit", str(path), *FAST)
    assert (result.status, result.err) == (0, "")
    project = "team-a" if by_name else control_plane.revision(revision_id)["projectId"]
    assert cases(path) == {f"{project}/{given}": ("passed", "")}


async def test_a_single_failure_and_a_timeout_are_reported(
    control_plane: FakeControlPlane, add: Add, path: Path
) -> None:
    control_plane.add_event(add("chat", "Failed"), reason="BackOff", message=NO_IMAGE)
    add("rank", "Pending", phase_message="waiting for 2 GPUs")
    for name, status, what in (
        ("chat", 1, ("failure", f"chat-00001 is Failed: BackOff: {NO_IMAGE}")),
        ("rank", 3, ("error", "rank-00001 is Pending: waiting for 2 GPUs")),
    ):
        args = [name, "--timeout", "1500ms", "--junit", str(path)]
        assert (await ran(control_plane, "rollout", "status", *args, *FAST)).status == status
        assert cases(path) == {f"team-a/{name}": what}


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["no-such"], ["no-such"]),
        (["chat", "no-such"], ["chat", "no-such"]),
        (["--all", "-p", "team-z"], ["all inference workloads"]),
    ],
)
async def test_what_was_not_found_is_an_error_of_each_that_was_given(
    control_plane: FakeControlPlane, add: Add, path: Path, args: list[str], names: list[str]
) -> None:
    add("chat")
    result = await ran(control_plane, "rollout", "status", *args, "--junit", str(path))
    assert result.status == 2
    project = "team-z" if "-p" in args else "unknown project"
    text = result.err.removeprefix("Error: ").rstrip("\n")
    assert cases(path) == {f"{project}/{name}": ("error", text) for name in names}


@pytest.mark.parametrize("args", [["chat", "embed"], pytest.param(["chat"], marks=pytest.mark.slow)])
async def test_a_cancelled_gate_writes_its_report(
    control_plane: FakeControlPlane, add: Add, path: Path, args: list[str]
) -> None:
    for name in ("chat", "embed"):
        add(name, "Pending")
    async with started(control_plane, "rollout", "status", *args, "--junit", str(path), *FAST) as process:
        await polled(control_plane, 3)
        process.send_signal(signal.SIGTERM)
        assert (await finished(process)).status == 143
    assert cases(path) == {f"team-a/{name}": ("error", "cancelled; the rollout goes on") for name in args}


# --- the file ---------------------------------------------------------------------------------------------


async def test_the_file_has_the_usual_mode(
    control_plane: FakeControlPlane, add: Add, path: Path, tmp_path: Path
) -> None:
    add("chat")
    await ran(control_plane, "rollout", "status", "chat", "--junit", str(path))
    usual = tmp_path / "usual"
    usual.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["report.xml", "usual"]


@pytest.mark.parametrize("name", ["missing/report.xml", "file/report.xml"])
async def test_a_folder_that_cannot_be_written_is_an_error_before_the_wait(
    control_plane: FakeControlPlane, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    result = await ran(control_plane, "rollout", "status", "chat", "--junit", str(tmp_path / name))
    assert (result.status, result.out, len(control_plane.requests)) == (2, "", 0)
    assert result.err.startswith(f"Error: --junit {tmp_path / name} cannot be written: N")


@pytest.mark.parametrize(("phase", "status"), [("Running", 2), ("Failed", 1)])
async def test_a_report_that_cannot_be_written_at_the_end_hides_no_failure(
    control_plane: FakeControlPlane,
    add: Add,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    status: int,
) -> None:
    monkeypatch.setattr("runai_async.cli.report.check_replaceable", lambda *_: None)
    add("chat", phase)
    path.parent.rmdir()
    result = await ran(control_plane, "rollout", "status", "chat", "--junit", str(path))
    assert result.status == status
    text = f"--junit {path} cannot be written: No such file or directory"
    prefix = "Error" if phase == "Running" else "runai-async: warning"
    assert f"{prefix}: {text}" in result.err.splitlines()


# --- its texts --------------------------------------------------------------------------------------------


def written(*rollouts: Rollout, secret: str = "hunter2") -> ET.Element:
    text = junit_xml(
        rollouts,
        began_at=datetime(2026, 1, 1, tzinfo=UTC),
        seconds=1.5,
        masked=lambda text: text.replace(secret, "***"),
    )
    return ET.fromstring(text.encode())


def test_what_xml_cannot_hold_is_left_out() -> None:
    odd = "a\x00b\x1b[31mc\ud800d\ufffee\U0001f600<&\"'>]]>\n\tf"
    (item,) = rollouts_of([WorkloadRef("w1", odd, odd)])
    item.end(1.0, RolloutFailedError(odd))
    (case,) = written(item).iter("testcase")
    assert case.get("name") == "a b [31mc d e\U0001f600<&\"'>]]> f"
    (failure,) = case
    for text in (failure.get("message"), failure.text):
        assert text is not None
        assert "\U0001f600<&\"'>]]> f" in text
        assert not re.search("[\x00\x1b\ud800\ufffe]", text)


def test_what_no_line_is_made_of_is_left_out_too() -> None:
    (item,) = rollouts_of([WorkloadRef("w\x00\x1b\ud800\ufffe1")])
    (case,) = written(item).iter("testcase")
    assert case.get("name") == "w1"


def test_secrets_are_masked() -> None:
    (item,) = rollouts_of([WorkloadRef("w1", "chat", "team-a")])
    item.end(1.0, RolloutFailedError("token hunter2 was refused"))
    root = written(item)
    assert "hunter2" not in ET.tostring(root, encoding="unicode")
    assert "token *** was refused" in ET.tostring(root, encoding="unicode")


async def test_so_is_the_token_in_a_message(control_plane: FakeControlPlane, add: Add, path: Path) -> None:
    add("chat", "Failed", phase_message=f"denied: {control_plane.token}")
    result = await ran(control_plane, "rollout", "status", "chat", "--junit", str(path))
    assert result.status == 1
    assert control_plane.token not in path.read_text(encoding="utf-8")
    assert "denied: ***" in path.read_text(encoding="utf-8")

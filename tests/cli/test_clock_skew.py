"""Ages go by the server's clock, however wrong one of the two is."""

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta

import click
import pytest
from support.cli import ran
from support.clocks import far_east
from support.terminals import a_terminal

from runai_async import RunaiClient
from runai_async.cli.skew import SkewWarning
from runai_async.cli.views.terminal import LiveView
from runai_async.client import server_time
from runai_async.testing import FakeControlPlane

HOURS = [2, -2]


def skewed(hours: float) -> FakeControlPlane:
    """Return a control plane whose clock is ahead of this machine's."""
    return FakeControlPlane(clock=lambda: datetime.now(UTC) + timedelta(hours=hours))


@pytest.mark.parametrize("hours", HOURS)
@pytest.mark.parametrize(
    ("command", "age"), [("revisions list llm", r"  10m  10m\n$"), ("workloads list", r"  [01]s\n$")]
)
async def test_ages_are_right_with_either_clock_wrong(hours: float, command: str, age: str) -> None:
    async with skewed(hours) as control_plane:
        workload_id = control_plane.add_workload("llm")
        created = datetime.now(UTC) + timedelta(hours=hours, minutes=-10, seconds=-5)
        control_plane.add_revision(workload_id, "Running", created_at=created, phase_updated_at=created)
        result = await ran(control_plane, *command.split(), "--no-headers")
        side = "ahead of" if hours > 0 else "behind"
        assert re.fullmatch(
            rf"runai-async: warning: the control plane's clock is (2h00m|1h59m) {side} this machine's; "
            r"ages are by its clock\n",
            result.err,
        )
        assert re.search(age, result.out)


@pytest.mark.parametrize("hours", HOURS)
@pytest.mark.parametrize(
    ("command", "age"),
    [
        ("describe llm", r"Running for 10m,"),
        ("watch llm -n 1 -o table", r"exists: Running for 10m  "),
    ],
)
async def test_ages_in_lines_are_by_the_server_s_clock(hours: float, command: str, age: str) -> None:
    async with skewed(hours) as control_plane:
        workload_id = control_plane.add_workload("llm")
        created = datetime.now(UTC) + timedelta(hours=hours, minutes=-10, seconds=-5)
        control_plane.add_revision(workload_id, "Running", created_at=created, phase_updated_at=created)
        assert re.search(age, (await ran(control_plane, *command.split())).out)


@pytest.mark.parametrize("hours", HOURS)
async def test_a_timeline_is_not_empty_where_the_server_is_ahead(hours: float) -> None:
    async with skewed(hours) as control_plane:
        workload_id = control_plane.add_workload("llm")
        created = datetime.now(UTC) + timedelta(hours=hours, minutes=-10, seconds=-5)
        control_plane.add_revision(workload_id, "Running", created_at=created, phase_updated_at=created)
        result = await ran(control_plane, "timeline", "llm", "--since", "1h", "-o", "table")
        assert "Running 10m" in result.out


async def test_the_skew_is_said_once_by_a_watch() -> None:
    async with skewed(1) as control_plane:
        control_plane.add_revision(control_plane.add_workload("llm"), "Running")
        result = await ran(
            control_plane, "watch", "llm", "--interval", "20ms", "--timeout", "300ms", "-o", "json"
        )
        assert result.err.count("the control plane's clock is") == 1


async def test_the_live_view_says_the_skew_among_its_events() -> None:
    async with skewed(1) as control_plane:
        control_plane.add_revision(control_plane.add_workload("llm"), "Running")
        with a_terminal() as terminal:
            view = LiveView(terminal.console(), "Revisions of llm")
            skew, context = SkewWarning(), click.Context(click.Command("watch"))
            async with RunaiClient(control_plane.url, control_plane.token, hooks=[skew]) as runai:
                skew.time = server_time(runai)
                with pytest.MonkeyPatch.context() as patch, context:
                    patch.setattr(sys, "stderr", terminal.file)
                    patch.setattr(sys, "stdin", terminal.file)
                    async with view.live():
                        while "q quit" not in terminal.written():
                            await asyncio.sleep(0.001)
                        assert [item.name async for item in runai.list_workloads()] == ["llm"]
                        while "the control plane's clock is" not in terminal.written():
                            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("command", "zone"), [("revisions get llm-00001 -o table", 2), ("timeline llm -o table", 2)]
)
async def test_absolute_times_are_in_utc_or_in_the_zone_of_this_machine(command: str, zone: int) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("llm"), "Running")
        with far_east():
            utc, local = [await ran(control_plane, *command.split(), *flag) for flag in ([], ["--local"])]
        assert len(re.findall(r"\d\d:\d\d:\d\dZ", utc.out)) == zone
        assert len(re.findall(r"\d\d:\d\d:\d\d\+13:00", local.out)) == zone


@pytest.mark.parametrize("seconds", [0, 3, -3])
async def test_a_small_skew_is_not_worth_a_line(seconds: float) -> None:
    async with skewed(seconds / 3600) as control_plane:
        control_plane.add_revision(control_plane.add_workload("llm"), "Running")
        assert (await ran(control_plane, "revisions", "list", "llm")).err == ""


async def test_a_slow_response_is_not_taken_for_skew() -> None:
    async with skewed(4 / 3600) as control_plane:
        workload_id = control_plane.add_workload("llm")
        control_plane.fault("latency", seconds=1.6)
        assert (await ran(control_plane, "revisions", "count", workload_id)).err == ""

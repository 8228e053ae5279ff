"""Ages go by the server's clock, however wrong one of the two is."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from support.cli import ran

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

"""The stories of benchmarks.fleet at a fiftieth of their size and time, each in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@pytest.mark.parametrize(
    "story", ["steady", "kill", "trouble", "follow", pytest.param("sleep", marks=needs_proc)]
)
def test_a_story_ends_as_expected(story: str) -> None:
    printed_by(story)


def test_what_a_fleet_asks_of_a_control_plane_is_measured_beside_a_loop() -> None:
    rows = [line.split(" | ") for line in printed_by("neighbour").splitlines() if line.startswith("| ")]
    assert [row[2] for row in rows[2:]] == ["loop", "fleet"] * 6


def test_what_a_fleet_of_a_size_costs_is_measured() -> None:
    rows = [line.split(" | ") for line in printed_by("size").splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[2:]] == ["| 20", "| 200", "| 1,000"]


@pytest.mark.timeout(240)
def test_what_hints_save_is_measured_beside_a_fleet_without_them() -> None:
    rows = [line.split(" | ") for line in printed_by("hints").splitlines() if line.startswith("| ")]
    assert [row[2] for row in rows[2:]] == ["without hints", "follow", "silent", "noisy"]


def printed_by(story: str) -> str:
    """Run a story and return what it prints."""
    command = [sys.executable, "-m", "benchmarks.fleet", story, "--scale", "50"]
    mine = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    ran = subprocess.run(command, cwd=ROOT, env=mine, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout  # stderr names what is not as expected
    return ran.stdout

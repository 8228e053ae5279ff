"""A fleet for a minute, against a control plane that is slow, fails and restarts on a schedule."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_nothing_grows_and_the_stream_is_complete() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "1", "--interval", "1", "--json"]
    mine = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    ran = subprocess.run(
        [*command, "--workloads", "150"], cwd=ROOT, env=mine, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")  # stderr names what is not as expected
    figures = json.loads(ran.stdout)
    assert figures["warnings"] >= figures["outages"] == 8
    assert figures["events"] > 500
    assert figures["deletions"] > 50

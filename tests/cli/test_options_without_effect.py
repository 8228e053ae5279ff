"""An option that would have no effect is an error that says why, before any request."""

import pytest
from support.cli import ran

from runai_async.testing import FakeControlPlane

IDS = ("5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11", "5B7AD5A44F2C4C0AB63B0D4C1E9F7C12")
NEVER_AGAIN = (
    "--discovery-interval has no effect on workloads given by their ids: they are not looked up again"
)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["watch", *IDS, "--discovery-interval", "1m"], NEVER_AGAIN),
        (["exporter", *IDS[:1], "--discovery-interval", "1m"], NEVER_AGAIN),
        (["revisions", "list", "chat", "--interval", "10s"], "--interval requires --watch"),
        (["workloads", "list", "--interval", "5s"], "--interval requires --watch"),
        (["timeline", "chat", "--svg", "a.svg", "-o", "json"], "give --svg or --output, not both"),
    ],
)
async def test_it_is_rejected(control_plane: FakeControlPlane, args: list[str], reason: str) -> None:
    result = await ran(control_plane, *args)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"Error: {reason}")
    assert len(control_plane.requests) == 0


async def test_a_name_beside_ids_is_looked_up_again(control_plane: FakeControlPlane) -> None:
    ids = [control_plane.add_workload(name) for name in ("chat", "embed")]
    control_plane.add_revision(ids[0], "Running")
    args = ["watch", "chat", ids[1], "--discovery-interval", "1s", "--interval", "30ms", "-n", "1"]
    assert (await ran(control_plane, *args)).status == 0

"""What happens on the demo's control plane: a rollout that succeeds, one that fails, and an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from runai_async.testing import FakeControlPlane

CHAT, EMBED = "chat", "embed"
"""The names of the two workloads."""

_PHASES = ("Creating", "Initializing", "Pending")
"""The phases of a rollout before its last one."""
_NO_IMAGE = "ImagePullBackOff: models.example/embed:2 is not in the registry"
_UPGRADE = {"code": 503, "message": "the control plane is being upgraded"}

Narrate = Callable[[str], None]
"""Called with what happens next on the control plane."""


def furnish(control_plane: FakeControlPlane) -> dict[str, str]:
    """Add the two workloads, each with one revision that serves; return their names by id."""
    names: dict[str, str] = {}
    for name, age in ((CHAT, timedelta(days=3)), (EMBED, timedelta(hours=5))):
        workload_id = control_plane.add_workload(name)
        since = datetime.now(UTC) - age
        control_plane.add_revision(workload_id, "Running", created_at=since, phase_updated_at=since)
        names[workload_id] = name
    return names


async def play(control_plane: FakeControlPlane, names: dict[str, str], pace: float, narrate: Narrate) -> None:
    """Play the story; at *pace* 1 it takes about 14 seconds."""
    ids = {name: workload_id for workload_id, name in names.items()}
    await asyncio.sleep(1.5 * pace)
    narrate(f"A new revision of {CHAT} is rolled out and replaces the old one.")
    await control_plane.roll_out(ids[CHAT], phases=(*_PHASES, "Running"), step=1.1 * pace, retire_old=True)
    await asyncio.sleep(0.8 * pace)
    narrate(f"A new revision of {EMBED} is rolled out; its image does not exist.")
    await control_plane.roll_out(ids[EMBED], phases=(*_PHASES, "Failed"), step=0.8 * pace, message=_NO_IMAGE)
    await asyncio.sleep(1.2 * pace)
    await _outage(control_plane, ids[EMBED], pace, narrate)


async def _outage(control_plane: FakeControlPlane, workload_id: str, pace: float, narrate: Narrate) -> None:
    """Let the rollout of a better revision begin unseen."""
    narrate(f"The control plane responds with 503 only, while a better revision of {EMBED} is rolled out.")
    control_plane.fail_next(None, 503, body=_UPGRADE)
    phases = (*_PHASES, "Running")
    rollout = asyncio.create_task(control_plane.roll_out(workload_id, phases=phases, step=1.4 * pace))
    try:
        await asyncio.sleep(2.2 * pace)
        narrate("The control plane responds normally again.")
        control_plane.clear_faults()
        await rollout
    finally:
        rollout.cancel()

"""`runai-async fake`: a fake control plane to try things on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import click

from runai_async.cli.exits import InputError
from runai_async.cli.options import DURATION, examples
from runai_async.cli.run import run, until_terminated
from runai_async.testing import FakeControlPlane

_NAME = "sample-llm"
_FAILS_EVERY = 4
_KEPT = 20
"""Revisions that are kept; older ones are purged."""
_LIFETIME = 30 * 86400.0
_PHASES = ("Creating", "Initializing", "Pending")
_NO_IMAGE = "ImagePullBackOff: the image was not found in the registry"
_PULL = 'Failed to pull image "models.example/llm-server:2": manifest unknown'


@click.command(
    epilog=examples(
        "runai-async fake --port 8080 --every 30s",
        "runai-async fake --port 8080 > fake.env &",
        "until grep -q REVISION fake.env; do sleep 0.1; done",
        ". ./fake.env && runai-async watch $WORKLOAD",
    )
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; by default, any free one.")
@click.option("--every", type=DURATION, default="20s", show_default=True, help="The time between rollouts.")
@click.option(
    "--rollouts", type=click.IntRange(min=0), help="Stop rolling out after this number of rollouts."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The seed of the ids and credentials.")
def fake(port: int, every: float, rollouts: int | None, seed: int) -> None:
    """Serve a fake control plane to try things on.

    It listens on loopback and has a workload that keeps rolling out; every fourth rollout fails. Its output
    can be pasted into a shell, or read by one. Ctrl-C ends it; restarted on the same port, it has the same
    ids and credentials, so that a client continues as after an outage.
    """
    with until_terminated():
        run(serve(port, every, rollouts, seed, click.echo))


async def serve(
    port: int, every: float, rollouts: int | None, seed: int, print_line: Callable[[str], None]
) -> None:
    """Serve until cancelled.

    Args:
        port: 0 for any free one.
        every: seconds between rollouts.
        rollouts: the number of rollouts; None for no end.
        seed: the seed of the ids and credentials.
        print_line: called with each line to print.

    Raises:
        InputError: the port cannot be used.
    """
    control_plane = FakeControlPlane(port, seed=seed, token_lifetime=_LIFETIME)
    try:
        await control_plane.start()
    except OSError as error:
        raise InputError(f"cannot listen on port {port}: {error.strerror}; try another --port") from error
    try:
        workload_id = control_plane.add_workload(_NAME)
        revision_id = control_plane.add_revision(workload_id, "Running")
        _introduce(control_plane, workload_id, revision_id, print_line)
        await _keep_rolling(control_plane, workload_id, every, rollouts)
    finally:
        await control_plane.stop()


def _introduce(
    control_plane: FakeControlPlane, workload_id: str, revision_id: str, print_line: Callable[[str], None]
) -> None:
    for line in (
        f"# A fake control plane at {control_plane.url}; Ctrl-C ends it.",
        f"export RUNAI_BASE_URL={control_plane.url}",
        f"export RUNAI_CLIENT_ID={control_plane.client_id}",
        f"export RUNAI_CLIENT_SECRET={control_plane.client_secret}",
        "unset RUNAI_TOKEN",
        f"export WORKLOAD={workload_id}    # {_NAME}",
        f"export REVISION={revision_id}    # its first revision",
    ):
        print_line(line)


async def _keep_rolling(
    control_plane: FakeControlPlane, workload_id: str, every: float, rollouts: int | None
) -> None:
    revision_ids: list[str] = []
    for number in itertools.count(1) if rollouts is None else range(1, rollouts + 1):
        await asyncio.sleep(every / 2)
        fails = number % _FAILS_EVERY == 0
        revision_ids.append(
            await control_plane.roll_out(
                workload_id,
                phases=(*_PHASES, "Failed" if fails else "Running"),
                step=every / 6,
                message=_NO_IMAGE if fails else None,
                retire_old=not fails,
                name=f"{_NAME}-{number + 1:05d}",
            )
        )
        if fails:
            control_plane.add_event(revision_ids[-1], reason="Failed", message=_PULL, count=3)
        if len(revision_ids) > _KEPT:
            control_plane.purge_revision(revision_ids.pop(0))
    await asyncio.Event().wait()

"""Commands as processes of their own, while services behind the control plane restart."""

import asyncio
import json
import re
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping

import pytest
from support.cli import finished, polled, started
from support.metrics import get

from runai_async.testing import FakeControlPlane

pytestmark = pytest.mark.slow

FAST = ["--interval", "100ms"]
Restart = Callable[[FakeControlPlane], None]


def with_credentials(control_plane: FakeControlPlane) -> Mapping[str, str]:
    """Return the variables of a command that fetches its tokens."""
    secret = {"RUNAI_CLIENT_ID": control_plane.client_id, "RUNAI_CLIENT_SECRET": control_plane.client_secret}
    return {"RUNAI_BASE_URL": control_plane.url, **secret}


def identity_restarts(control_plane: FakeControlPlane) -> None:
    control_plane.restart_identity(1)


def authorization_restarts(control_plane: FakeControlPlane) -> None:
    control_plane.restart_authorization(1)


def read_model_restarts(control_plane: FakeControlPlane) -> None:
    control_plane.restart_read_model(1, missing=True)


async def port_of(process: Process) -> int:
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    found = re.search(r":(\d+)/metrics", line)
    assert found, line
    return int(found[1])


async def until_exported(port: int, phase: str) -> None:
    async with asyncio.timeout(30):
        while f'phase="{phase}"' not in (await get(port, "/metrics"))[2]:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("restart", [identity_restarts, authorization_restarts, read_model_restarts])
async def test_commands_go_on_and_report_what_changed_meanwhile(restart: Restart) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("my-llm")
        revision_id = control_plane.add_revision(workload_id, "Pending")
        env = with_credentials(control_plane)
        async with (
            started(None, "watch", workload_id, *FAST, "-n", "2", env=env) as watch,
            started(None, "exporter", workload_id, *FAST, "--listen", "127.0.0.1:0", env=env) as exporter,
            started(None, "rollout", "status", workload_id, *FAST, env=env) as rollout,
        ):
            port = await port_of(exporter)
            await until_exported(port, "Pending")
            assert watch.stdout is not None
            assert json.loads(await watch.stdout.readline())["event"] == "added"
            assert rollout.stdout is not None
            assert b"rollout of" in await rollout.stdout.readline()
            await polled(control_plane, times=10)
            restart(control_plane)
            control_plane.set_phase(revision_id, "Running")

            seen, done = await asyncio.gather(finished(watch), finished(rollout))
            await until_exported(port, "Running")
            assert exporter.returncode is None

    (line,) = [json.loads(text) for text in seen.out.splitlines()]
    assert (seen.status, line["event"], line["revision"]["phase"]) == (0, "phase_changed", "Running")
    assert done.status == 0
    assert done.out.endswith("the rollout is done: my-llm-00001 serves\n")


@pytest.mark.slow  # three polls have to fail, each of which tries the token again 1 s and 3 s later
@pytest.mark.parametrize("command", [["watch"], ["rollout", "status"]])
async def test_a_token_that_stays_refused_ends_a_command_with_status_4(command: list[str]) -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("my-llm")
        control_plane.add_revision(workload_id, "Pending")
        brief = [*FAST, "--max-outage", "1s"]
        async with started(
            None, *command, workload_id, *brief, env=with_credentials(control_plane)
        ) as process:
            await polled(control_plane, times=4)
            control_plane.restart_identity(3600)
            result = await finished(process)

    assert result.status == 4
    assert "token" in result.err.splitlines()[-1]

"""`runai-async fake`: a control plane on a port, and what it prints to reach it."""

import asyncio
import json
import re
import signal
import socket

from support.cli import finished, ran, started
from support.ports import lasting_port

from runai_async import RunaiClient
from runai_async.cli.commands.fake import serve


def exported(text: str) -> dict[str, str]:
    return dict(re.findall(r"([A-Z_]+)=(\S+)", text))


async def introduction(lines: asyncio.StreamReader) -> dict[str, str]:
    """Read what can be pasted into a shell."""
    found: dict[str, str] = {}
    while "REVISION" not in found:
        line = (await asyncio.wait_for(lines.readline(), 10)).decode()
        assert line.startswith(("#", "export ", "unset "))
        assert len(line.rstrip()) <= 80  # a terminal would wrap it
        found |= exported(line)
    return found


async def test_its_output_configures_another_command() -> None:
    async with started(None, "fake", "--every", "200ms", "--rollouts", "1") as process:
        assert process.stdout is not None
        env = await introduction(process.stdout)
        result = await ran(
            None, "rollout", "status", "sample-llm", "--after", env["REVISION"], "--interval", "50ms", **env
        )
        assert result.status == 0
        assert result.out.endswith("serves\n")
        process.send_signal(signal.SIGINT)
        ended = await finished(process)
    assert (ended.status, ended.out, ended.err) == (130, "", "")


async def test_every_fourth_rollout_fails_and_old_revisions_go() -> None:
    lines: list[str] = []
    serving = asyncio.create_task(serve(0, 0.012, 30, 1, lines.append))
    try:
        while len(lines) < 7:
            await asyncio.sleep(0.01)
        env = exported("\n".join(lines))
        async with RunaiClient.from_env(environ=env) as runai:
            phases: dict[str, str] = {}
            known, live = 0, set[str]()
            while phases.get("sample-llm-00031") != "Running":
                revisions = await runai.list_revisions(env["WORKLOAD"])
                live = {item.name for item in revisions}
                revisions += await runai.list_revisions(env["WORKLOAD"], deleted=True)
                phases |= {item.name: item.phase for item in revisions}
                known = max(known, len(revisions))
                await asyncio.sleep(0.005)
            assert live == {"sample-llm-00031"}
            assert 20 <= known <= 24
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert {name for name, phase in phases.items() if phase == "Failed"} == {
        f"sample-llm-{number:05d}" for number in (5, 9, 13, 17, 21, 25, 29)
    }


async def test_a_restart_on_the_same_port_keeps_ids_and_credentials() -> None:
    command = ["fake", "--rollouts", "0", "--port", str(lasting_port())]
    async with started(None, *command) as process:
        assert process.stdout is not None
        env = await introduction(process.stdout)
    async with started(None, *command) as process:
        assert process.stdout is not None
        assert await introduction(process.stdout) == env
        result = await ran(None, "revisions", "get", env["REVISION"], "-o", "json", **env)
    assert (result.status, result.err) == (0, "")
    assert json.loads(result.out)["workloadId"] == env["WORKLOAD"]


async def test_a_port_in_use_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = await ran(None, "fake", "--port", str(port))
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert f"cannot listen on port {port}: " in result.err
    assert result.err.endswith("; try another --port\n")

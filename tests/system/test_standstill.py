"""A process that is stopped for longer than it has patience continues when it is continued."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import runai_async
from runai_async.testing import FakeControlPlane

WATCHES = """
import asyncio, sys
from runai_async import PollPolicy, RunaiClient

async def main():
    poll = PollPolicy(interval=0.1, deadline=0.5, max_outage=1)
    async with RunaiClient(sys.argv[1], sys.argv[2]) as runai:
        async def watch():
            async for event in runai.watch_revisions(sys.argv[3], poll=poll):
                print("watch", event.kind, flush=True)
        async def fleet():
            async with runai.watch_fleet([sys.argv[3]], poll=poll) as events:
                async for event in events:
                    print("fleet", event.kind, flush=True)
        async def wait():
            print("wait", (await runai.wait_for_rollout(sys.argv[3], poll=poll)).phase, flush=True)
        await asyncio.gather(watch(), fleet(), wait())

asyncio.run(main())
"""


async def test_a_process_stopped_within_a_poll_goes_on_when_it_is_continued(
    control_plane: FakeControlPlane,
) -> None:
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id, "Pending")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WATCHES, control_plane.url, control_plane.token, workload_id),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(runai_async.__file__).parents[1])},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = {await process.stdout.readline() for _ in range(2)}
            assert first == {b"watch added\n", b"fleet added\n"}
            control_plane.latency = 0.2  # so that every poll is in flight for most of its interval
            await asyncio.sleep(0.3)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2)
            process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.3)
            control_plane.latency = 0.0
            control_plane.set_phase(revision_id, "Running")
            rest = {await process.stdout.readline() for _ in range(3)}
            assert rest == {b"watch phase_changed\n", b"fleet phase_changed\n", b"wait Running\n"}
    finally:
        process.kill()
        await process.wait()

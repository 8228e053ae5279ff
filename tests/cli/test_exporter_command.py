"""`runai-async exporter`: from a workload's name to a scrape, and how it ends."""

import asyncio
import re
import signal
import socket
import sys
from asyncio.subprocess import Process
from datetime import UTC, datetime, timedelta

import pytest
from support.cli import Ran, finished, ran, started
from support.metrics import Series, get, names, series, values

from runai_async import RunaiClient
from runai_async.cli.commands.exporter import _query
from runai_async.exporter import Metrics
from runai_async.testing import FakeControlPlane

LISTEN = ["--listen", "127.0.0.1:0", "--interval", "30ms"]


async def serving(process: Process) -> tuple[int, str]:
    """Wait until the exporter serves; return the port, and how long the polls may fail."""
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    found = re.fullmatch(
        r"serving http://127\.0\.0\.1:(\d+)/metrics, /healthz, /livez and /readyz "
        r"\(503 after (.*) without a successful poll\)\n",
        line,
    )
    assert found, line + (await process.stderr.read()).decode()
    return int(found[1]), found[2]


async def port_of(process: Process) -> int:
    """Wait until the exporter serves; return the port."""
    return (await serving(process))[0]


async def scraped(port: int) -> Series:
    return series((await get(port, "/metrics"))[2])


async def phases(port: int) -> set[tuple[str, str, str]]:
    """Return workload, revision and phase of all revisions in a scrape."""
    found = [dict(labels) for name, labels in await scraped(port) if name == "runai_revision_phase"]
    return {(item.get("workload", ""), item["revision"], item["phase"]) for item in found}


async def up(port: int) -> dict[str, float]:
    """Return whether each workload is up, by its name."""
    found = (await scraped(port)).items()
    return {dict(key)["workload"]: value for (name, key), value in found if name == "runai_async_workload_up"}


async def until_phases(port: int, *expected: tuple[str, str, str]) -> None:
    async with asyncio.timeout(20):
        while await phases(port) != set(expected):
            await asyncio.sleep(0.02)


async def test_a_revision_that_has_been_in_its_phase_for_15_minutes_is_exported_as_stalled() -> None:
    async with FakeControlPlane() as control_plane:
        workload_id = control_plane.add_workload("chat")
        fresh, stuck = (control_plane.add_revision(workload_id, "Creating") for _ in range(2))
        for revision_id, minutes in ((fresh, 14), (stuck, 16)):
            at = datetime.now(UTC) - timedelta(minutes=minutes)
            control_plane.set_phase(revision_id, "Pending", at=at)

        async def stalled(port: int) -> dict[str, float]:
            found = (await scraped(port)).items()
            return {
                dict(key)["revision"]: value
                for (name, key), value in found
                if name == "runai_revision_stalled"
            }

        async with started(control_plane, "exporter", "chat", *LISTEN) as process, asyncio.timeout(20):
            port = await port_of(process)
            while await stalled(port) != {"chat-00001": 0, "chat-00002": 1}:
                await asyncio.sleep(0.02)
            control_plane.set_phase(stuck, "Running")
            while await stalled(port) != {"chat-00001": 0, "chat-00002": 0}:
                await asyncio.sleep(0.02)


async def test_named_workloads_are_exported_until_a_signal_even_in_an_outage() -> None:
    async with FakeControlPlane() as control_plane:
        ids = [control_plane.add_workload(name) for name in ("chat", "embed", "other")]
        revisions = [control_plane.add_revision(workload_id, "Pending") for workload_id in ids]
        brief = ["--deadline", "200ms", "--discovery-interval", "200ms"]
        async with started(control_plane, "exporter", "chat", ids[1], *LISTEN, *brief) as process:
            port = await port_of(process)
            await until_phases(port, ("chat", "chat-00001", "Pending"), ("embed", "embed-00001", "Pending"))
            control_plane.set_phase(revisions[0], "Running", running_pods=1)
            control_plane.delete_revision(revisions[1])
            await until_phases(port, ("chat", "chat-00001", "Running"))
            control_plane.update_revision(revisions[0], running_pods=2)
            async with asyncio.timeout(20):
                while values(await scraped(port), "runai_revision_running_pods") != [2]:
                    await asyncio.sleep(0.02)
            assert (await get(port, "/healthz"))[0] == 200
            control_plane.fail_next(None, 503)
            async with asyncio.timeout(20):
                while (await get(port, "/healthz"))[0] == 200:
                    await asyncio.sleep(0.02)
            assert await phases(port) == set()
            assert await up(port) == {"chat": 0, "embed": 0}
            assert (await get(port, "/livez"))[0] == 200
            control_plane.clear_faults()
            async with asyncio.timeout(20):
                while (await get(port, "/healthz"))[0] == 503:
                    await asyncio.sleep(0.02)
            await until_phases(port, ("chat", "chat-00001", "Running"))
            process.send_signal(signal.SIGTERM)
            ended = await finished(process)
    assert (ended.status, ended.out) == (0, "")
    lines = ended.err.splitlines()
    expected = (
        "the control plane does not respond (workloads watched: 2): ",
        "the list of workloads cannot be read, ",
        f"no successful poll of workload chat ({ids[0]}) for ",
        f"no successful poll of workload embed ({ids[1]}) for ",
    )
    for text in expected:
        assert [line.startswith(f"runai-async: warning: {text}") for line in lines].count(True) == 1
    assert [line.startswith("runai-async: warning: ") for line in lines].count(True) == len(expected)
    back = [line for line in lines if not line.startswith("runai-async: warning: ")]
    again = [line for line in back if line.startswith("runai-async: the control plane responds again after ")]
    assert len(again) == 1
    others = {
        "runai-async: the list of workloads can be read again",
        f"runai-async: polls of workload chat ({ids[0]}) succeed again",
        f"runai-async: polls of workload embed ({ids[1]}) succeed again",
    }
    assert {*back} - {*again} <= others
    lost = [line for line in lines if "no successful poll of" in line]
    assert all(re.search(r"its revisions are not exported: GET http", line) for line in lost)


@pytest.mark.parametrize(
    ("args", "limit"),
    [
        pytest.param(["chat", "--interval", "1s", "--deadline", "2s"], "12 s", marks=pytest.mark.slow),
        pytest.param(
            ["chat", "--interval", "1s", "--deadline", "2s", "--discovery-interval", "1s"],
            "5 s",
            marks=pytest.mark.slow,
        ),
        pytest.param(["--all", "--interval", "1s", "--deadline", "2s"], "62 s", marks=pytest.mark.slow),
        pytest.param(
            ["--all", "--interval", "30s", "--deadline", "2500ms"], "92.5 s", marks=pytest.mark.slow
        ),
        (["--all", "--interval", "5s", "--relaxed-interval", "60s", "--deadline", "2s"], "182 s"),
    ],
)
async def test_the_limit_of_the_health_check_is_printed(args: list[str], limit: str) -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_workload("chat")
        async with started(control_plane, "exporter", *args, "--listen", "127.0.0.1:0") as process:
            assert (await serving(process))[1] == limit


async def test_all_exports_inference_workloads_and_is_healthy_without_any() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("job", type="Training"), "Running")
        async with started(control_plane, "exporter", "--all", *LISTEN) as process:
            port = await port_of(process)
            assert process.stderr is not None
            assert await process.stderr.readline() == (
                b"no inference workload matches yet; looking for new ones every 10s\n"
            )
            assert (await get(port, "/healthz"))[0] == 200
            found = await scraped(port)
            assert values(found, "runai_async_workloads") == [0]
            assert "runai_revision_phase" not in names(found)
            process.send_signal(signal.SIGINT)
            assert await finished(process) == Ran(130, "", "")


async def test_discovery_notes_the_names_of_inference_workloads() -> None:
    metrics = Metrics()
    async with (
        FakeControlPlane() as control_plane,
        RunaiClient(control_plane.url, control_plane.token) as runai,
    ):
        control_plane.add_workload("job", type="Training")
        assert [item.id async for item in _query(runai, metrics, None)] == []
        workload_id = control_plane.add_workload("chat")
        assert [item.id async for item in _query(runai, metrics, None)] == [workload_id]
    assert metrics.names == {workload_id: "chat"}
    assert metrics.projects.keys() == {workload_id}


async def test_a_token_that_has_expired_and_cannot_be_replaced_ends_it_with_status_4() -> None:
    async with FakeControlPlane(token_lifetime=4.0) as control_plane:
        control_plane.add_revision(control_plane.add_workload("chat"), "Running")
        async with started(control_plane, "exporter", "--all", *LISTEN) as process:
            await until_phases(await port_of(process), ("chat", "chat-00001", "Running"))
            ended = await finished(process)
    assert (ended.status, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert "401" in ended.err


async def test_an_address_in_use_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with FakeControlPlane() as control_plane:
            result = await ran(control_plane, "exporter", control_plane.add_workload(), "--listen", address)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: cannot listen on {address}: Address already in use; try another --listen\n"
    )


@pytest.mark.parametrize("address", ["9464", "127.0.0.1:x", "127.0.0.1:65536", "::1:9464", "[::1]"])
async def test_an_invalid_address_is_rejected_before_any_request(address: str) -> None:
    async with FakeControlPlane() as control_plane:
        result = await ran(control_plane, "exporter", "--all", "--listen", address)
        assert (result.status, result.out, len(control_plane.requests)) == (2, "", 0)
    assert f'"{address}" is not an address: write it like 127.0.0.1:9464' in result.err


async def test_an_unknown_workload_is_an_error() -> None:
    async with FakeControlPlane() as control_plane:
        result = await ran(control_plane, "exporter", "chta", *LISTEN)
    serving, error = result.err.splitlines()
    assert (result.status, result.out, serving[:15]) == (2, "", "serving http://")
    assert 'workload "chta" not found' in error


async def test_without_its_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "runai_async.exporter")
    assert await ran(None, "exporter", "--all") == Ran(
        2,
        "",
        "Error: the exporter needs prometheus-client: pip install 'runai-async[exporter]'\n",
    )

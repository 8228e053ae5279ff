"""The exporter's server: probes, connections without requests, and a process without descriptors."""

import asyncio
import contextlib
import errno
import resource
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest
from support.cli import environment
from support.metrics import fetched, get
from support.ports import lasting_port

from runai_async.exporter import Metrics, serving
from runai_async.exporter import _listener as listener_module
from runai_async.exporter._listener import Connections, Listener
from runai_async.exporter._liveness import Heartbeat
from runai_async.testing import FakeControlPlane


@contextlib.contextmanager
def idle(port: int, number: int) -> Iterator[None]:
    """Hold so many connections that send nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        yield


@contextlib.asynccontextmanager
async def exporting(control_plane: FakeControlPlane, *args: str, **options: Any) -> AsyncIterator[int]:
    """Run the command as a process of its own, until it serves; yield its port."""
    port = lasting_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runai_async", "exporter", "chat", "--listen", f"127.0.0.1:{port}", *args),
        stderr=asyncio.subprocess.PIPE,
        env=environment(control_plane),
        **options,
    )
    try:
        assert process.stderr is not None
        assert (await process.stderr.readline()).startswith(b"serving http://")
        yield port
    finally:
        process.kill()
        await process.communicate()


async def test_idle_connections_beyond_the_most_give_way_to_requests() -> None:
    async with serving(Metrics(), lambda: True, "127.0.0.1", 0) as port:
        with idle(port, 100):
            assert (await get(port, "/livez"))[0] == 200


async def test_the_oldest_idle_connection_is_closed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_MOST", 2)
    async with serving(Metrics(), lambda: True, "127.0.0.1", 0) as port:
        pairs = []
        for _ in range(3):
            pairs.append(await asyncio.open_connection("127.0.0.1", port))
            await asyncio.sleep(0)
        reader, _ = pairs[0]
        assert await asyncio.wait_for(reader.read(), 10) == b""
        pairs[2][1].write(b"GET /livez HTTP/1.0\r\n\r\n")
        assert (await asyncio.wait_for(pairs[2][0].read(), 10)).endswith(b"ok\n")
        for _, writer in pairs:
            writer.close()


async def test_where_all_connections_wait_for_responses_another_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "_MOST", 1)
    began, end = threading.Event(), threading.Event()

    def slow() -> bool:
        began.set()
        return end.wait(10)

    async with serving(Metrics(), slow, "127.0.0.1", 0) as port:
        first = asyncio.create_task(get(port, "/healthz"))
        await asyncio.to_thread(began.wait, 10)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        end.set()
        assert (await first)[0] == 200
        assert (await get(port, "/livez"))[0] == 200


class Failing(Listener):
    """A listener that cannot accept the next connections."""

    errors: ClassVar[list[int]] = []
    accepts = 0

    def _accept(self) -> Any:
        type(self).accepts += 1
        if self.errors:
            raise OSError(self.errors.pop(), "no luck")
        return super()._accept()


async def tried(errors: list[int], monkeypatch: pytest.MonkeyPatch, held: int = 0) -> int:
    """Fail to accept with these errors, then serve; return how often it was tried."""

    class Fails(Failing):
        pass

    monkeypatch.setattr("runai_async.exporter._server.Listener", Fails)
    async with serving(Metrics(), lambda: True, "127.0.0.1", 0) as port:
        with idle(port, held):
            while Fails.accepts < held:
                await asyncio.sleep(0.001)
            Failing.errors.extend(errors)
            assert (await get(port, "/livez"))[0] == 200
    return Fails.accepts


async def test_without_a_descriptor_it_pauses_and_warns_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(listener_module, "_pause", pauses.append)
    assert await tried([errno.EMFILE, errno.ENFILE], monkeypatch) == 3
    assert pauses == [0.2, 0.2]
    assert [item.getMessage() for item in caplog.records] == [
        "the exporter cannot accept a connection: no luck"
    ]


async def test_without_a_descriptor_idle_connections_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(listener_module, "_pause", pauses.append)
    assert await tried([errno.EMFILE] * 4, monkeypatch, held=4) == 9
    assert sorted(pauses) == [0.02, 0.02, 0.02, 0.2]  # of four, two and one and one


async def test_a_pause_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_PAUSE", 0.001)
    assert await tried([errno.EMFILE], monkeypatch) == 2


async def test_a_connection_that_is_gone_before_it_is_accepted_is_no_reason_to_pause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(listener_module, "_pause", pauses.append)
    assert await tried([errno.ECONNABORTED], monkeypatch) == 2
    assert (pauses, caplog.records) == ([], [])


def test_a_request_that_arrives_too_late_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_MOST", 1)
    connections, (one, other) = Connections(), socket.socketpair()
    with one, other:
        assert connections.add(one)
        assert connections.add(other)  # in the place of the first
        connections.begin(one)
        connections.begin(other)
        assert not connections.add(one)


# not even for the most connections; or for those, and nothing beside
@pytest.mark.parametrize("files", [24, pytest.param(64, marks=pytest.mark.slow)])
async def test_a_process_with_few_descriptors_serves_beside_many_idle_connections(files: int) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("chat"), "Running")
        async with exporting(control_plane, "--interval", "50ms", preexec_fn=limit) as port:
            with idle(port, 63):
                for path in ("/livez", "/metrics", "/healthz"):
                    assert (await get(port, path))[0] == 200
                async with asyncio.timeout(20):
                    while 'phase="Running"' not in (await get(port, "/metrics"))[2]:
                        await asyncio.sleep(0.05)


# --- probes -------------------------------------------------------------------------------------------------


async def test_a_loop_that_is_stuck_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runai_async.exporter._liveness._LONGEST", 0.05)
    monkeypatch.setattr("runai_async.exporter._liveness._INTERVAL", 0.01)
    monkeypatch.setattr("runai_async.exporter._liveness._PATIENCE", 0.05)
    async with serving(Metrics(), lambda: True, "127.0.0.1", 0) as port:
        assert (await get(port, "/livez"))[0] == 200
        found: list[Any] = []

        def probe() -> None:
            time.sleep(0.1)
            found.append(fetched(port, "/livez"))

        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()  # blocks the loop
        assert found == [(503, "text/plain; charset=utf-8", "the event loop does not respond\n")]
        assert (await get(port, "/livez"))[0] == 200


async def test_probes_work_while_the_control_plane_is_silent_at_the_start() -> None:
    paths = ("/livez", "/readyz", "/metrics", "/x")
    async with FakeControlPlane() as control_plane:
        control_plane.add_workload("chat")
        control_plane.fault("hang", times=1000)
        async with exporting(control_plane) as port:
            statuses = {path: (await get(port, path))[0] for path in paths}
            assert statuses == {"/livez": 200, "/readyz": 503, "/metrics": 200, "/x": 404}


async def test_a_process_is_ready_once_its_workloads_were_polled() -> None:
    async with FakeControlPlane() as control_plane:
        control_plane.add_revision(control_plane.add_workload("chat"), "Running")
        async with exporting(control_plane, "--interval", "50ms") as port, asyncio.timeout(20):
            while (await get(port, "/readyz"))[0] != 200:
                await asyncio.sleep(0.05)


def test_a_loop_that_is_closed_is_not_alive() -> None:
    async def make() -> Heartbeat:
        return Heartbeat()

    with asyncio.Runner() as runner:
        heartbeat = runner.run(make())
        assert heartbeat.responds()
    heartbeat._at -= 60
    assert not heartbeat.responds()


async def test_a_process_that_stood_still_is_alive_again_at_once() -> None:
    heartbeat = Heartbeat()
    heartbeat._at -= 60
    assert await asyncio.to_thread(heartbeat.responds)
    heartbeat.stop()

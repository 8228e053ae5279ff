"""Behind a real gateway: nginx with TLS and a short keep-alive, reloaded, killed, without an upstream."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from attrs import frozen
from support.ports import lasting_port

from runai_async import (
    FleetEvent,
    PhaseChanged,
    PollPolicy,
    RetryPolicy,
    RevisionAdded,
    RevisionEvent,
    RunaiClient,
    ServerError,
    WatchEvent,
)
from runai_async.testing import FakeControlPlane

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(60),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]
CONFIGURATION = """
daemon off;
master_process on;
worker_processes 2;
worker_shutdown_timeout 1s;
pid {folder}/pid;
error_log {folder}/error.log notice;
{user}
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_timeout 1s;
  upstream plane {{ server 127.0.0.1:{upstream} max_fails=0; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    server_name localhost;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    location / {{
      proxy_pass http://plane;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream off;
    }}
  }}
}}
"""


@frozen
class Gateway:
    """A running nginx."""

    url: str
    ca_file: Path
    folder: Path
    master: int

    def workers(self) -> list[int]:
        """Return the process ids of the workers, including those that are shutting down."""
        text = Path(f"/proc/{self.master}/task/{self.master}/children").read_text(encoding="ascii")
        return [int(pid) for pid in text.split()]

    def reload(self) -> None:
        """Do what `nginx -s reload` does."""
        os.kill(self.master, signal.SIGHUP)

    def kill_a_worker(self) -> None:
        """Kill the oldest worker; the master starts another one."""
        os.kill(min(self.workers()), signal.SIGKILL)


@pytest.fixture
async def runai_control_plane() -> AsyncIterator[FakeControlPlane]:
    asyncio.get_running_loop().set_debug(False)
    async with FakeControlPlane(seed=5) as control_plane:
        yield control_plane


@pytest.fixture
def gateway(control_plane: FakeControlPlane, tmp_path: Path) -> Iterator[Gateway]:
    assert NGINX is not None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "server.pem"), append=True)
    port = lasting_port()
    user = "user root;" if os.getuid() == 0 else ""  # only this user may read the folder
    text = CONFIGURATION.format(folder=tmp_path, upstream=control_plane.port, port=port, user=user)
    (tmp_path / "nginx.conf").write_text(text, encoding="utf-8")
    command = [NGINX, "-p", str(tmp_path), "-c", "nginx.conf", "-e", "error.log"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while not accepts(port):
            assert process.poll() is None, (tmp_path / "error.log").read_text(encoding="utf-8")
        yield Gateway(f"https://localhost:{port}", tmp_path / "ca.pem", tmp_path, process.pid)
    finally:
        process.terminate()
        process.wait(10)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Watched:
    """A control plane whose revisions change, and the events about them."""

    def __init__(self, control_plane: FakeControlPlane, workloads: int) -> None:
        self.control_plane = control_plane
        self.ids = [control_plane.add_workload() for _ in range(workloads)]
        self.revisions = {key: control_plane.add_revision(key, "Running") for key in self.ids}
        self.events: list[FleetEvent | WatchEvent] = []

    async def change(self, seconds: float) -> None:
        """Change one revision after the other, twenty per second."""
        for number in range(int(20 * seconds)):
            phase = ("Degraded", "Running", "Stopped")[number % 3]
            self.control_plane.set_phase(self.revisions[self.ids[number % len(self.ids)]], phase)
            await asyncio.sleep(1 / 20)

    @property
    def is_complete(self) -> bool:
        """Whether the last change of each revision was reported."""
        last = {e.revision_id: e.revision.phase for e in self.events if isinstance(e, RevisionEvent)}
        return all(
            last.get(key) == self.control_plane.revision(key)["phase"] for key in self.revisions.values()
        )

    def check(self) -> None:
        """Check that no event was repeated, and that they are in the order of the changes."""
        happened: dict[str, list[str]] = {key: [] for key in self.revisions.values()}
        for change in self.control_plane.transitions:
            if change.revision_id in happened:
                happened[change.revision_id].append(change.phase)
        reported: dict[str, list[str]] = {key: [] for key in happened}
        for event in self.events:
            assert isinstance(event, RevisionAdded | PhaseChanged), event
            reported[event.revision_id].append(event.revision.phase)
        for key, phases in reported.items():
            rest = iter(happened[key])
            assert all(phase in rest for phase in phases)
        ids = Counter(event.id for event in self.events if isinstance(event, RevisionEvent))
        assert max(ids.values()) == 1


POLICY = PollPolicy(interval=0.2, fast_interval=0.2, deadline=10.0, max_outage=None)


@asynccontextmanager
async def watching(runai: RunaiClient, watched: Watched, *, one: bool) -> AsyncIterator[None]:
    """Collect the events of a watch of one workload, or of a fleet of all, until they are complete."""

    async def listen() -> None:
        if one:
            async for event in runai.watch_revisions(watched.ids[0], poll=POLICY):
                watched.events.append(event)
        else:
            async with runai.watch_fleet(watched.ids, poll=POLICY) as fleet:
                async for fleet_event in fleet:
                    watched.events.append(fleet_event)

    task = asyncio.create_task(listen())
    try:
        yield
        async with asyncio.timeout(30):
            while not watched.is_complete:
                await asyncio.sleep(0.1)
                assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait({task})
    watched.check()


def client(gateway: Gateway, control_plane: FakeControlPlane, attempts: int) -> RunaiClient:
    retry = RetryPolicy(attempts=attempts, wait_initial=0.05, wait_max=0.5)
    return RunaiClient(gateway.url, control_plane.token, ca_file=gateway.ca_file, retry=retry)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_reloads_and_killed_workers_go_unnoticed_under_load(
    control_plane: FakeControlPlane, gateway: Gateway
) -> None:
    single, many = Watched(control_plane, 1), Watched(control_plane, 30)
    right = {key: [revision] for key, revision in many.revisions.items()}
    responses: Counter[bool] = Counter()
    in_flight: list[int] = []
    ended = asyncio.Event()

    async def call(runai: RunaiClient, number: int) -> None:
        key = many.ids[number % len(many.ids)]
        while not ended.is_set():
            found = await runai.list_revisions(key)
            responses[[revision.id for revision in found] == right[key]] += 1
            await asyncio.sleep(number % 5 / 2)  # some reuse a connection, others find it closed

    before = descriptors()
    control_plane.latency = 0.05  # so that requests are in flight when something happens
    async with (
        client(gateway, control_plane, 4) as runai,
        watching(runai, single, one=True),
        watching(runai, many, one=False),
    ):
        workers = set(gateway.workers())
        calls = [asyncio.create_task(call(runai, number)) for number in range(50)]
        changes = [asyncio.create_task(watched.change(12)) for watched in (single, many)]
        for number in range(16):
            await asyncio.sleep(0.75)
            in_flight.append(control_plane.in_flight)
            gateway.kill_a_worker() if number % 2 else gateway.reload()
        ended.set()
        await asyncio.gather(*calls, *changes)
    await control_plane.stop()  # nginx keeps connections to it

    assert responses.keys() == {True}
    assert responses[True] > 500
    assert sum(number > 0 for number in in_flight) > len(in_flight) / 2
    assert workers.isdisjoint(gateway.workers())
    async with asyncio.timeout(5):  # the other side of some connections was killed; they close by themselves
        while descriptors() > before:
            await asyncio.sleep(0.05)


async def test_an_outage_of_the_upstream_is_one_warning_and_loses_nothing(
    control_plane: FakeControlPlane, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runai_async")
    single, many = Watched(control_plane, 1), Watched(control_plane, 30)
    before = descriptors()
    async with (
        client(gateway, control_plane, 20) as patient,  # its retry budget is not used up by the watches
        client(gateway, control_plane, 2) as runai,
        watching(runai, single, one=True),
        watching(runai, many, one=False),
    ):
        while not (single.is_complete and many.is_complete):
            await asyncio.sleep(0.05)
        await control_plane.stop()
        with pytest.raises(ServerError, match="502 Bad Gateway") as caught:
            await runai.list_revisions(many.ids[0])
        assert (caught.value.status, caught.value.code) == (502, None)
        await asyncio.gather(single.change(2), many.change(2))
        waiting = asyncio.create_task(patient.list_revisions(many.ids[0]))
        await asyncio.sleep(0.2)
        await control_plane.start()
        assert [revision.id for revision in await waiting] == [many.revisions[many.ids[0]]]
    await control_plane.stop()

    # The watch and the fleet each log once that the outage began and once that it ended.
    assert sorted(record.levelname for record in caplog.records) == ["INFO", "INFO", "WARNING", "WARNING"]
    assert descriptors() <= before

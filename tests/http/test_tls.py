"""TLS with real certificates: what is verified, and how to trust a private authority."""

import asyncio
import logging
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from runai_async import (
    ClientCredentials,
    ConfigurationError,
    HookEvent,
    RetryPolicy,
    RetryScheduled,
    RunaiClient,
    TransportError,
)
from runai_async.testing import FakeControlPlane

WORKLOAD = "7c5a8c3e-0b8e-4d5c-9b1a-1d2e3f4a5b6c"
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def control_plane(authority: trustme.CA) -> AsyncIterator[FakeControlPlane]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with FakeControlPlane(ssl_context=context) as control_plane:
        yield control_plane


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture(autouse=True)
def _aborted_handshakes(loop_errors: list[str]) -> Iterator[None]:
    """Expect what asyncio's server logs, in debug mode, about a handshake that the client aborted."""
    yield
    loop_errors[:] = [message for message in loop_errors if "_on_handshake_complete" not in message]


FIX = "for a private CA pass ca_file or ssl_context, for a client certificate an ssl_context"
NOW = datetime.now(UTC)
OTHER_HOST = "certificate is not valid for 'localhost'"
REJECTED: dict[str, tuple[Callable[[trustme.CA], trustme.LeafCert], str]] = {
    "of an unknown authority": (lambda _: trustme.CA().issue_cert("localhost"), "certificate verify failed"),
    "for another host": (lambda ca: ca.issue_cert("other.example"), OTHER_HOST),
    "for an address alone": (lambda ca: ca.issue_cert("127.0.0.1"), OTHER_HOST),
    "that has expired": (
        lambda ca: ca.issue_cert("localhost", not_after=NOW - timedelta(days=1)),
        "certificate has expired",
    ),
    "that is not valid yet": (
        lambda ca: ca.issue_cert("localhost", not_before=NOW + timedelta(days=1)),
        "certificate is not yet valid",
    ),
}


@pytest.mark.parametrize("which", REJECTED)
async def test_an_invalid_certificate_is_rejected_without_retries_and_nothing_is_sent(
    authority: trustme.CA, ca_file: Path, which: str
) -> None:
    make, text = REJECTED[which]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    make(authority).configure_cert(server)
    events: list[HookEvent] = []
    async with FakeControlPlane(ssl_context=server) as control_plane:
        credentials = ClientCredentials(control_plane.client_id, control_plane.client_secret)
        for auth in (control_plane.token, credentials):
            async with RunaiClient(control_plane.url, auth, ca_file=ca_file, hooks=[events.append]) as runai:
                with pytest.raises(TransportError, match=text) as caught:
                    await runai.count_revisions(control_plane.add_workload())
            assert (caught.value.transient, FIX in str(caught.value)) == (False, True)

        assert list(control_plane.requests) == []
    assert [event for event in events if isinstance(event, RetryScheduled)] == []


async def test_without_a_ca_file_a_private_authority_is_unknown(control_plane: FakeControlPlane) -> None:
    async with RunaiClient(control_plane.url, control_plane.token) as runai:
        with pytest.raises(TransportError, match=FIX) as caught:
            await runai.count_revisions(control_plane.add_workload())

    assert (caught.value.transient, list(control_plane.requests)) == (False, [])


async def test_http_on_an_https_port_is_not_retried(ca_file: Path) -> None:
    events: list[HookEvent] = []
    async with FakeControlPlane() as plain:
        url = plain.url.replace("http://127.0.0.1", "https://localhost")
        async with RunaiClient(url, "token", ca_file=ca_file, hooks=[events.append]) as runai:
            with pytest.raises(TransportError, match="TLS failed") as caught:
                await runai.count_revisions(plain.add_workload())

    assert (caught.value.transient, list(plain.requests)) == (False, [])
    assert [type(event).__name__ for event in events] == ["CallStarted", "CallFinished"]


async def test_a_ca_file_makes_a_private_authority_trusted(
    control_plane: FakeControlPlane, ca_file: Path
) -> None:
    async with RunaiClient(control_plane.url, control_plane.token, ca_file=ca_file) as runai:
        assert await runai.count_revisions(control_plane.add_workload()) == 0


async def test_an_ssl_context_is_used_as_it_is(
    control_plane: FakeControlPlane, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with RunaiClient(control_plane.url, control_plane.token, ssl_context=context) as runai:
        assert await runai.count_revisions(control_plane.add_workload()) == 0


async def test_a_client_certificate_in_the_context_is_presented(authority: trustme.CA, ca_file: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    shown = ssl.create_default_context()
    authority.configure_trust(shown)
    authority.issue_cert("client@example.org").configure_cert(shown)
    async with FakeControlPlane(ssl_context=server) as control_plane:
        workload_id = control_plane.add_workload()
        async with RunaiClient(control_plane.url, control_plane.token, ssl_context=shown) as runai:
            assert await runai.count_revisions(workload_id) == 0
        async with RunaiClient(control_plane.url, control_plane.token, ca_file=ca_file, retry=ONCE) as runai:
            with pytest.raises(TransportError):
                await runai.count_revisions(workload_id)


@contextmanager
def demanding(context: ssl.SSLContext) -> Iterator[tuple[str, list[object]]]:
    """Serve TLS in a thread, and yield why clients are rejected, which asyncio's server does not report."""
    reasons: list[object] = []

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.settimeout(5)
                with connection.dup() as rest:  # keeps it open after a failed handshake
                    try:
                        context.wrap_socket(connection, server_side=True)
                    except ssl.SSLError as error:
                        reasons.append(error.reason)
                        while rest.recv(4096):  # unread bytes would reset the connection
                            pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}", reasons
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["none", "of an unknown authority"])
async def test_a_missing_or_rejected_client_certificate_is_named_and_not_retried(
    authority: trustme.CA, version: ssl.TLSVersion, shown: str
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = server.maximum_version = version
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context()
    authority.configure_trust(client)
    if shown != "none":
        trustme.CA().issue_cert("client@example.org").configure_cert(client)
    events: list[HookEvent] = []
    with demanding(server) as (url, reasons):
        async with RunaiClient(url, "token", ssl_context=client, hooks=[events.append]) as runai:
            with pytest.raises(TransportError, match=FIX) as caught:
                await runai.count_revisions(WORKLOAD)

    assert (caught.value.transient, len(set(reasons))) == (False, 1)
    assert [type(event).__name__ for event in events] == ["CallStarted", "CallFinished"]


async def test_a_ca_file_that_does_not_exist_is_a_configuration_error(tmp_path: Path) -> None:
    async with RunaiClient("https://acme.example", "token", ca_file=tmp_path / "none.pem") as runai:
        with pytest.raises(ConfigurationError, match=r"ca_file '.*none\.pem' cannot be used"):
            await runai.count_revisions(WORKLOAD)


def test_a_ca_file_and_a_context_cannot_be_combined(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        RunaiClient(
            "https://acme.example", "t", ca_file=tmp_path / "ca.pem", ssl_context=ssl.create_default_context()
        )


# --- a file of authorities that is replaced ---------------------------------------------------------------


def server_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
async def renewed(authority: trustme.CA) -> AsyncIterator[tuple[FakeControlPlane, trustme.CA]]:
    """Yield a control plane that another authority vouches for after it was restarted."""
    other = trustme.CA()
    async with FakeControlPlane(ssl_context=server_of(authority)) as control_plane:
        yield control_plane, other


async def restart(control_plane: FakeControlPlane, authority: trustme.CA) -> None:
    """Restart a control plane with a certificate of another authority."""
    await control_plane.stop()
    control_plane._server._ssl = server_of(authority)
    await control_plane.start()


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "runai_async"]


def replace(ca_file: Path, authority: trustme.CA, how: str) -> None:
    if how == "written":
        authority.cert_pem.write_to_path(ca_file)
        return
    stat = ca_file.stat()
    authority.cert_pem.write_to_path(new := ca_file.with_name("new.pem"))
    if how == "moved, with the old time":
        os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(ca_file)


@pytest.mark.parametrize("how", ["written", "moved", "moved, with the old time"])
@pytest.mark.parametrize("named_by", ["argument", "environment"])
async def test_a_ca_file_that_was_replaced_is_loaded_again_and_the_request_repeated_once(
    renewed: tuple[FakeControlPlane, trustme.CA], ca_file: Path, how: str, named_by: str
) -> None:
    control_plane, other = renewed
    environ = {
        "RUNAI_BASE_URL": control_plane.url,
        "RUNAI_TOKEN": control_plane.token,
        "RUNAI_CA_FILE": str(ca_file),
    }
    runai = (
        RunaiClient(control_plane.url, control_plane.token, ca_file=ca_file, retry=ONCE)
        if named_by == "argument"
        else RunaiClient.from_env(environ=environ, retry=ONCE)
    )
    async with runai:
        assert await runai.count_revisions(WORKLOAD) == 0
        await restart(control_plane, other)
        with pytest.raises(TransportError, match="certificate verify failed"):
            await runai.count_revisions(WORKLOAD)  # not replaced yet
        replace(ca_file, other, how)
        assert await runai.count_revisions(WORKLOAD) == 0
        assert await runai.count_revisions(WORKLOAD) == 0
    assert len(control_plane.requests) == 3


async def test_calls_at_once_load_a_replaced_ca_file_once(
    renewed: tuple[FakeControlPlane, trustme.CA], ca_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    control_plane, other = renewed
    caplog.set_level(logging.INFO, "runai_async")
    async with RunaiClient(control_plane.url, control_plane.token, ca_file=ca_file, retry=ONCE) as runai:
        await runai.count_revisions(WORKLOAD)
        await restart(control_plane, other)
        replace(ca_file, other, "written")
        counts = await asyncio.gather(*(runai.count_revisions(WORKLOAD) for _ in range(20)))
    assert counts == [0] * 20
    assert ours(caplog) == [f"ca_file {str(ca_file)!r} has changed and was loaded again"]


async def test_a_ca_file_that_does_not_help_is_tried_once(
    renewed: tuple[FakeControlPlane, trustme.CA], ca_file: Path
) -> None:
    control_plane, other = renewed
    async with RunaiClient(control_plane.url, control_plane.token, ca_file=ca_file, retry=ONCE) as runai:
        await runai.count_revisions(WORKLOAD)
        await restart(control_plane, other)
        replace(ca_file, trustme.CA(), "written")
        for _ in range(2):
            with pytest.raises(TransportError, match="certificate verify failed") as caught:
                await runai.count_revisions(WORKLOAD)
            assert not caught.value.transient
    assert len(control_plane.requests) == 1


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nhalf of i"])
async def test_the_old_authorities_stay_in_use_while_their_file_is_unusable(
    renewed: tuple[FakeControlPlane, trustme.CA],
    authority: trustme.CA,
    ca_file: Path,
    content: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    control_plane, other = renewed
    async with RunaiClient(control_plane.url, control_plane.token, ca_file=ca_file, retry=ONCE) as runai:
        await runai.count_revisions(WORKLOAD)
        await restart(control_plane, other)
        ca_file.unlink()
        if content is not None:
            ca_file.write_bytes(content)
        for _ in range(3):
            with pytest.raises(TransportError, match="certificate verify failed"):
                await runai.count_revisions(WORKLOAD)
        (warning,) = ours(caplog)
        assert warning.startswith(
            f"the authorities loaded before stay in use: ca_file {str(ca_file)!r} cannot"
        )
        await restart(control_plane, authority)
        assert await runai.count_revisions(WORKLOAD) == 0
        await restart(control_plane, other)
        other.cert_pem.write_to_path(ca_file)
        assert await runai.count_revisions(WORKLOAD) == 0


async def test_another_failure_of_tls_does_not_read_the_ca_file_again(
    ca_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeControlPlane() as plain:
        url = plain.url.replace("http://127.0.0.1", "https://localhost")
        async with RunaiClient(url, "token", ca_file=ca_file) as runai:
            for _ in range(2):
                with pytest.raises(TransportError, match="TLS failed"):
                    await runai.count_revisions(WORKLOAD)
                ca_file.unlink(missing_ok=True)
    assert ours(caplog) == []

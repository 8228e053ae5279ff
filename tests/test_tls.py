"""TLS with real certificates: what is verified, and what lets a private authority in."""

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from runai_async import ConfigurationError, RetryPolicy, RunaiClient, TransportError
from runai_async.testing import FakeControlPlane


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def plane(authority: trustme.CA) -> AsyncIterator[FakeControlPlane]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with FakeControlPlane(ssl_context=context) as plane:
        yield plane


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture(autouse=True)
def _refused_handshakes(loop_errors: list[str]) -> Iterator[None]:
    """Expect what asyncio's server logs, in debug mode, of a handshake that the client broke off."""
    yield
    loop_errors[:] = [message for message in loop_errors if "_on_handshake_complete" not in message]


async def test_a_certificate_of_an_unknown_authority_is_refused(plane: FakeControlPlane) -> None:
    async with RunaiClient(plane.url, plane.token) as runai:
        with pytest.raises(TransportError, match="pass ca_file or ssl_context") as caught:
            await runai.count_revisions(plane.add_workload())

    assert not caught.value.transient
    assert list(plane.requests) == []


async def test_a_ca_file_lets_a_private_authority_in(plane: FakeControlPlane, ca_file: Path) -> None:
    async with RunaiClient(plane.url, plane.token, ca_file=ca_file) as runai:
        assert await runai.count_revisions(plane.add_workload()) == 0


async def test_an_ssl_context_is_used_as_it_is(plane: FakeControlPlane, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with RunaiClient(plane.url, plane.token, ssl_context=context) as runai:
        assert await runai.count_revisions(plane.add_workload()) == 0


async def test_a_certificate_for_another_host_is_refused(ca_file: Path, authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    async with FakeControlPlane(ssl_context=context) as plane:
        async with RunaiClient(plane.url, plane.token, ca_file=ca_file) as runai:
            with pytest.raises(TransportError, match="certificate is not valid for 'localhost'"):
                await runai.count_revisions(plane.add_workload())

        assert list(plane.requests) == []


async def test_a_client_certificate_is_shown_where_the_context_holds_one(
    authority: trustme.CA, ca_file: Path
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    shown = ssl.create_default_context()
    authority.configure_trust(shown)
    authority.issue_cert("client@example.org").configure_cert(shown)
    async with FakeControlPlane(ssl_context=server) as plane:
        workload_id = plane.add_workload()
        async with RunaiClient(plane.url, plane.token, ssl_context=shown) as runai:
            assert await runai.count_revisions(workload_id) == 0
        async with RunaiClient(
            plane.url, plane.token, ca_file=ca_file, retry=RetryPolicy(attempts=1)
        ) as runai:
            with pytest.raises(TransportError):
                await runai.count_revisions(workload_id)


async def test_a_ca_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    async with RunaiClient("https://acme.example", "token", ca_file=tmp_path / "none.pem") as runai:
        with pytest.raises(ConfigurationError, match=r"ca_file '.*none\.pem' cannot be used"):
            await runai.count_revisions("7c5a8c3e-0b8e-4d5c-9b1a-1d2e3f4a5b6c")


def test_a_ca_file_and_a_context_are_not_taken_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        RunaiClient(
            "https://acme.example", "t", ca_file=tmp_path / "ca.pem", ssl_context=ssl.create_default_context()
        )

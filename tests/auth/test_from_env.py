"""A client created from the environment, and the login of the vendor's command line."""

import asyncio
import base64
import json
import ssl
from pathlib import Path

import pytest

from runai_async import CliCredentials, ClientOptions, ConfigurationError, RunaiClient
from runai_async.testing import FakeTransport, Response

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
COUNT = Response(body=b'{"count": 2}')
CREDENTIALS = ("RUNAI_TOKEN", "RUNAI_CLIENT_ID", "RUNAI_CLIENT_SECRET", "RUNAI_TOKEN_API", "RUNAI_TOKEN_URL")
NAMES = ("RUNAI_BASE_URL", "RUNAI_CA_FILE", *CREDENTIALS)
URL = {"RUNAI_BASE_URL": "https://acme.run.ai"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up an empty home and an environment without any of our variables."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".runai").mkdir()
    return tmp_path


def log_in(folder: Path, token: object, url: object = "https://acme.run.ai") -> CliCredentials:
    (folder / "authentication.json").write_text(json.dumps({"accessToken": token}))
    (folder / "config.json").write_text(json.dumps({"control_plane": {"url": url}}))
    return CliCredentials(folder)


async def bearer(runai: RunaiClient, transport: FakeTransport) -> str:
    await runai.count_revisions(WORKLOAD)
    return transport.requests[-1].headers["Authorization"]


# --- the environment --------------------------------------------------------------------------------------


async def test_a_token_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNAI_BASE_URL", "https://acme.run.ai/prefix")
    monkeypatch.setenv("RUNAI_TOKEN", "abc")
    transport = FakeTransport([COUNT])
    runai = RunaiClient.from_env(transport=transport)
    assert await bearer(runai, transport) == "Bearer abc"
    assert str(transport.requests[0].url).startswith("https://acme.run.ai/prefix/api/v1/")


async def test_another_environment_can_be_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNAI_TOKEN", "not this one")
    transport = FakeTransport([COUNT])
    environ = URL | {"RUNAI_TOKEN": "abc", "RUNAI_CLIENT_ID": "id"}  # the token wins
    runai = RunaiClient.from_env(environ=environ, transport=transport)
    assert await bearer(runai, transport) == "Bearer abc"


async def test_client_credentials_in_the_environment_are_exchanged() -> None:
    transport = FakeTransport([Response(body=b'{"accessToken": "fresh"}'), COUNT])
    environ = URL | {"RUNAI_CLIENT_ID": "app", "RUNAI_CLIENT_SECRET": "s3cret", "RUNAI_TOKEN": ""}
    runai = RunaiClient.from_env(environ=environ, transport=transport)
    assert await bearer(runai, transport) == "Bearer fresh"
    assert (transport.requests[0].url.path, b"=s3cret" in (transport.requests[0].body or b"")) == (
        "/api/v2/token",
        True,
    )


def test_a_login_provides_both_url_and_token(home: Path) -> None:
    log_in(home / ".runai", base64.b64encode(b"cli.token").decode(), "https://home.run.ai")
    transport = FakeTransport([COUNT])
    runai = RunaiClient.from_env(environ={}, transport=transport)
    assert asyncio.run(bearer(runai, transport)) == "Bearer cli.token"
    assert transport.requests[0].url.host == "home.run.ai"


async def test_a_login_can_be_used_inside_a_running_loop(home: Path) -> None:
    log_in(home / ".runai", "cli.token")
    transport = FakeTransport([COUNT])
    async with RunaiClient.from_env(environ={}, transport=transport) as runai:
        assert await bearer(runai, transport) == "Bearer cli.token"


APP = URL | {"RUNAI_CLIENT_ID": "app", "RUNAI_CLIENT_SECRET": "s3cret"}


@pytest.mark.parametrize(
    ("chosen", "used"),
    [
        ({}, "https://acme.run.ai/api/v2/token"),
        ({"RUNAI_TOKEN_API": ""}, "https://acme.run.ai/api/v2/token"),
        ({"RUNAI_TOKEN_API": "auto"}, "https://acme.run.ai/api/v2/token"),
        ({"RUNAI_TOKEN_API": "v1"}, "https://acme.run.ai/api/v1/token"),
        ({"RUNAI_TOKEN_API": "v2"}, "https://acme.run.ai/api/v2/token"),
        ({"RUNAI_TOKEN_URL": ""}, "https://acme.run.ai/api/v2/token"),
        ({"RUNAI_TOKEN_URL": "https://login.example/token"}, "https://login.example/token"),
        ({"RUNAI_TOKEN_URL": "http://[::1]:8080/token"}, "http://[::1]:8080/token"),
    ],
)
async def test_the_environment_may_choose_the_token_endpoint(chosen: dict[str, str], used: str) -> None:
    transport = FakeTransport([Response(body=b'{"access_token": "fresh"}'), COUNT])
    runai = RunaiClient.from_env(environ=APP | chosen, transport=transport)
    assert await bearer(runai, transport) == "Bearer fresh"
    assert str(transport.requests[0].url) == used


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        (
            {},
            ["RUNAI_TOKEN", "RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET", "authentication.json does not exist"],
        ),
        (URL, ["RUNAI_TOKEN", "RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET", "log in"]),
        (URL | {"RUNAI_TOKEN": ""}, ["RUNAI_TOKEN", "RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET"]),
        (
            URL | {"RUNAI_CLIENT_ID": "s3cret"},
            ["RUNAI_CLIENT_SECRET is not set, but RUNAI_CLIENT_ID is: set both"],
        ),
        (
            URL | {"RUNAI_CLIENT_SECRET": "s3cret"},
            ["RUNAI_CLIENT_ID is not set, but RUNAI_CLIENT_SECRET is: set both"],
        ),
        (
            URL | {"RUNAI_CLIENT_ID": "app", "RUNAI_CLIENT_SECRET": "s3cret", "RUNAI_TOKEN_API": "2"},
            ["RUNAI_TOKEN_API must be auto, v1 or v2, not '2'"],
        ),
        (
            APP | {"RUNAI_TOKEN_URL": "http://login.example/s3cret"},
            ["RUNAI_TOKEN_URL: token_url is plain http to login.example", "use https"],
        ),
        (
            APP | {"RUNAI_TOKEN_URL": "https://me:s3cret@login.example/"},
            ["RUNAI_TOKEN_URL: token_url must not contain a user or password"],
        ),
        (
            APP | {"RUNAI_TOKEN_URL": "https://login.example", "RUNAI_TOKEN_API": "v1"},
            ["leave out api='v1'"],
        ),
        (
            {"RUNAI_TOKEN": "s3cret"},
            ["RUNAI_BASE_URL, like https://acme.run.ai", "config.json does not exist"],
        ),
        ({"RUNAI_TOKEN": "s3cret", "RUNAI_BASE_URL": ""}, ["RUNAI_BASE_URL"]),
        ({"RUNAI_TOKEN": "s3cret word"} | URL, ["token must be printable ASCII"]),
        ({"RUNAI_TOKEN": "s3cret", "RUNAI_BASE_URL": "acme.run.ai"}, ["base_url must start with https://"]),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_no_secret_is_shown(
    environ: dict[str, str], named: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RunaiClient.from_env(environ=environ)
    assert [text for text in named if text not in str(caught.value)] == []
    assert "s3cret" not in str(caught.value)


async def test_a_ca_file_in_the_environment_is_used_unless_one_is_passed(tmp_path: Path) -> None:
    environ = {
        "RUNAI_BASE_URL": "https://localhost:1",
        "RUNAI_TOKEN": "abc",
        "RUNAI_CA_FILE": "/named/by/env",
    }
    given: ClientOptions = {"ca_file": "/named/by/me"}
    for options, path in ((ClientOptions(), "/named/by/env"), (given, "/named/by/me")):
        async with RunaiClient.from_env(environ=environ, **options) as runai:
            with pytest.raises(ConfigurationError, match=f"ca_file '{path}' cannot be used"):
                await runai.count_revisions(WORKLOAD)


async def test_an_ssl_context_takes_precedence_over_a_ca_file_in_the_environment() -> None:
    environ = {
        "RUNAI_BASE_URL": "https://acme.run.ai",
        "RUNAI_TOKEN": "abc",
        "RUNAI_CA_FILE": "/named/by/env",
    }
    async with RunaiClient.from_env(environ=environ, ssl_context=ssl.create_default_context()) as runai:
        assert "https://acme.run.ai" in repr(runai)


def test_the_options_are_those_of_the_constructor() -> None:
    environ = URL | {"RUNAI_TOKEN": "abc"}
    with pytest.raises(ConfigurationError, match="timeout must be"):
        RunaiClient.from_env(environ=environ, timeout=0)
    with pytest.raises(TypeError, match="tiemout"):
        RunaiClient.from_env(environ=environ, tiemout=5)  # type: ignore[call-arg]


def test_a_subclass_creates_an_instance_of_itself() -> None:
    class Mine(RunaiClient):
        pass

    assert repr(Mine.from_env(environ=URL | {"RUNAI_TOKEN": "abc"})) == "<Mine https://acme.run.ai/>"


# --- the login files of the vendor's command line ---------------------------------------------------------


@pytest.mark.parametrize(
    "kept",
    [
        base64.b64encode(b"head.body.sign").decode(),
        base64.b64encode(b"head.body.sign").decode().rstrip("="),
        base64.b64encode(b"head.body.sign\n").decode(),
        "head.body.sign",
    ],
)
def test_the_token_of_a_login_may_be_encoded_or_not(tmp_path: Path, kept: str) -> None:
    assert log_in(tmp_path, kept).read_token() == "head.body.sign"


def test_a_token_that_only_looks_encoded_is_used_as_it_is(tmp_path: Path) -> None:
    assert log_in(tmp_path, "////").read_token() == "////"


def test_a_login_is_looked_for_in_the_home_folder(home: Path) -> None:
    log_in(home / ".runai", "head.body.sign", "https://home.run.ai")
    assert CliCredentials().read_token() == "head.body.sign"
    assert CliCredentials().read_base_url() == "https://home.run.ai"


def test_a_missing_login_is_an_error_that_says_to_log_in(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"authentication\.json does not exist: log in"):
        CliCredentials(tmp_path).read_token()


def test_a_login_that_cannot_be_opened_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "authentication.json").mkdir()
    with pytest.raises(
        ConfigurationError, match=r"cannot be read as JSON \(IsADirectoryError\): log in again"
    ):
        CliCredentials(tmp_path).read_token()


@pytest.mark.parametrize("text", ["", "{secret", "[" * 100_000, '"\\ud800'])
def test_a_login_that_is_not_json_is_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "authentication.json").write_text(text)
    with pytest.raises(ConfigurationError, match="cannot be read as JSON") as caught:
        CliCredentials(tmp_path).read_token()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "null", "5", "{}", '{"accessToken": null}', '{"accessToken": ""}'])
def test_a_login_without_a_token_is_an_error_that_names_the_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "authentication.json").write_text(text)
    with pytest.raises(ConfigurationError, match="has no accessToken: log in again"):
        CliCredentials(tmp_path).read_token()


@pytest.mark.parametrize("control_plane", [None, "x", [], {}, {"url": 5}])
def test_a_login_without_a_control_plane_is_an_error_that_names_the_key(
    tmp_path: Path, control_plane: object
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"control_plane": control_plane}))
    with pytest.raises(ConfigurationError, match=r"config\.json has no control_plane\.url"):
        CliCredentials(tmp_path).read_base_url()


def test_a_login_token_that_does_not_fit_into_a_header_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"authentication\.json must be printable") as caught:
        log_in(tmp_path, "secret word").read_token()
    assert "secret" not in str(caught.value)


# --- without a home directory -----------------------------------------------------------------------------


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up what a container with an unknown user id has: no HOME, and no entry in the user database."""

    def unknown(_: object) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "USERPROFILE", "HOMEPATH"):
        monkeypatch.delenv(name, raising=False)
    pwd = pytest.importorskip("pwd")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    ("environ", "text"),
    [
        (
            {},
            r"no credentials: set RUNAI_TOKEN .*~/\.runai cannot be found, .* no home directory: set HOME",
        ),
        (URL, "no credentials: .* no home directory"),
        ({"RUNAI_TOKEN": "t"}, "no control plane: set RUNAI_BASE_URL, .* no home directory: set HOME"),
    ],
)
def test_without_a_home_directory_missing_credentials_are_a_configuration_error(
    environ: dict[str, str], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        RunaiClient.from_env(environ=environ)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("folder", ["~", "~/elsewhere", "~nobody-here/.runai"])
def test_without_a_home_directory_a_login_in_it_is_a_configuration_error(folder: str) -> None:
    for given in (folder, Path(folder)):
        with pytest.raises(ConfigurationError, match="no home directory: set HOME"):
            CliCredentials(given)
    with pytest.raises(ConfigurationError, match=r"^~/\.runai cannot be found"):
        CliCredentials()


@pytest.mark.usefixtures("homeless")
async def test_without_a_home_directory_credentials_in_the_environment_work(tmp_path: Path) -> None:
    transport = FakeTransport([COUNT])
    runai = RunaiClient.from_env(environ=URL | {"RUNAI_TOKEN": "abc"}, transport=transport)
    assert await bearer(runai, transport) == "Bearer abc"
    assert log_in(tmp_path, "cli.token").read_token() == "cli.token"


def test_a_login_may_be_named_from_the_home_directory(home: Path) -> None:
    assert CliCredentials("~/other").folder == home / "other"
    assert CliCredentials().folder == home / ".runai"

"""A token in a file that something else replaces, as platforms do that rotate secrets."""

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest

from runai_async import AuthenticationError, ConfigurationError, FileToken, RetryPolicy, RunaiClient
from runai_async._auth.token_file import FileTokenSource
from runai_async.testing import FakeClock, FakeTransport, Response

WORKLOAD = "3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11"
COUNT = Response(body=b'{"count": 2}')
REJECTED = Response(401, body=b'{"code": 401, "message": "the token has expired"}')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("one\n")
    return file


class Calls:
    """A client with a token file, on a clock that moves only by hand."""

    def __init__(self, path: Path, *responses: Response) -> None:
        self.clock = FakeClock()
        self.transport = FakeTransport(responses or [COUNT] * 9)
        self.runai = RunaiClient(
            "https://acme.run.ai",
            FileToken(path),
            retry=RetryPolicy(attempts=1),
            transport=self.transport,
            clock=self.clock,
        )

    async def count(self, *, after: float = 0.0) -> None:
        """Make a call after some seconds."""
        await self.clock.advance(after)
        assert await self.runai.count_revisions(WORKLOAD) == 2

    @property
    def tokens(self) -> list[str]:
        sent = [request.headers["Authorization"] for request in self.transport.requests]
        return [header.removeprefix("Bearer ") for header in sent]


def replace(path: Path, text: str) -> None:
    """Replace a file as careful programs do."""
    draft = path.with_name("draft")
    draft.write_text(text)
    draft.replace(path)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# --- a file that changes ----------------------------------------------------------------------------------


async def test_the_token_is_that_of_the_file_without_white_space(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf \tone \r\n\n")
    calls = Calls(path)
    await calls.count()
    assert calls.tokens == ["one"]


async def test_a_file_that_was_replaced_is_read_again(path: Path) -> None:
    calls = Calls(path)
    await calls.count()
    replace(path, "two")
    await calls.count(after=1)
    assert calls.tokens == ["one", "two"]


async def test_a_file_that_was_written_in_place_is_read_again(path: Path) -> None:
    calls = Calls(path)
    await calls.count()
    path.write_text("longer")
    await calls.count(after=1)
    assert calls.tokens == ["one", "longer"]


async def test_the_file_is_looked_at_once_a_second_at_most(path: Path) -> None:
    calls = Calls(path)
    await calls.count()
    replace(path, "two")
    await calls.count(after=0.5)
    await calls.count(after=0.4)
    await calls.count(after=0.2)
    assert calls.tokens == ["one", "one", "one", "two"]


async def test_a_file_that_has_not_changed_is_not_read_again(path: Path) -> None:
    class Counted(FileToken):
        reads = 0

        def read_token(self) -> str:
            Counted.reads += 1
            return super().read_token()

    clock = FakeClock()
    source = FileTokenSource(Counted(path), clock)
    for _ in range(5):
        assert await source.get_token() == "one"
        await clock.advance(1)
    assert Counted.reads == 1


async def test_links_are_followed_as_those_in_a_mounted_secret(tmp_path: Path) -> None:
    for name in ("..2026_01", "..2026_02"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name[-1])
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "token").symlink_to("..data/token")
    calls = Calls(tmp_path / "token")
    await calls.count()
    (tmp_path / "..data_tmp").symlink_to("..2026_02")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await calls.count(after=1)
    assert calls.tokens == ["1", "2"]


# --- a token that was refused -----------------------------------------------------------------------------


async def test_an_old_token_that_is_refused_is_read_again_though_the_file_seems_unchanged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(path, COUNT, REJECTED, COUNT)
    await calls.count()
    status = path.stat()
    path.write_text("two\n")
    monkeypatch.setattr(os, "stat", lambda *_, **__: status)  # as where a file system's times are coarse
    await calls.count(after=30)
    assert calls.tokens == ["one", "one", "two"]


async def test_a_young_token_that_is_refused_is_kept(path: Path) -> None:
    calls = Calls(path, COUNT, REJECTED)
    await calls.count()
    with pytest.raises(AuthenticationError):
        await calls.count(after=0.5)
    assert calls.tokens == ["one", "one"]


async def test_the_refusal_of_a_token_that_was_replaced_already_changes_nothing(path: Path) -> None:
    source = FileTokenSource(FileToken(path), FakeClock())
    assert await source.get_token() == "one"
    source.invalidate("zero")
    assert source.current() == "one"
    source.invalidate("one")
    assert source.current() is None
    assert await source.get_token() == "one"


async def test_a_token_past_its_expiry_does_not_end_a_watch_since_the_file_may_change(path: Path) -> None:
    path.write_text("e30.eyJleHAiOjF9.e30")  # {"exp": 1}
    calls = Calls(path, REJECTED)
    with pytest.raises(AuthenticationError) as caught:
        await calls.count()
    assert not caught.value.is_final


# --- a file that is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        (b"", "contains no token"),
        (b" \n", "contains no token"),
        (b"\xff\xfe\x00", "is not a text file"),
        (b"one two", "must be printable ASCII"),
        (b"\0" * 100_000, "must be printable ASCII"),
    ],
)
async def test_at_the_start_a_file_without_a_token_is_an_error_that_names_it(
    path: Path, content: bytes | None, problem: str
) -> None:
    path.unlink() if content is None else path.write_bytes(content)
    calls = Calls(path)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        await calls.count()
    assert str(path) in str(caught.value)
    assert "one" not in str(caught.value).replace(str(path), "")
    assert calls.tokens == []


async def test_a_file_that_cannot_be_read_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory$"):
        await Calls(tmp_path).count()
    with pytest.raises(ConfigurationError, match="is not a text file"):
        FileToken("a\0b").read_token()


async def test_a_file_that_appears_after_an_error_is_read(path: Path) -> None:
    path.unlink()
    calls = Calls(path)
    with pytest.raises(ConfigurationError):
        await calls.count()
    path.write_text("late")
    await calls.count()
    assert calls.tokens == ["late"]


@pytest.mark.parametrize("content", [None, "", "no token"])
async def test_a_file_that_is_missing_or_empty_later_keeps_the_token_and_is_one_warning_a_streak(
    path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(path)
    await calls.count()
    for _ in range(2):
        path.unlink() if content is None else path.write_text(content)
        await calls.count(after=1)
        await calls.count(after=1)
        replace(path, "two")
        await calls.count(after=1)
    assert calls.tokens == ["one"] * 3 + ["two"] * 4
    (first, second) = warnings(caplog)
    assert first == second
    assert str(path) in first
    assert first.endswith("the last token stays in use")


async def test_a_folder_in_the_place_of_the_file_is_a_warning_too(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(path)
    await calls.count()
    path.unlink()
    path.mkdir()
    await calls.count(after=1)
    await calls.count(after=1)
    assert calls.tokens == ["one"] * 3
    (said,) = warnings(caplog)
    assert said.endswith("the last token stays in use")


async def test_a_file_that_comes_back_unchanged_ends_the_streak(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(path)
    await calls.count()
    away = path.parent / "away"
    for _ in range(2):
        path.rename(away)
        await calls.count(after=1)
        away.rename(path)
        await calls.count(after=1)
    assert calls.tokens == ["one"] * 5
    assert len(warnings(caplog)) == 2


async def test_an_old_token_that_is_refused_while_its_file_is_missing_is_kept(path: Path) -> None:
    calls = Calls(path, COUNT, REJECTED)
    await calls.count()
    path.unlink()
    with pytest.raises(AuthenticationError):
        await calls.count(after=30)
    assert calls.tokens == ["one", "one"]


# --- a file that is slow, or a pipe -----------------------------------------------------------------------


class Slow(FileToken):
    """A file on a disk that hangs until it is let go."""

    gate = threading.Event()
    reads = 0

    def read_token(self) -> str:
        Slow.reads += 1
        Slow.gate.wait(10)
        return super().read_token()


@pytest.fixture
def slow(path: Path) -> Slow:
    Slow.gate, Slow.reads = threading.Event(), 0
    return Slow(path)


async def test_many_calls_at_the_start_share_one_reading(slow: Slow) -> None:
    source = FileTokenSource(slow, FakeClock())
    tasks = [asyncio.create_task(source.get_token()) for _ in range(20)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    slow.gate.set()
    assert await asyncio.gather(*tasks[1:]) == ["one"] * 19
    assert slow.reads == 1
    assert tasks[0].cancelled()


async def test_while_a_disk_hangs_the_token_stays_in_use(
    slow: Slow, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runai_async._auth.token_file._PATIENCE", 0.01)
    clock = FakeClock()
    source = FileTokenSource(slow, clock)
    slow.gate.set()
    await source.get_token()
    slow.gate.clear()
    replace(path, "two")
    await clock.advance(1)
    assert source.current() is None
    assert await source.get_token() == "one"
    await clock.advance(9)
    assert source.current() == "one"  # and no other thread hangs
    assert slow.reads == 2
    slow.gate.set()
    while await source.get_token() == "one":
        await asyncio.sleep(0.001)
    assert await source.get_token() == "two"


async def test_a_pipe_is_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    calls = Calls(pipe, COUNT, COUNT, REJECTED)

    def write() -> None:
        with pipe.open("w") as file:
            file.write("one\n")

    writing = asyncio.to_thread(write)
    await asyncio.gather(calls.count(), writing)
    await calls.count(after=1)
    with pytest.raises(AuthenticationError):
        await calls.count(after=30)
    assert calls.tokens == ["one"] * 3
    assert warnings(caplog) == []


# --- the environment --------------------------------------------------------------------------------------

URL = {"RUNAI_BASE_URL": "https://acme.run.ai"}


@pytest.mark.parametrize(
    ("others", "token"),
    [
        ({}, "one"),
        ({"RUNAI_CLIENT_ID": "app", "RUNAI_CLIENT_SECRET": "s3cret"}, "one"),
        ({"RUNAI_TOKEN": ""}, "one"),
        ({"RUNAI_TOKEN": "first"}, "first"),
    ],
)
async def test_the_environment_names_a_file_behind_a_token_and_before_credentials(
    path: Path, others: dict[str, str], token: str
) -> None:
    transport = FakeTransport([COUNT])
    environ = URL | {"RUNAI_TOKEN_FILE": str(path)} | others
    async with RunaiClient.from_env(environ=environ, transport=transport) as runai:
        await runai.count_revisions(WORKLOAD)
    assert transport.requests[0].headers["Authorization"] == f"Bearer {token}"


def test_a_file_in_the_environment_has_a_token_at_the_start(path: Path) -> None:
    path.unlink()
    with pytest.raises(ConfigurationError, match=f"RUNAI_TOKEN_FILE: the token file {path} does not exist"):
        RunaiClient.from_env(environ=URL | {"RUNAI_TOKEN_FILE": str(path)})


async def test_a_pipe_in_the_environment_is_left_for_the_first_call(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    environ = URL | {"RUNAI_TOKEN_FILE": str(tmp_path / "pipe")}
    transport = FakeTransport([COUNT])
    async with RunaiClient.from_env(environ=environ, transport=transport) as runai:

        def write() -> None:
            (tmp_path / "pipe").write_text("one")

        await asyncio.gather(runai.count_revisions(WORKLOAD), asyncio.to_thread(write))
    assert transport.requests[0].headers["Authorization"] == "Bearer one"

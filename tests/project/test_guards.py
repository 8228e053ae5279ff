"""The guards in conftest.py fail tests that they should fail, and no others."""

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from aioresponses import CallbackResult, aioresponses
from blockbuster import BlockingError

import runai_async

CONFTEST = Path(__file__).parents[1] / "conftest.py"
URL = "https://acme.run.ai/api"

GUARDED = """
import asyncio

import aiohttp
import pytest
from aiohttp import test_utils, web


async def fail(*args):
    raise ValueError("lost")


async def forever():
    await asyncio.sleep(1000)


async def test_task_exception():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)


async def test_future_exception():
    asyncio.get_running_loop().create_future().set_exception(ValueError("lost"))


async def test_callback_exception():
    asyncio.get_running_loop().call_soon(int, "x")
    await asyncio.sleep(0)


async def test_open_session():
    session = aiohttp.ClientSession()


async def test_request_handler():
    app = web.Application()
    app.router.add_get("/", fail)
    async with test_utils.TestClient(test_utils.TestServer(app)) as client:
        assert (await client.get("/")).status == 500


def test_other_loop():
    asyncio.run(test_task_exception())


async def test_running_task():
    task = asyncio.create_task(forever(), name="left over")


async def test_cancelled_task():
    asyncio.create_task(forever()).cancel()


@pytest.fixture
async def ticking():
    task = asyncio.create_task(forever())
    yield
    task.cancel()


async def test_fixture_with_a_task(ticking):
    pass
"""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run GUARDED under the guards, and return why each test failed."""
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copy(CONFTEST, folder)
    shutil.copy(CONFTEST.parents[1] / "pyproject.toml", folder)
    (folder / "test_guarded.py").write_text(GUARDED, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "test_guarded.py", "--junitxml", "report.xml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(runai_async.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    report = folder / "report.xml"
    assert report.exists(), ran.stdout + ran.stderr
    return {case.attrib["name"]: "".join(case.itertext()) for case in ET.parse(report).iter("testcase")}


@pytest.mark.parametrize(
    ("test", "failure"),
    [
        ("test_task_exception", "Task exception was never retrieved"),
        ("test_future_exception", "Future exception was never retrieved"),
        ("test_callback_exception", "Exception in callback int('x')"),
        ("test_open_session", "Unclosed client session"),
        ("test_request_handler", "ValueError: lost"),
        ("test_other_loop", "Task exception was never retrieved"),
        ("test_running_task", "left over"),
    ],
)
def test_a_test_fails_for_errors_that_only_its_loop_reports(
    failures: dict[str, str], test: str, failure: str
) -> None:
    assert failure in failures[test]


@pytest.mark.parametrize("test", ["test_cancelled_task", "test_fixture_with_a_task"])
def test_a_test_that_cleans_up_passes(failures: dict[str, str], test: str) -> None:
    assert failures[test] == ""


async def test_an_exception_that_is_retrieved_passes() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    with contextlib.suppress(ValueError):
        await task


def test_a_test_can_inspect_and_clear_an_error_that_it_expects(loop_errors: list[str]) -> None:
    logging.getLogger("asyncio").error("Something was never retrieved")
    assert loop_errors == ["Something was never retrieved"]
    loop_errors.clear()


def test_collecting_after_each_test_stays_cheap() -> None:
    assert gc.get_freeze_count() > 10_000


def of_the_package(source: str) -> Callable[..., Any]:
    """Return the function `call` of a source that appears to be in `runai_async`, where the guard applies."""
    names: dict[str, Any] = {}
    exec(compile(source, str(Path(runai_async.__file__).with_name("_blocking.py")), "exec"), names)
    call: Callable[..., Any] = names["call"]
    return call


async def test_a_sleep_in_a_coroutine_of_the_package_is_refused() -> None:
    call = of_the_package("import time\nasync def call(): time.sleep(0)")
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        await call()


async def test_reading_a_file_in_a_coroutine_of_the_package_is_refused() -> None:
    call = of_the_package("async def call(path):\n    with open(path, 'rb') as file: file.read()")
    with pytest.raises(BlockingError, match=r"BufferedReader\.read"):
        await call(CONFTEST)


def test_the_package_may_block_where_no_loop_runs() -> None:
    assert of_the_package("import time\ndef call(): return time.sleep(0)")() is None


async def test_a_test_may_block() -> None:
    assert CONFTEST.read_bytes()


async def test_logging_a_traceback_is_not_blocking(caplog: pytest.LogCaptureFixture) -> None:
    call = of_the_package(
        "import json, logging\n"
        "async def call():\n"
        "    try: json.loads('')\n"
        "    except ValueError: logging.getLogger('runai_async').exception('logged')"
    )
    await call()
    assert "JSONDecodeError" in caplog.text


async def test_a_late_import_is_not_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    call = of_the_package("async def call():\n    import colorsys\n    return colorsys")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert (await call()).__name__ == "colorsys"


async def test_looking_up_the_password_of_a_proxy_is_not_blocking(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine example.org login somebody password nothing\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    call = of_the_package("from aiohttp import helpers\nasync def call(): return helpers.netrc_from_env()")
    assert (await call()).authenticators("example.org") == ("somebody", "", "nothing")


async def test_mock_aiohttp_responds_to_a_request(mock_aiohttp: aioresponses) -> None:
    mock_aiohttp.get(URL, payload={"count": 3}, headers={"X-Request-Id": "r"})
    async with aiohttp.ClientSession() as session, session.get(URL) as response:
        assert (response.status, response.headers["X-Request-Id"]) == (200, "r")
        assert await response.json() == {"count": 3}


async def test_mock_aiohttp_responds_with_a_callback(mock_aiohttp: aioresponses) -> None:
    mock_aiohttp.post(URL, callback=lambda _url, **_: CallbackResult(status=503, body="no"))
    async with aiohttp.ClientSession() as session, session.post(URL) as response:
        assert (response.status, await response.text()) == (503, "no")


async def test_mock_aiohttp_raises_an_exception(mock_aiohttp: aioresponses) -> None:
    mock_aiohttp.get(URL, exception=aiohttp.ServerDisconnectedError())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(URL)

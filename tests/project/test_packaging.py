"""pyproject.toml, README, CI and the oldest versions agree with each other and with the package."""

import importlib.resources
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import runai_async

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
USERS_EXTRAS = ("cli", "exporter", "telemetry")


def lower_bounds() -> dict[str, str]:
    """Return the oldest version of each library that a user may have installed."""
    requirements = [*PROJECT["dependencies"], *(line for extra in USERS_EXTRAS for line in EXTRAS[extra])]
    return dict(line.split(">=") for line in requirements)


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    lines = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("==") for line in lines if not line.startswith("#")) == lower_bounds()


def test_the_extra_all_includes_every_extra_for_users() -> None:
    assert EXTRAS["all"] == [f"runai-async[{','.join(USERS_EXTRAS)}]"]


def test_the_python_versions_in_the_classifiers_are_those_that_ci_tests() -> None:
    prefix = "Programming Language :: Python :: "
    promised = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if re.fullmatch(prefix + r"3\.\d+", c)]
    (tried,) = re.findall(r"for version in ([\d. ]+);", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert promised == tried.split()
    assert PROJECT["requires-python"] == f">={promised[0]}"


@pytest.mark.parametrize(
    ("name", "extra", "last"),
    [("demo", "cli", ".venv/bin/runai-async demo"), ("tests", "test", ".venv/bin/python -m pytest")],
)
def test_a_newcomer_needs_one_command(name: str, extra: str, last: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(rf"^```sh {name}\n(.*?)```$", readme, re.MULTILINE | re.DOTALL)
    assert block is not None
    # Both are editable installs, so that one line never leaves an old copy of the package for the other.
    assert block[1] == (f"python3 -m venv .venv && .venv/bin/pip install -q -e '.[{extra}]' && {last}\n")


def test_the_package_is_marked_as_typed() -> None:
    assert (importlib.resources.files(runai_async) / "py.typed").is_file()


@pytest.mark.parametrize(
    ("module", "missing", "message"),
    [
        (
            "exporter",
            "prometheus_client",
            "the exporter needs prometheus-client: pip install 'runai-async[exporter]'",
        ),
        (
            "testing.fixtures",
            "pytest_asyncio",
            "the fixtures need pytest-asyncio: pip install pytest-asyncio",
        ),
        ("telemetry", "opentelemetry", "spans need opentelemetry-api: pip install 'runai-async[telemetry]'"),
    ],
)
def test_a_module_without_its_extra_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, module: str, missing: str, message: str
) -> None:
    monkeypatch.delitem(sys.modules, f"runai_async.{module}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError) as caught:
        importlib.import_module(f"runai_async.{module}")
    assert str(caught.value) == message


def test_importing_the_package_needs_no_extra_and_no_test_library() -> None:
    code = (
        "import sys, runai_async\n"
        "print(*{'click', 'rich', 'prometheus_client', 'opentelemetry', 'pytest'} & sys.modules.keys())"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(runai_async.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("\n", "")

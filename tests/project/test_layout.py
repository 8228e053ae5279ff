"""The tests mirror the package, and what they share stands in tests/support."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "runai_async"
MODULES = sorted(TESTS.rglob("*.py"))
TEST_MODULES = [path for path in MODULES if path.name.startswith("test_")]
NOT_MIRRORED = {"support", "system", "project", "typing", "data"}


def imported(source: str) -> Iterator[str]:
    """Yield the names of the modules that a source imports, and of what it imports from them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import test_a", ["test_a"]),
        ("def f():\n    from tests.cli.test_a import x", ["tests.cli.test_a.x"]),
        ("from . import test_a", [".test_a"]),
    ],
)
def test_every_kind_of_import_is_seen(source: str, names: list[str]) -> None:
    assert list(imported(source)) == names


def test_no_test_module_is_imported_by_another_module() -> None:
    names = {path.stem for path in TEST_MODULES}
    found = {
        (path.name, name)
        for path in MODULES
        for name in imported(path.read_text(encoding="utf-8"))
        if names & set(name.split("."))
    }
    assert found == set()


def test_test_modules_have_different_names() -> None:
    # Type checkers see each of them as a module at the top level.
    assert len({path.name for path in TEST_MODULES}) == len(TEST_MODULES)


def test_the_folders_are_those_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS).parts[0] for path in TEST_MODULES if path.parent != TESTS}
    packages = {path.parent.name.removeprefix("_") for path in PACKAGE.glob("*/__init__.py")}
    assert folders - NOT_MIRRORED == packages

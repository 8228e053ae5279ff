"""Every name that users may import, listed so that none disappears unannounced; and how it is imported."""

import ast
import copy
import importlib
import inspect
import json
import os
import pickle
import pydoc
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import runai_async
from runai_async import errors, events, explanation, exporter, hooks, models, telemetry, testing
from runai_async._version import __version__

NAMES = {
    "the client": "RunaiClient ClientOptions Auth WorkloadIds WorkloadQuery ClientCredentials CliCredentials "
    "FileToken StaticToken TokenProvider",
    "for a clock or transport of the user's own": "Clock Transport Request Response",
    "policies": "PollPolicy RetryPolicy",
    "hooks": "Hook HookEvent CallStarted CallFinished PollStarted PollFinished RetryScheduled TokenRefreshed",
    "models": "AllocatedResources ChildReference Cluster ClusterState Condition ExtendedResource HistoryMeta "
    "HistoryRecord HistorySpec InvolvedObject Phase PhaseUpdate Pod PodContainer RequestedPods "
    "RequestedResources ResourceCores ResourceQuantity Revision RevisionLogEvent Workload",
    "why a revision does not serve": "Explanation EventCount",
    "working with models": "FieldChange compare_revisions from_json to_cloudevent to_json",
    "errors": "RunaiError ConfigurationError TransportError AttemptTimeoutError DeadlineExceededError "
    "DecodeError ApiError AuthenticationError PermissionDeniedError NotFoundError RateLimitError ServerError "
    "InternalServerError ServiceUnavailableError WatchOutageError WaitError PhaseFailedError "
    "RolloutFailedError WaitTimeoutError",
    "events": "RevisionAdded PhaseChanged RevisionUpdated RevisionStalled RevisionDeleted Synced "
    "WatchDegraded WatchRecovered WorkloadFailed ClusterDisconnected ClusterConnected RevisionEvent "
    "ClusterEvent WatchEvent FleetEvent",
    "watches": "RevisionWatch WatchStatus FleetWatch FleetStatus Checkpoint FleetCheckpoint RevisionMark "
    "PollStreak StallMark shard_of",
    "the version": "__version__",
}
LISTED = sorted(name for names in NAMES.values() for name in names.split())
MODULES = "checkpoint client diff errors events explanation hooks models policy"
OF_TESTING = "FakeControlPlane FakeTransport FakeClock Clock Transport Request Response"
OBSERVING = [(exporter, ["Metrics", "serving"]), (telemetry, ["SpanHook"])]
FAILED = runai_async.WorkloadFailed(
    workload_id="w", observed_at=datetime(2026, 1, 1, tzinfo=UTC), error=runai_async.TransportError("gone")
)
DEPRECATED: dict[str, tuple[Callable[[], object], str]] = {
    "exporter.Metrics.tell": (lambda: exporter.Metrics().tell(FAILED), r"Metrics\.observe"),
    "testing.Answered": (lambda: testing.Answered, "RecordedResponse"),
    "testing.FakeControlPlane.answers": (lambda: testing.FakeControlPlane().answers, "responses"),
    "testing.FakeControlPlane(record_answers=...)": (
        lambda: testing.FakeControlPlane(record_answers=True),
        "record_responses",
    ),
}
"""How each old name is used, and the new name that its warning gives."""
EXTRAS = {"click", "opentelemetry", "prometheus_client", "pytest", "rich"}

CLASSES = [name for name in LISTED if inspect.isclass(getattr(runai_async, name))]


_STDLIB = sys.stdlib_module_names | {"_missing_stdlib_info"}  # which Python 3.15 has, but does not list


def fresh(code: str) -> Any:
    """Run code in a new interpreter and return what it prints as JSON."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import json, sys\n{code}"],
        env=os.environ | {"PYTHONPATH": str(Path(runai_async.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return json.loads(ran.stdout)


def imported_by(code: str) -> set[str]:
    """Return the modules that code imports in a new interpreter: ours in full, others by their package."""
    new = fresh(f"before = set(sys.modules)\n{code}\nprint(json.dumps(sorted(set(sys.modules) - before)))")
    return {
        name if name.startswith("runai_async") else name.partition(".")[0]
        for name in new
        if name.partition(".")[0] not in _STDLIB
    }


# --- the names --------------------------------------------------------------------------------------------


def test_every_public_name_is_listed_once() -> None:
    assert sorted(runai_async.__all__) == LISTED
    assert len(set(LISTED)) == len(LISTED)


def test_importing_everything_brings_the_listed_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from runai_async import *", namespace)
    assert sorted(set(namespace) - {"__builtins__"}) == LISTED


@pytest.mark.parametrize(
    "module", [errors, events, explanation, hooks, models], ids=lambda module: module.__name__
)
def test_no_public_class_of_a_module_is_forgotten(module: Any) -> None:
    defined = {
        name
        for name, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }
    # `Hooks` holds the hooks of one client; users pass callables.
    assert defined - {"Hooks"} - set(LISTED) == set()


@pytest.mark.parametrize("name", OF_TESTING.split())
def test_what_tests_need_can_be_imported_from_testing(name: str) -> None:
    assert name in testing.__all__
    assert inspect.isclass(getattr(testing, name))


@pytest.mark.parametrize(("module", "names"), OBSERVING, ids=["exporter", "telemetry"])
def test_a_module_with_an_extra_has_the_listed_names(module: Any, names: list[str]) -> None:
    assert module.__all__ == names


@pytest.mark.parametrize("name", DEPRECATED)
def test_an_old_name_still_works_and_its_warning_gives_the_new_one(name: str) -> None:
    use, new = DEPRECATED[name]
    with pytest.warns(DeprecationWarning, match=rf"\b{new}\b") as caught:
        use()
    assert [warning.filename for warning in caught] == [__file__]


def test_a_name_of_both_packages_means_the_same() -> None:
    shared = set(testing.__all__) & set(LISTED)
    assert shared == {"Clock", "Request", "Response", "Transport"}
    assert [name for name in shared if getattr(testing, name) is not getattr(runai_async, name)] == []


def test_the_fixtures_have_their_names() -> None:
    fixtures = importlib.import_module("runai_async.testing.fixtures")
    assert {"runai_control_plane", "runai_client"} <= set(dir(fixtures))


def test_the_version_has_one_place() -> None:
    assert runai_async.__version__ == __version__


# --- imported when they are first used --------------------------------------------------------------------


def test_importing_the_package_imports_nothing_but_the_version() -> None:
    assert imported_by("import runai_async") == {"runai_async", "runai_async._version"}


@pytest.mark.parametrize("name", ["Phase", "Revision", "PollPolicy", "RunaiError", "PhaseChanged", "Hook"])
def test_a_value_is_imported_without_any_library_but_attrs(name: str) -> None:
    libraries = {module for module in imported_by(f"from runai_async import {name}") if "." not in module}
    assert libraries <= {"runai_async", "attr", "attrs"}


def test_only_the_client_imports_aiohttp() -> None:
    others = ", ".join(name for name in LISTED if name not in {"RunaiClient", "ClientOptions"})
    assert "aiohttp" not in imported_by(f"from runai_async import {others}")


def test_everything_can_be_imported_without_an_extra() -> None:
    imported = imported_by("from runai_async import *")
    assert "aiohttp" in imported
    assert imported & EXTRAS == set()


def test_a_name_is_imported_once() -> None:
    assert fresh(
        "import runai_async\n"
        "first = 'Phase' in vars(runai_async)\n"
        "runai_async.Phase\n"
        "print(json.dumps([first, 'Phase' in vars(runai_async)]))"
    ) == [False, True]


def test_public_modules_are_attributes_as_soon_as_the_package_is_imported() -> None:
    names = [f"runai_async.{name}" for name in MODULES.split()]
    code = f"import runai_async\nprint(json.dumps([module.__name__ for module in ({', '.join(names)})]))"
    assert fresh(code) == names


@pytest.mark.parametrize("name", ["Nonsense", "_clock_", "__wrapped__", ""])
def test_an_unknown_name_is_the_usual_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'runai_async' has no attribute '{name}'$"):
        getattr(runai_async, name)


def test_importing_an_unknown_name_is_the_usual_error() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nonsense' from 'runai_async'"):
        exec("from runai_async import Nonsense")


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    tree = ast.parse(Path(runai_async.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: (node.module or "").removeprefix("runai_async.")
        for node in imports
        if (node.module or "").startswith("runai_async.")
        for alias in node.names
    }
    assert seen == {**runai_async._MODULES, "__version__": "_version"}


# --- what tools make of them ------------------------------------------------------------------------------


def test_dir_has_every_name_before_it_is_used() -> None:
    assert set(LISTED) <= set(fresh("import runai_async\nprint(json.dumps(dir(runai_async)))"))


def test_pydoc_documents_every_class() -> None:
    text = fresh(
        "import pydoc, runai_async\nprint(json.dumps(pydoc.plaintext.document(runai_async, 'runai_async')))"
    )
    assert [name for name in CLASSES if f"class {name}(" not in text] == []
    assert "compare_revisions(" in text


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_can_be_inspected_copied_and_pickled(name: str) -> None:
    cls = getattr(runai_async, name)
    assert (cls.__name__, pydoc.locate(f"runai_async.{name}")) == (name, cls)
    assert f"class {name}" in inspect.getsource(cls)
    assert copy.deepcopy(cls) is copy.copy(cls) is pickle.loads(pickle.dumps(cls)) is cls


def test_inspect_finds_the_members() -> None:
    found = fresh(
        "import inspect, runai_async\n"
        "print(json.dumps([name for name, _ in inspect.getmembers(runai_async, inspect.isclass)]))"
    )
    assert set(CLASSES) <= set(found)


@pytest.mark.parametrize(
    "value",
    [
        runai_async.Phase("Running"),
        runai_async.Phase("Suspending"),
        runai_async.RetryPolicy(attempts=2),
        runai_async.PollPolicy(emit={"updated"}),
        runai_async.StaticToken("abc"),
        runai_async.CallStarted("get_revision"),
        runai_async.Checkpoint("3f0f1e0c-7d61-4c0e-9d4a-0d2f6f8f1b11", ()),
        runai_async.Response(503, {"Retry-After": "2"}),
    ],
    ids=repr,
)
def test_a_value_is_equal_after_copying_and_pickling(value: Any) -> None:
    assert (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))) == (value,) * 3


def test_a_value_can_be_unpickled_before_the_package_is_imported() -> None:
    value = runai_async.PhaseFailedError("the image does not exist")
    code = (
        f"import pickle\nprint(json.dumps(repr(pickle.loads(bytes.fromhex('{pickle.dumps(value).hex()}')))))"
    )
    assert fresh(code) == repr(value)

"""Every name that users may import, listed: what is here does not go away unannounced."""

import importlib
import inspect
from typing import Any

import pytest

import runai_async
from runai_async import errors, events, hooks, models, testing
from runai_async._version import __version__

NAMES = {
    "the client": "RunaiClient Auth WorkloadIds ClientCredentials CliCredentials StaticToken TokenProvider",
    "policies": "PollPolicy RetryPolicy",
    "hooks": "Hook HookEvent CallStarted CallFinished PollStarted PollFinished RetryScheduled TokenRefreshed",
    "models": "AllocatedResources ChildReference Condition ExtendedResource HistoryMeta HistoryRecord "
    "HistorySpec Phase PhaseUpdate RequestedPods RequestedResources ResourceCores ResourceQuantity "
    "Revision Workload",
    "what is done with them": "FieldChange compare_revisions from_json to_cloudevent to_json",
    "errors": "RunaiError ConfigurationError TransportError AttemptTimeoutError DeadlineExceededError "
    "DecodeError ApiError AuthenticationError PermissionDeniedError NotFoundError RateLimitError ServerError "
    "InternalServerError ServiceUnavailableError WatchOutageError WaitError PhaseFailedError "
    "RolloutFailedError WaitTimeoutError",
    "events": "RevisionAdded PhaseChanged RevisionUpdated RevisionDeleted Synced WatchDegraded "
    "WatchRecovered WorkloadFailed RevisionEvent WatchEvent FleetEvent",
    "watches": "RevisionWatch WatchStatus FleetWatch FleetStatus Checkpoint FleetCheckpoint RevisionMark",
    "the version": "__version__",
}
LISTED = sorted(name for names in NAMES.values() for name in names.split())
OF_TESTING = "FakeControlPlane FakeTransport FakeClock Clock Transport Request Response"


def test_every_public_name_is_listed_once() -> None:
    assert sorted(runai_async.__all__) == LISTED
    assert len(set(LISTED)) == len(LISTED)


def test_importing_everything_brings_the_listed_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from runai_async import *", namespace)
    assert sorted(set(namespace) - {"__builtins__"}) == LISTED


@pytest.mark.parametrize("module", [errors, events, hooks, models], ids=lambda module: module.__name__)
def test_no_public_class_of_a_module_is_forgotten(module: Any) -> None:
    defined = {
        name
        for name, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }
    # `Hooks` holds the hooks of one client; users hand over callables.
    assert defined - {"Hooks"} - set(LISTED) == set()


@pytest.mark.parametrize("name", OF_TESTING.split())
def test_what_tests_need_can_be_imported_from_testing(name: str) -> None:
    assert name in testing.__all__
    assert inspect.isclass(getattr(testing, name))


def test_the_fixtures_have_their_names() -> None:
    fixtures = importlib.import_module("runai_async.testing.fixtures")
    assert {"runai_control_plane", "runai_client"} <= set(dir(fixtures))


def test_the_version_has_one_place() -> None:
    assert runai_async.__version__ == __version__

"""What hooks receive, and that they cannot harm what they observe."""

import asyncio
import contextlib
import logging
from typing import Any, get_args

import attrs
import pytest

from runai_async import (
    CallFinished,
    CallStarted,
    HookEvent,
    PollFinished,
    PollStarted,
    RetryPolicy,
    RetryScheduled,
    RunaiClient,
    TokenRefreshed,
    TransportError,
)
from runai_async.hooks import Hooks
from runai_async.testing import FakeClock, FakeTransport, Response, SentRequest

EVENT = CallStarted("get_revision")
FIELDS = {
    CallStarted: ["operation"],
    RetryScheduled: ["operation", "attempt", "error", "status", "delay"],
    CallFinished: ["operation", "attempt", "status", "error", "seconds"],
    PollStarted: ["workload_id"],
    PollFinished: ["workload_id", "error", "events", "undecodable", "seconds"],
    TokenRefreshed: ["error", "expires_in", "seconds"],
}


def test_a_hook_receives_one_of_six_values() -> None:
    assert {cls: list(attrs.fields_dict(cls)) for cls in get_args(HookEvent)} == FIELDS


@pytest.mark.parametrize("cls", get_args(HookEvent))
def test_what_a_hook_receives_is_frozen_slotted_and_equal_by_its_fields(cls: Any) -> None:
    names = FIELDS[cls]
    event = cls(*names)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(event, names[0], "another")
    assert not hasattr(event, "__dict__")
    assert event == cls(**dict(zip(names, names, strict=True)))
    assert hash(event) == hash(cls(*names))


@pytest.mark.parametrize(
    "error", [TransportError("gone"), LookupError("of a session of the caller's"), asyncio.CancelledError()]
)
async def test_a_call_and_a_poll_that_fail_report_the_class_of_any_exception(error: BaseException) -> None:
    def fail(_: SentRequest) -> Response:
        raise error

    received: list[HookEvent] = []
    options: dict[str, Any] = {"clock": FakeClock(auto=True), "retry": RetryPolicy(attempts=1)}
    async with RunaiClient(
        "https://acme.run.ai", "token", transport=FakeTransport([fail]), hooks=[received.append], **options
    ) as runai:
        with contextlib.suppress(BaseException):
            await anext(runai.watch_revisions("5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"))
    ended = [
        (type(event), event.error) for event in received if isinstance(event, CallFinished | PollFinished)
    ]
    assert ended[:2] == [(CallFinished, type(error).__name__), (PollFinished, type(error).__name__)]


def test_every_hook_is_called_in_order() -> None:
    received: list[tuple[str, HookEvent]] = []
    hooks = Hooks(
        iter([lambda event: received.append(("a", event)), lambda event: received.append(("b", event))])
    )
    hooks.notify(EVENT)
    hooks.notify(PollStarted("w"))
    assert received == [("a", EVENT), ("b", EVENT), ("a", PollStarted("w")), ("b", PollStarted("w"))]


def test_no_hooks_are_falsy() -> None:
    assert not Hooks()
    assert not Hooks([])
    assert Hooks([print])
    Hooks().notify(EVENT)


def test_a_hook_that_raises_is_logged_once_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    received: list[HookEvent] = []

    def broken(event: HookEvent) -> None:
        raise ValueError(f"cannot take {event}")

    def broken_too(event: HookEvent) -> None:
        raise LookupError

    hooks = Hooks([broken, received.append, broken_too])
    for _ in range(3):
        hooks.notify(EVENT)
    assert received == [EVENT] * 3
    records = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    message = "a hook raised on CallStarted; its further errors are ignored"
    assert records == [("runai_async", logging.ERROR, message)] * 2
    raised = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert raised == [ValueError, LookupError]


def test_the_same_hook_of_another_client_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: HookEvent) -> None:
        raise ValueError

    Hooks([broken]).notify(EVENT)
    Hooks([broken]).notify(EVENT)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_hook_does_not_swallow_what_ends_the_program(stop: type[BaseException]) -> None:
    def ending(_: HookEvent) -> None:
        raise stop

    with pytest.raises(stop):
        Hooks([ending]).notify(EVENT)

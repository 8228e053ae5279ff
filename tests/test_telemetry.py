"""The spans of `SpanHook`: one for each operation and poll, the parents of aiohttp's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import runai_async
from runai_async import (
    CallFinished,
    CallStarted,
    NotFoundError,
    PollFinished,
    PollPolicy,
    RetryScheduled,
    RunaiClient,
    TokenRefreshed,
)
from runai_async.telemetry import SpanHook
from runai_async.testing import FakeControlPlane

NO_REVISION = "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"
POLL = PollPolicy(interval=0.02)


class Spans:
    """The spans that a process' SDK would export."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._memory))

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._memory.get_finished_spans()

    @property
    def ours(self) -> list[ReadableSpan]:
        return [span for span in self.ended if span.kind == SpanKind.INTERNAL]

    def only(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.ended if span.name == name]
        return span

    def parent(self, span: ReadableSpan) -> ReadableSpan | None:
        if span.parent is None:
            return None
        (parent,) = [item for item in self.ended if item.context.span_id == span.parent.span_id]
        return parent


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Keep spans, also those of aiohttp's instrumentation."""
    spans, instrumentation = Spans(), AioHttpClientInstrumentor()
    instrumentation.instrument(tracer_provider=spans.provider)
    yield spans
    instrumentation.uninstrument()
    spans.provider.shutdown()
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
async def runai(control_plane: FakeControlPlane, spans: Spans) -> AsyncIterator[RunaiClient]:
    async with RunaiClient(control_plane.url, control_plane.token, hooks=[SpanHook(spans.provider)]) as runai:
        yield runai


async def test_a_call_is_one_internal_span_and_the_parent_of_the_request_s(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    await runai.count_revisions(control_plane.add_workload())
    request, call = spans.ended
    assert (call.name, call.kind, call.status.status_code) == (
        "count_revisions",
        SpanKind.INTERNAL,
        StatusCode.UNSET,
    )
    assert call.attributes == {
        "runai.operation": "count_revisions",
        "runai.attempts": 1,
        "http.response.status_code": 200,
    }
    scope = call.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("runai_async", runai_async.__version__)
    assert (request.kind, spans.parent(request)) == (SpanKind.CLIENT, call)
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_call_is_the_child_of_the_caller_s_span(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    with spans.provider.get_tracer("app").start_as_current_span("handler") as handler:
        await runai.count_revisions(control_plane.add_workload())
        assert trace.get_current_span() is handler
    assert spans.parent(spans.only("count_revisions")) == spans.only("handler")


async def test_retries_are_events_of_one_span(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    control_plane.fail_next(2, 503, headers={"Retry-After": "0"})
    await runai.count_revisions(control_plane.add_workload())
    call = spans.only("count_revisions")
    retries = [(event.name, dict(event.attributes or {})) for event in call.events]
    delays = [attributes.pop("runai.delay") for _, attributes in retries]
    assert retries == [
        (
            "retry",
            {
                "runai.attempt": attempt,
                "error.type": "ServiceUnavailableError",
                "http.response.status_code": 503,
            },
        )
        for attempt in (1, 2)
    ]
    assert all(isinstance(delay, float) and 0 <= delay <= 1 for delay in delays)
    assert call.status.status_code == StatusCode.UNSET
    assert attribute(call, "runai.attempts") == 3
    assert [spans.parent(span) for span in spans.ended if span.kind == SpanKind.CLIENT] == [call] * 3


def attribute(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


async def test_an_error_is_the_span_s_status(runai: RunaiClient, spans: Spans) -> None:
    with pytest.raises(NotFoundError):
        await runai.get_revision(NO_REVISION)
    call = spans.only("get_revision")
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, "NotFoundError")
    assert attribute(call, "error.type") == "NotFoundError"
    assert attribute(call, "http.response.status_code") == 404


async def test_a_cancelled_call_has_ended_and_is_not_an_error(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    control_plane.fault("hang")
    call = asyncio.create_task(runai.get_revision(NO_REVISION))
    while not control_plane.requests:
        await asyncio.sleep(0.002)
    call.cancel()
    await asyncio.wait({call})
    span = spans.only("get_revision")
    assert (span.status.status_code, attribute(span, "runai.cancelled")) == (StatusCode.UNSET, True)
    assert attribute(span, "error.type") is None
    await runai.count_revisions(control_plane.add_workload())
    assert spans.only("count_revisions").parent is None


async def test_a_call_that_timed_out_leaves_its_caller_s_context_as_it_was(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    control_plane.fault("hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await runai.get_revision(NO_REVISION)
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert attribute(spans.only("get_revision"), "runai.cancelled") is True


async def test_concurrent_calls_do_not_get_mixed_up(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    control_plane.fault("latency", seconds=0.02, times=40, rate=0.5)
    workload_id = control_plane.add_workload()
    ids = [control_plane.add_revision(workload_id) for _ in range(20)]
    calls = [runai.count_revisions(workload_id) for _ in ids]
    await asyncio.gather(*calls, *(runai.get_revision(item) for item in ids))
    ours = {span.context.span_id: span.name for span in spans.ours}
    assert sorted(ours.values()) == ["count_revisions"] * 20 + ["get_revision"] * 20
    parents = [spans.parent(span) for span in spans.ended if span.kind == SpanKind.CLIENT]
    assert {parent.context.span_id for parent in parents if parent} == set(ours)  # each has its request
    assert [span for span in spans.ours if span.parent] == []


async def test_a_poll_is_the_parent_of_its_call(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    workload_id = control_plane.add_workload()
    control_plane.add_revision(workload_id)
    async with aclosing(runai.watch_revisions(workload_id, poll=POLL)) as watch:
        await anext(watch)
        assert trace.get_current_span() is trace.INVALID_SPAN
    request, call, poll = spans.ended
    assert (request.kind, call.name, poll.name) == (SpanKind.CLIENT, "list_revisions", "poll")
    assert (spans.parent(request), spans.parent(call), spans.parent(poll)) == (call, poll, None)
    assert poll.attributes == {
        "runai.workload.id": workload_id,
        "runai.poll.events": 1,
        "runai.poll.undecodable": 0,
    }


async def test_a_failed_poll_sets_the_span_s_status(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    workload_id = control_plane.add_workload()
    control_plane.add_revision(workload_id)
    control_plane.fail_next(1, 418)
    async with aclosing(runai.watch_revisions(workload_id, poll=POLL)) as watch:
        await anext(watch)
    first, second = [span for span in spans.ours if span.name == "poll"]
    assert (first.status.status_code, attribute(first, "error.type")) == (StatusCode.ERROR, "ApiError")
    assert second.status.status_code == StatusCode.UNSET


async def test_polls_of_a_fleet_are_traces_of_their_own(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    ids = [control_plane.add_workload() for _ in range(5)]
    for workload_id in ids:
        control_plane.add_revision(workload_id, "Running")
    async with runai.watch_fleet(ids, poll=POLL, max_concurrency=2) as fleet:
        while sum(span.name == "poll" for span in spans.ended) < 20:
            await asyncio.sleep(0.01)
        assert fleet.status.watched == 5
    polls = {span.context.span_id: span for span in spans.ours if span.name == "poll"}
    assert {attribute(span, "runai.workload.id") for span in polls.values()} == set(ids)
    assert {span.parent for span in polls.values()} == {None}
    calls = [span for span in spans.ours if span.name == "list_revisions"]
    assert {span.parent.span_id for span in calls if span.parent} == set(polls)
    assert len(calls) == len(polls)


def links(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


@pytest.mark.parametrize("given", [True, False], ids=["ids", "discovery"])
async def test_polls_of_a_fleet_are_not_in_the_trace_in_which_it_was_entered(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans, given: bool
) -> None:
    workload_id = control_plane.add_workload()
    control_plane.add_revision(workload_id, "Running")
    workloads = [workload_id] if given else runai.inference_workloads
    with spans.provider.get_tracer("app").start_as_current_span("request") as request:
        async with runai.watch_fleet(workloads, poll=POLL) as fleet:
            await anext(fleet)
            while sum(span.name == "poll" for span in spans.ended) < 3:
                await asyncio.sleep(0.01)
            assert trace.get_current_span() is request
    traces = {span.context.trace_id for span in spans.ours if span.name == "poll"}
    roots = [span for span in spans.ours if span.name in {"poll", "list_workloads"}]
    assert len(traces) == sum(span.name == "poll" for span in roots)
    assert {span.parent for span in roots} == {None}
    assert {tuple(links(span)) for span in roots} == {(request.get_span_context().span_id,)}
    inside = [span for span in spans.ended if span.context.trace_id == request.get_span_context().trace_id]
    assert [span.name for span in inside] == ["request"]
    calls = [span for span in spans.ours if span.name == "list_revisions"]
    assert [links(span) for span in calls] == [[]] * len(calls)


async def test_requests_of_a_fleet_without_the_hook_are_not_in_that_trace_either(
    control_plane: FakeControlPlane, spans: Spans
) -> None:
    workload_id = control_plane.add_workload()
    control_plane.add_revision(workload_id, "Running")
    async with RunaiClient(control_plane.url, control_plane.token) as runai:
        with spans.provider.get_tracer("app").start_as_current_span("request"):
            async with runai.watch_fleet([workload_id], poll=POLL) as fleet:
                await anext(fleet)
    assert spans.only("request").parent is None
    assert {span.parent for span in spans.ended} == {None}


async def test_a_fleet_keeps_the_rest_of_the_context_in_which_it_was_entered(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="none")
    seen: list[tuple[str, object]] = []

    def workloads() -> list[str]:
        seen.append((tenant.get(), baggage.get_baggage("key")))
        return []

    tenant.set("acme")
    token = context.attach(baggage.set_baggage("key", "value"))
    async with runai.watch_fleet(workloads, poll=POLL):
        tenant.set("other")
        while not seen:
            await asyncio.sleep(0.01)
    context.detach(token)
    assert seen[0] == ("acme", "value")
    assert spans.ended == ()


async def test_a_watch_polls_in_the_trace_of_its_consumer(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    workload_id = control_plane.add_workload()
    control_plane.add_revision(workload_id)
    tracer = spans.provider.get_tracer("app")
    with tracer.start_as_current_span("opens it"):
        watch = runai.watch_revisions(workload_id, poll=POLL)
    with tracer.start_as_current_span("consumes it"):
        await anext(watch)
    assert spans.parent(spans.only("poll")) == spans.only("consumes it")


@contextmanager
def suppressed_as_before() -> Iterator[None]:
    token = context.attach(context.set_value("suppress_instrumentation", value=True))
    yield
    context.detach(token)


@pytest.mark.parametrize("suppress", [suppress_instrumentation, suppressed_as_before])
async def test_suppressed_instrumentation_makes_no_span(
    control_plane: FakeControlPlane, runai: RunaiClient, spans: Spans, suppress: Any
) -> None:
    workload_id = control_plane.add_workload()
    revision_id = control_plane.add_revision(workload_id)
    control_plane.fail_next(1, 503, headers={"Retry-After": "0"})
    with spans.provider.get_tracer("app").start_as_current_span("outer") as outer, suppress():
        await runai.get_revision(revision_id)
        await anext(runai.watch_revisions(workload_id, poll=POLL))
        async with runai.watch_fleet([workload_id], poll=POLL) as fleet:
            await anext(fleet)
        assert trace.get_current_span() is outer
    assert [span.name for span in spans.ended] == ["outer"]
    assert spans.only("outer").events == ()
    await runai.get_revision(revision_id)
    assert spans.only("get_revision").parent is None


def test_a_call_that_began_before_the_hook_was_added_has_no_span(spans: Spans) -> None:
    hook = SpanHook(spans.provider)
    hook(RetryScheduled("get_revision", 1, "TransportError", None, 0.5))
    hook(CallFinished("get_revision", 1, 200, None, 0.1))
    hook(PollFinished("w", None, 0, 0, 0.1))
    assert spans.ended == ()


def test_a_new_token_has_no_span(spans: Spans) -> None:
    SpanHook(spans.provider)(TokenRefreshed(None, 3600.0, 0.1))
    assert spans.ended == ()


def test_an_attempt_without_a_response_has_no_status(spans: Spans) -> None:
    hook = SpanHook(spans.provider)
    hook(CallStarted("get_revision"))
    hook(RetryScheduled("get_revision", 1, "TransportError", None, 0.5))
    hook(CallFinished("get_revision", 2, None, "TransportError", 0.7))
    span = spans.only("get_revision")
    (retry,) = span.events
    assert dict(retry.attributes or {}) == {
        "runai.attempt": 1,
        "error.type": "TransportError",
        "runai.delay": 0.5,
    }
    assert attribute(span, "http.response.status_code") is None


async def test_without_an_sdk_nothing_happens(control_plane: FakeControlPlane) -> None:
    async with RunaiClient(control_plane.url, control_plane.token, hooks=[SpanHook()]) as runai:
        assert await runai.count_revisions(control_plane.add_workload()) == 0

"""The spans of `SpanHook`: one for each operation and poll, the parents of aiohttp's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
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
)
from runai_async.telemetry import SpanHook
from runai_async.testing import FakeControlPlane

NO_REVISION = "5d6e6a0a-5f0a-4a4e-9a5b-0c7a1f1f6b1d"
POLL = PollPolicy(interval=0.02)


class Spans:
    """What a process' SDK would send away."""

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
    """Keep spans, those of aiohttp's instrumentation too."""
    spans, instrumentation = Spans(), AioHttpClientInstrumentor()
    instrumentation.instrument(tracer_provider=spans.provider)
    yield spans
    instrumentation.uninstrument()
    spans.provider.shutdown()
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
async def plane() -> AsyncIterator[FakeControlPlane]:
    async with FakeControlPlane() as plane:
        yield plane


@pytest.fixture
async def runai(plane: FakeControlPlane, spans: Spans) -> AsyncIterator[RunaiClient]:
    async with RunaiClient(plane.url, plane.token, hooks=[SpanHook(spans.provider)]) as runai:
        yield runai


async def test_a_call_is_one_internal_span_and_the_parent_of_the_request_s(
    plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    await runai.count_revisions(plane.add_workload())
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
    plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    with spans.provider.get_tracer("app").start_as_current_span("handler") as handler:
        await runai.count_revisions(plane.add_workload())
        assert trace.get_current_span() is handler
    assert spans.parent(spans.only("count_revisions")) == spans.only("handler")


async def test_retries_are_events_of_one_span(
    plane: FakeControlPlane, runai: RunaiClient, spans: Spans
) -> None:
    plane.fail_next(1, 503, headers={"Retry-After": "0"})
    plane.fault("reset", times=1)
    await runai.with_options(retry=runai_async.RetryPolicy(wait_initial=0.001)).count_revisions(
        plane.add_workload()
    )
    call = spans.only("count_revisions")
    told = [(event.name, dict(event.attributes or {})) for event in call.events]
    for _, attributes in told:
        assert attributes.pop("runai.delay") is not None
    assert sorted(told, key=lambda item: str(item[1]["runai.attempt"])) == [
        ("retry", {"runai.attempt": 1, "error.type": told[0][1]["error.type"], **status_of(told[0][1])}),
        ("retry", {"runai.attempt": 2, "error.type": told[1][1]["error.type"], **status_of(told[1][1])}),
    ]
    assert {str(attributes["error.type"]) for _, attributes in told} == {
        "ServiceUnavailableError",
        "TransportError",
    }
    assert (call.status.status_code, (call.attributes or {})["runai.attempts"]) == (StatusCode.UNSET, 3)
    assert sum(spans.parent(span) == call for span in spans.ended) == 3

"""OpenTelemetry: a hook that makes a span for each operation and each poll.

This module needs the extra `telemetry`. It uses only OpenTelemetry's API; the SDK decides where spans go.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

from runai_async._values import frozen
from runai_async._version import __version__
from runai_async.hooks import CallFinished, CallStarted, HookEvent, PollFinished, PollStarted, RetryScheduled

try:
    from opentelemetry import context, trace
    from opentelemetry.context import (
        _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]  (there is no public name)
        Context,
    )
    from opentelemetry.trace import (
        INVALID_SPAN,
        Link,
        Span,
        SpanContext,
        SpanKind,
        StatusCode,
        TracerProvider,
    )
except ImportError as _error:
    raise ImportError("spans need opentelemetry-api: pip install 'runai-async[telemetry]'") from _error

__all__ = ["SpanHook"]

_CANCELLED = "CancelledError"


@frozen
class _Open:
    """A span that has begun, and what is needed to leave it."""

    span: Span
    token: Token[Context]
    outer: _Open | None


_innermost: ContextVar[_Open | None] = ContextVar("runai_async_span", default=None)
_origin: ContextVar[SpanContext | None] = ContextVar("runai_async_origin", default=None)
"""The span that `leave_span` left; the traces that begin in this context have a link to it."""


def leave_span() -> None:
    """Leave the current span, which will end before the work that begins in this context does."""
    span = trace.get_current_span().get_span_context()
    _origin.set(span if span.is_valid else _origin.get())
    _innermost.set(None)
    context.attach(trace.set_span_in_context(INVALID_SPAN))


def _links() -> list[Link]:
    """Return the links of a span that begins now: a trace of its own has one to the span that was left."""
    origin, is_root = _origin.get(), not trace.get_current_span().get_span_context().is_valid
    return [Link(origin)] if is_root and origin is not None else []


def _is_suppressed() -> bool:
    """Return whether no spans are wanted here; the second key is that of older libraries."""
    return any(map(context.get_value, (_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")))


class SpanHook:
    """A hook that makes an INTERNAL span for each operation and each poll, with retries as its events.

    The span is the current one in the meantime, so the HTTP spans of aiohttp's instrumentation become its
    children. A cancelled call is not an error; its span has the attribute `runai.cancelled`. Where
    instrumentation is suppressed there are no spans. One hook is enough for a client.

    A call, and a poll of a watch, belongs to the trace of whoever awaits it. A fleet outlives the span in
    which it was entered, so each of its polls and listings is a trace of its own, with a link to that span.

    Args:
        tracer_provider: makes the spans; by default the global provider.

    Example:
        >>> runai = RunaiClient("https://acme.run.ai", token, hooks=[SpanHook()])
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("runai_async", __version__, tracer_provider)

    def __call__(self, event: HookEvent) -> None:
        """Begin or end a span."""
        match event:
            case CallStarted():
                self._begin(event.operation, {"runai.operation": event.operation})
            case PollStarted():
                self._begin("poll", {"runai.workload.id": event.workload_id})
            case RetryScheduled():
                self._retry(event)
            case CallFinished():
                attributes: dict[str, str | int] = {"runai.attempts": event.attempt}
                if event.status is not None:
                    attributes["http.response.status_code"] = event.status
                self._end(event.error, attributes)
            case PollFinished():
                self._end(
                    event.error,
                    {"runai.poll.events": event.events, "runai.poll.undecodable": event.undecodable},
                )
            case _:
                pass

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if _is_suppressed():
            span: Span = INVALID_SPAN
            within = context.get_current()
        else:
            kind = SpanKind.INTERNAL
            span = self._tracer.start_span(name, kind=kind, attributes=attributes, links=_links())
            within = trace.set_span_in_context(span)
        _innermost.set(_Open(span, context.attach(within), _innermost.get()))

    def _retry(self, event: RetryScheduled) -> None:
        if (current := _innermost.get()) is not None:
            attributes: dict[str, str | int | float] = {
                "runai.attempt": event.attempt,
                "error.type": event.error,
                "runai.delay": event.delay,
            }
            if event.status is not None:
                attributes["http.response.status_code"] = event.status
            current.span.add_event("retry", attributes)

    def _end(self, error: str | None, attributes: dict[str, str | int]) -> None:
        current = _innermost.get()
        if current is None:
            return  # it began before this hook was added
        _innermost.set(current.outer)
        context.detach(current.token)
        current.span.set_attributes(attributes)
        if error == _CANCELLED:
            current.span.set_attribute("runai.cancelled", value=True)
        elif error is not None:
            current.span.set_attribute("error.type", error)
            current.span.set_status(StatusCode.ERROR, error)
        current.span.end()

"""How errors are worded."""

import click
import pytest

from runai_async.cli.text import similar
from runai_async.cli.wording import in_flags, usage_text, without_classes

BOTH_REFUSED = (
    "[Multiple exceptions: [Errno 111] Connect call failed ('::1', 9, 0, 0), "
    "[Errno 111] Connect call failed ('127.0.0.1', 9)]"
)


@pytest.mark.parametrize(
    ("text", "worded"),
    [
        ("TransportError: connection refused", "connection refused"),
        ("workload x: polls fail, ServerError: GET y: 503", "workload x: polls fail: GET y: 503"),
        ("the last one failed with RateLimitError: GET y: 429", "the last one failed: GET y: 429"),
        ("not exported: NotFoundError: GET y: 404", "not exported: GET y: 404"),
        ("3 workloads (TransportError: gone)", "3 workloads (gone)"),
        (
            "GET y: ClientConnectorError: Cannot connect to host h:9 [Connect call failed ('127.0.0.1', 9)]",
            "GET y: cannot connect to host h:9",
        ),
        (f"ClientConnectorError: Cannot connect to host h:9 {BOTH_REFUSED}", "cannot connect to host h:9"),
        (
            "ClientConnectorDNSError: Cannot connect to host h:9 [Name or service not known]",
            "cannot connect to host h:9 [Name or service not known]",
        ),
        ("TransportError: GET y: ServerDisconnectedError: Server disconnected", "GET y: server disconnected"),
        ("GET y: ClientOSError: [Errno 104] Connection reset by peer", "GET y: connection reset by peer"),
        ("GET y: ClientOSError", "GET y: the connection failed"),
        ("PermissionError: [Errno 13] no", "no"),
        ("CreateContainerError: no", "CreateContainerError: no"),
        ("the pod says: CudaError: no memory", "the pod says: CudaError: no memory"),
    ],
)
def test_ordinary_messages_name_no_classes(text: str, worded: str) -> None:
    assert without_classes(text) == worded


@pytest.mark.parametrize(
    ("text", "worded"),
    [
        ("base_url must be https: pass allow_http=True", "--base-url must be https: give --allow-http"),
        ("ca_file '/x' cannot be used", "--ca-file '/x' cannot be used"),
        ("no revision newer than the one given as after", "no revision newer than the one given as --after"),
    ],
)
def test_options_are_called_by_their_flags(text: str, worded: str) -> None:
    assert in_flags(text) == worded


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (click.UsageError("Got an extra argument."), "got an extra argument"),
        (click.UsageError("RUNAI_TOKEN is not set"), "RUNAI_TOKEN is not set"),
        (click.BadParameter("Not a number."), "invalid value: Not a number"),
        (click.NoSuchOption("--x"), 'no such option "--x"'),
        (click.MissingParameter(), "missing parameter a value"),
    ],
)
def test_errors_of_click_read_like_ours(error: click.ClickException, text: str) -> None:
    assert usage_text(error) == text


def test_names_that_begin_with_the_text_come_before_similar_ones() -> None:
    names = ["llm", "llm-b", "llm-a", "lln", "other"]
    assert similar("ll", names) == ["llm", "llm-a", "llm-b"]
    assert similar("lmm", names) == ["llm"]
    assert similar("", ["b", "a"]) == ["a", "b"]

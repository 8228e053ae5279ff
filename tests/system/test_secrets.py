"""Secrets are planted everywhere, then searched for in all that the package logs, returns or raises."""

import asyncio
import base64
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest
from support.cli import ran
from support.servers import serving

from runai_async import (
    CliCredentials,
    ClientCredentials,
    ConfigurationError,
    FileToken,
    Phase,
    PollPolicy,
    RetryPolicy,
    RevisionEvent,
    RevisionWatch,
    RunaiClient,
    RunaiError,
    StaticToken,
    compare_revisions,
    to_cloudevent,
    to_json,
)
from runai_async.exporter import Metrics
from runai_async.hooks import Hook, HookEvent
from runai_async.telemetry import SpanHook
from runai_async.testing import FakeControlPlane

ENVIRONMENT = {"DB_PASSWORD": "c4nary-env/&1", "OTHER": "c4nary-env-2"}
COMMAND, ARGUMENTS = "serve --key c4nary-command", "--token c4nary-arguments"
OF_THE_WORKLOAD = {
    "environment": "c4nary-env",
    "command": "c4nary-command",
    "arguments": "c4nary-arguments",
}
OF_OTHERS = {
    "proxy password": "c4nary-pr0xy",
    "base_url password": "c4nary-userinfo",
    "redirect": "c4nary-redirect",
    "cookie": "c4nary-cookie",
    "login": "c4nary-login-0123456789",
}
HEAD = b"HTTP/1.1 200 OK\r\n"


def encodings(secret: str) -> set[str]:
    """Return a secret as it is, as in a URL, and as in the base64 of a longer text, at any position."""
    forms = {secret, quote(secret, safe="")}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        forms.add(encoded[-(-before * 8 // 6) : -1])
    return forms


def found(secrets: Mapping[str, str], texts: Iterable[tuple[str, str]]) -> list[str]:
    """Return which secrets are in which of the named texts."""
    forms = {name: encodings(secret) for name, secret in secrets.items()}
    return [
        f"the {name} is in {where}: …{text[max(0, text.index(form) - 80) :][:200]}…"
        for where, text in texts
        for name, all_forms in forms.items()
        for form in all_forms
        if form in text
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x s3cret-0 y",
        "a%26s3cret-0",
        *(base64.b64encode(b"x" * n + b"s3cret-0yy").decode() for n in range(4)),
    ],
)
def test_a_secret_is_found_however_it_is_written(text: str) -> None:
    assert found({"key": "s3cret-0"}, [("text", text)])[0].startswith("the key is in text: ")


class Collector:
    """Collects everything that is visible: hooks, errors, values, metrics, spans."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.pickles: list[tuple[str, str]] = []
        self.errors: set[str] = set()
        self.hooked: list[HookEvent] = []
        self.metrics = Metrics()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.hooks: list[Hook] = [self.hooked.append, self.metrics.hook, SpanHook(provider)]

    def add(self, what: str, *values: object) -> None:
        self.texts += [(what, f"{value!s}\n{value!r}") for value in values]

    def add_error(self, error: BaseException) -> None:
        self.errors.add(type(error).__name__)
        name = f"{type(error).__name__} {str(error)[:60]}"
        self.add(name, error)
        self.texts.append((f"traceback of {name}", "".join(traceback.format_exception(error))))
        chain: BaseException | None = error
        while chain is not None:
            self.texts.append((f"cause of {name}", repr(chain)))
            self.texts.append((f"attributes of {name}", repr(vars(chain))))
            chain = chain.__cause__
        self.pickles.append((f"pickle of {name}", pickle.dumps(error).decode("latin-1")))

    async def add_failure_of(self, call: Awaitable[object]) -> None:
        """Await a call that must fail, and add its error."""
        with pytest.raises(RunaiError) as caught:
            await call
        self.add_error(caught.value)

    def add_event(self, event: Any) -> None:
        self.add(type(event).__name__, event, to_json(event))
        self.metrics.observe(event)
        if isinstance(event, RevisionEvent):
            self.add("CloudEvent", json.dumps(to_cloudevent(event)), event.revision)
        elif hasattr(event, "error"):
            self.add_error(event.error)

    async def add_events(self, watch: RevisionWatch) -> None:
        async for event in watch:
            self.add_event(event)

    def all_texts(self, log: str) -> list[tuple[str, str]]:
        spans = [span.to_json() for span in self.spans.get_finished_spans()]
        assert spans
        assert self.hooked
        self.add("hook", *self.hooked)
        self.add("metrics", generate_latest(self.metrics.registry).decode())
        self.add("span", *spans)
        self.add("log", log)
        return self.texts


def planted(control_plane: FakeControlPlane) -> tuple[str, str]:
    workload_id = control_plane.add_workload("chat")
    secrets = {"environment_variables": ENVIRONMENT, "command": COMMAND, "arguments": ARGUMENTS}
    return workload_id, control_plane.add_revision(workload_id, "Running", **secrets)


def of_the_client(control_plane: FakeControlPlane) -> dict[str, str]:
    """Return the secrets of the client, and all tokens that it ever sent."""
    sent = {request.headers.get("Authorization", "").partition(" ")[2] for request in control_plane.requests}
    tokens = {f"token {number}": token for number, token in enumerate(sorted(sent - {""}))}
    return {
        "client secret": control_plane.client_secret,
        "token": control_plane.token,
        **tokens,
        **OF_OTHERS,
    }


@asynccontextmanager
async def collecting(
    control_plane: FakeControlPlane, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Collector]:
    """Provide a collector, and search everything that it has collected at the end."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    collected = Collector()
    yield collected
    ours = of_the_client(control_plane)
    log = caplog.text + "\n".join(f"{record.__dict__}" for record in caplog.records)
    assert found({**ours, **OF_THE_WORKLOAD}, collected.all_texts(log)) == []
    # A revision in an error is pickled completely, as it should be. Credentials are not.
    assert found(ours, collected.pickles) == []


def quoting(control_plane: FakeControlPlane, secret: str, path: str | None = None) -> None:
    """Let the next responses repeat a secret, each in another way."""
    headers = {"X-Request-Id": f"id-{secret}", "X-Echo": secret, "Set-Cookie": f"a={OF_OTHERS['cookie']}"}
    hidden = OF_OTHERS["redirect"]
    location = f"https://me:{hidden}@sso.example/login?code={hidden}&t={quote(secret)}#{hidden}"
    for status, body in (
        (400, {"code": 400, "message": f"no: {secret}", "details": f"Bearer {secret}"}),
        (403, {"error": secret, "error_description": f"it was {secret}"}),
        (404, f"<html>{secret} and {quote(secret)}</html>"),
        (418, [secret]),
        (503, secret),
        (200, f"<html>{secret}</html>"),
        (200, {"revisions": secret, "count": secret, "accessToken": [secret]}),
        (200, {"revisions": [{"id": secret, "environmentVariables": [ENVIRONMENT]}], secret: secret}),
    ):
        control_plane.fail_next(1, status, headers=headers, body=body, path=path)
    control_plane.fail_next(1, 302, headers={**headers, "Location": location}, body=secret, path=path)


RESPONSES = 9
ONCE = RetryPolicy(attempts=1)


async def test_no_error_of_a_call_reveals_a_secret(
    control_plane: FakeControlPlane, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    workload_id, revision_id = planted(control_plane)
    encoded = base64.b64encode(OF_OTHERS["login"].encode()).decode()
    (tmp_path / "authentication.json").write_text(json.dumps({"accessToken": encoded}))
    (tmp_path / "token").write_text(token := control_plane.token)
    async with collecting(control_plane, caplog) as collected:
        for auth in (token, StaticToken(token), FileToken(tmp_path / "token"), CliCredentials(tmp_path)):
            secret = OF_OTHERS["login"] if isinstance(auth, CliCredentials) else control_plane.token
            async with RunaiClient(control_plane.url, auth, retry=ONCE, hooks=collected.hooks) as runai:
                collected.add("client", runai, [] if isinstance(auth, str) else auth)
                quoting(control_plane, secret)
                for _ in range(RESPONSES):
                    await collected.add_failure_of(runai.list_revisions(workload_id))
                control_plane.fail_next(1, 401, body={"code": 401, "message": secret})
                await collected.add_failure_of(runai.get_revision(revision_id))
        assert {"ApiError", "NotFoundError", "DecodeError", "AuthenticationError"} <= collected.errors


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_no_error_of_a_token_exchange_reveals_a_secret(
    control_plane: FakeControlPlane, caplog: pytest.LogCaptureFixture, api: Any
) -> None:
    auth = ClientCredentials(control_plane.client_id, control_plane.client_secret, api=api)
    async with collecting(control_plane, caplog) as collected:
        quoting(control_plane, control_plane.client_secret, path="/token$")
        for _ in range(RESPONSES):
            async with RunaiClient(control_plane.url, auth, retry=ONCE, hooks=collected.hooks) as runai:
                collected.add("client", runai, auth)
                await collected.add_failure_of(runai.count_revisions(planted(control_plane)[0]))
        async with RunaiClient(control_plane.url, auth, retry=ONCE, hooks=collected.hooks) as runai:
            await runai.count_revisions(planted(control_plane)[0])
            control_plane.fail_next(
                1, 403, body={"code": 403, "message": control_plane.requests[-1].headers["Authorization"]}
            )
            await collected.add_failure_of(runai.count_revisions(planted(control_plane)[0]))


async def test_no_event_status_or_warning_of_a_watch_reveals_a_secret(
    control_plane: FakeControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    workload_id, revision_id = planted(control_plane)
    policy = PollPolicy(
        interval=0.01, fast_interval=0.01, max_outage=0.05, missing_grace=0.0, deadline=1.0,
        emit=frozenset({"updated", "synced", "degraded", "recovered"}),
    )  # fmt: skip
    async with collecting(control_plane, caplog) as collected:
        async with RunaiClient(
            control_plane.url, control_plane.token, retry=ONCE, hooks=collected.hooks
        ) as runai:
            watch = runai.watch_revisions(workload_id, poll=policy, fill_gaps=True)
            collected.add_event(await anext(watch))
            collected.add_event(await anext(watch))
            control_plane.update_revision(
                revision_id,
                environment_variables={"K": "c4nary-env-3"},
                command="c4nary-command-2",
                arguments="c4nary-arguments-2",
            )
            collected.add_event(await anext(watch))
            control_plane.fail_next(1, 503, body=f"<p>{control_plane.token}</p>")
            for _ in range(2):
                collected.add_event(await anext(watch))
            control_plane.set_phase(revision_id, "Degraded")
            collected.add_event(await anext(watch))
            collected.add("watch", watch, watch.status, watch.checkpoint(), watch.checkpoint().to_json())
            quoting(control_plane, control_plane.token)
            control_plane.fail_next(None, 502, body=f"<p>{control_plane.token}</p>")
            await collected.add_failure_of(collected.add_events(watch))
            assert "WatchOutageError" in collected.errors
            control_plane.clear_faults()

            async with runai.watch_fleet([workload_id], poll=policy) as fleet:
                collected.add_event(await anext(fleet))
                collected.add("fleet", fleet, fleet.status, fleet.checkpoint(), fleet.checkpoint().to_json())
                control_plane.fail_next(None, 403, body={"code": 403, "message": control_plane.token})
                async with asyncio.timeout(5):
                    async for event in fleet:
                        collected.add_event(event)
                        if type(event).__name__ == "WorkloadFailed":
                            break
            control_plane.clear_faults()
            control_plane.set_phase(revision_id, "Failed", "no luck")
            await collected.add_failure_of(runai.wait_for_phase(revision_id, Phase.RUNNING, timeout=0.3))
            await collected.add_failure_of(runai.wait_for_rollout(workload_id, timeout=0.3))
        assert {"PhaseFailedError", "RolloutFailedError", "PermissionDeniedError"} <= collected.errors


def broken(event: HookEvent) -> None:
    raise ValueError(f"a hook that fails on {event}")


async def test_no_value_that_is_shown_reveals_a_secret(
    control_plane: FakeControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    workload_id, revision_id = planted(control_plane)
    async with (
        collecting(control_plane, caplog) as collected,
        RunaiClient(control_plane.url, control_plane.token, hooks=[*collected.hooks, broken]) as runai,
    ):
        before = await runai.get_revision(revision_id)
        control_plane.update_revision(
            revision_id, environment_variables={"K": "c4nary-env-3"}, command="c4nary-command-2"
        )
        after = (await runai.list_revisions(workload_id))[0]
        changes = compare_revisions(before, after)
        assert len(changes) >= 2
        collected.add("value", before, after, changes)
        async for workload in runai.list_workloads():
            collected.add("workload", workload)
        async for record in runai.revision_history(revision_id):
            collected.add("history", record)
        explanation = await runai.explain_revision(revision_id)
        assert explanation.pods
        collected.add("value", explanation, str(explanation), *explanation.pods)
        collected.add("request", *control_plane.requests, control_plane)


BROKEN = [
    b"not http: %s",
    HEAD + b"X-Echo: %s\0\r\n\r\n",
    HEAD + b"X-Echo: %s\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n%s\r\n",
    HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}%s",
    HEAD + b"Content-Length: 9999\r\n\r\n%s",
    HEAD + b"Content-Encoding: gzip\r\nContent-Length: 40\r\n\r\n%s",
    HEAD + b'Content-Length: 99\r\nX-Pad: 1\r\n\r\n{"revisions": [%s',
    b"HTTP/1.1 401 %s\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("sent", BROKEN)
async def test_no_error_of_a_broken_response_reveals_its_content(
    control_plane: FakeControlPlane, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    token = control_plane.token
    quoted = f'{{"environmentVariables": {{"A": "{ENVIRONMENT["OTHER"]}"}}, "t": "Bearer {token}"}}'.encode()
    async with (
        collecting(control_plane, caplog) as collected,
        serving(sent % quoted) as url,
        RunaiClient(url, token, retry=ONCE, hooks=collected.hooks) as runai,
    ):
        await collected.add_failure_of(runai.list_revisions(planted(control_plane)[0]))


async def test_no_error_of_a_proxy_or_an_address_reveals_a_password(
    control_plane: FakeControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    proxy, inner = OF_OTHERS["proxy password"], OF_OTHERS["base_url password"]
    async with collecting(control_plane, caplog) as collected:
        for response in (
            b"",
            b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 502 Bad\r\n\r\n",
            b"junk\r\n\r\n",
        ):
            async with serving(response) as url:
                address = url.replace("http://", f"http://me:{proxy}@")
                for base in ("https://acme.run.ai", "http://acme.run.ai"):
                    client = RunaiClient(
                        base,
                        control_plane.token,
                        proxy=address,
                        retry=ONCE,
                        allow_http=True,
                        hooks=collected.hooks,
                    )
                    async with client as runai:
                        collected.add("client", runai)
                        await collected.add_failure_of(runai.count_revisions(planted(control_plane)[0]))
        for bad in (f"socks5://me:{proxy}@h:1", f"http://me:{proxy}@[h", f"http://me:{proxy}@h:x"):
            with pytest.raises(ConfigurationError) as caught:
                RunaiClient("https://acme.run.ai", "token", proxy=bad)
            collected.add_error(caught.value)
        for bad in (
            f"https://me:{inner}@acme.run.ai",
            f"https://me:{inner}@[acme",
            f"https://me:{inner}@acme:x",
            f"https://me:{inner}@ac me",
            f"https://acme.run.ai\\@{inner}/",
            f"https://acme.run.ai/?token={inner}",
            f"https://{inner}@",
        ):
            with pytest.raises(ConfigurationError) as caught:
                RunaiClient(bad, "token")
            collected.add_error(caught.value)


# --- the command line -------------------------------------------------------------------------------------

COMMANDS = [
    ["watch", "{workload}", "--timeout", "100ms", "--interval", "20ms"],
    ["revisions", "get", "{revision}"],
]
MORE_COMMANDS = [
    ["revisions", "list", "{workload}"],
    ["revisions", "count", "{workload}"],
    ["revisions", "diff", "{workload}", "{revision}", "{other}"],
    ["timeline", "{workload}"],
    ["rollout", "status", "{workload}", "--timeout", "200ms"],
    ["rollout", "status", "--all", "--timeout", "200ms"],
    ["rollout", "history", "{workload}", "-o", "json"],
    ["describe", "{workload}", "-o", "json"],
    ["watch", "{workload}", "--timeout", "100ms", "--interval", "20ms", "--output", "cloudevents"],
]


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, *(pytest.param(command, marks=pytest.mark.slow) for command in MORE_COMMANDS)],
    ids=" ".join,
)
async def test_no_command_reveals_a_secret_even_with_debug(
    control_plane: FakeControlPlane, command: list[str], tmp_path: Path
) -> None:
    workload_id, revision_id = planted(control_plane)
    other = control_plane.add_revision(workload_id, "Running", environment_variables={"K": "c4nary-env-3"})
    words = [
        word.format(workload=workload_id, revision=revision_id, other=other) for word in ["--debug", *command]
    ]
    # Piped, these two print the complete JSON of the API, as their help says.
    complete = command[1] in {"get", "list"}
    patient = command[0] == "watch" or command[1] == "status"
    login = tmp_path / ".runai"
    login.mkdir()
    (login / "authentication.json").write_text(
        json.dumps({"accessToken": base64.b64encode(control_plane.token.encode()).decode()})
    )
    (login / "config.json").write_text(json.dumps({"control_plane": {"url": control_plane.url}}))
    credentials = {
        "RUNAI_CLIENT_ID": control_plane.client_id,
        "RUNAI_CLIENT_SECRET": control_plane.client_secret,
    }
    proxy = {"HTTPS_PROXY": f"http://me:{OF_OTHERS['proxy password']}@127.0.0.1:1"}
    texts: list[tuple[str, str]] = []
    for env, secret, path in (
        ({"RUNAI_TOKEN": control_plane.token}, control_plane.token, None),
        ({"RUNAI_TOKEN": "", **credentials}, control_plane.client_secret, "/token$"),
        ({"RUNAI_TOKEN": "", "RUNAI_BASE_URL": "", "HOME": str(tmp_path)}, control_plane.token, None),
        ({"RUNAI_BASE_URL": "https://acme.invalid", **proxy}, "", None),
        ({"RUNAI_BASE_URL": f"https://me:{OF_OTHERS['base_url password']}@acme.invalid"}, "", None),
    ):
        if secret:
            success = await ran(control_plane, *words, **env)
            texts.append(("the output", success.err + ("" if complete else success.out)))
            quoting(control_plane, secret, path)
        for _ in range(1 if patient or not secret else RESPONSES):
            failure = await ran(control_plane, *words, "--deadline", "50ms", **env)
            texts.append(("the output", failure.err + ("" if complete else failure.out)))
        control_plane.clear_faults()
    assert sum("Traceback" in text for _, text in texts) >= 3
    assert found({**of_the_client(control_plane), **OF_THE_WORKLOAD}, texts) == []

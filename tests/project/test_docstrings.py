"""Every public class has an example, and every example in a docstring runs and prints what it shows."""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from doctest import ELLIPSIS, DocTestParser, Example, OutputChecker
from pathlib import Path
from typing import Any

import pytest
from attrs import fields_dict
from support.harness import HTML_502, REFUSED_401, REFUSED_404, Harness, Reply

import runai_async
from runai_async import Checkpoint, Phase, PollPolicy, Revision, RevisionMark, RunaiClient, telemetry, testing
from runai_async.errors import AttemptTimeoutError, AuthenticationError, TransportError
from runai_async.exporter import Metrics, serving
from runai_async.exporter import _metrics as exporter
from runai_async.telemetry import SpanHook
from runai_async.testing import FakeClock, FakeControlPlane, Request, Response
from runai_async.testing._state import State

PUBLIC: dict[str, Any] = {name: getattr(runai_async, name) for name in runai_async.__all__}
OF_TESTS: dict[str, Any] = {name: getattr(testing, name) for name in testing.__all__}
OBSERVED = {"Metrics": Metrics, "serving": serving, "SpanHook": SpanHook}
ALL = {**PUBLIC, **OF_TESTS, **OBSERVED}


def documented() -> Iterator[tuple[str, str]]:
    """Yield the docstrings of public modules, names, and members of classes."""
    for module in (runai_async, testing, exporter, telemetry):
        yield module.__name__, module.__doc__ or ""
    for name, value in ALL.items():
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value.__doc__ or ""
        for member, item in vars(value).items() if inspect.isclass(value) else ():
            if not member.startswith("_"):
                yield f"{name}.{member}", inspect.getdoc(item) or ""


def examples() -> dict[str, list[Example]]:
    parsed = {name: DocTestParser().get_examples(text, name) for name, text in documented()}
    return {name: found for name, found in parsed.items() if found}


EXAMPLES = examples()


def test_every_public_class_and_function_has_an_example() -> None:
    made = [name for name, value in ALL.items() if inspect.isclass(value) or inspect.isroutine(value)]
    assert [name for name in made if name not in EXAMPLES] == []
    assert len(made) > len(ALL) / 2


def test_every_method_of_the_client_has_an_example() -> None:
    methods = [name for name, _ in inspect.getmembers(RunaiClient, callable) if not name.startswith("_")]
    assert [name for name in methods if f"RunaiClient.{name}" not in EXAMPLES] == ["aclose"]


# --- the world of the examples ------------------------------------------------------------------------------


WORKLOAD_ID = "5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11"
YESTERDAY = "2025-12-31T12:00:00Z"


def rejected() -> AuthenticationError:
    """Return what a token endpoint that rejects the credentials makes of every call."""
    error = AuthenticationError(401, "invalid_client")
    error.is_final = True
    return error


class World(Harness):
    """A rollout, an outage and a deletion; then the token is refused, so that every example ends.

    Its clock jumps when all tasks wait, so those minutes take no time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(auto=True)
        self.state = State(None, self.clock.now, 10_000)
        self.workload_id = self.state.add_workload("chat", "Inference", {"id": WORKLOAD_ID})
        self.first: deque[Reply] = deque()
        self.old = self.add(images=["llm:1"], created_at=YESTERDAY)
        self.state.set_pods(self.old, ["Running"], {})
        self.warn(self.old, "Unhealthy", "Readiness probe failed: HTTP 503")
        self.new = ""
        self.at(15, self.roll_out)
        self.at(35, lambda: self.set_phase(self.new, "Running"))
        self.at(55, lambda: self.state.update_revision(self.new, {"running_pods": 3}))
        self.at(75, lambda: self.state.delete_revision(self.old))
        self.at(100, lambda: self.reply_to_all(HTML_502))
        self.at(120, lambda: self.reply_to_all(True))
        self.at(300, lambda: self.state.delete_workload(self.workload_id))
        self.at(1500, lambda: self.reply_to_all(rejected()))

    def roll_out(self) -> None:
        self.new = self.add("Creating", images=["llm:2"])

    def warn(self, revision_id: str, reason: str, message: str) -> None:
        self.state.add_event(revision_id, {"type": "Warning", "reason": reason, "message": message})

    def freeze(self) -> None:
        """Let nothing change, except as the failure of an example requires."""
        self._plans.clear()

    def reply_to_all(self, response: Reply | bool) -> None:
        self.lists = self.others = response

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        if request.url.path.endswith("/token"):
            return json_response({"accessToken": "token", "expiresIn": 3600})
        if self.first:
            return await self.meets(self.first.popleft())
        return await super().send(request, timeout=timeout, deadline=deadline)

    async def meets(self, response: Reply) -> Response:
        if response is REFUSED_401:
            await self.clock.sleep(30)  # the token is old by then, so it is replaced
        if isinstance(response, Response):
            return response
        assert response is not None
        raise response

    def _operation(self, request: Request) -> tuple[str, str]:
        if request.url.path.endswith("/count"):
            return "count", request.url.query.get("deleted", "false")
        return super()._operation(request)

    def _respond(self, kind: str, key: str) -> Response:
        if kind == "count":
            found = self.state.listed(self.workload_id, deleted=key == "true")
            return json_response({"count": len(list(found))})
        return super()._respond(kind, key)

    def names(self) -> dict[str, Any]:
        """Return the names that the examples use without defining them."""
        runai = client_of(self)("https://acme.run.ai", "token")
        old = self.state.revision(self.old)
        new = old | {"name": "chat-00002", "images": ["llm:2"]}
        response = json.dumps(old)
        known = runai_async.from_json(response, runai_async.Revision)
        return {
            **ALL,
            "RunaiClient": client_of(self),
            "asyncio": asyncio,
            "time": time,
            "runai": runai,
            "token": "token",
            "workload_id": self.workload_id,
            "workload_ids": [self.workload_id],
            "revision_id": self.old,
            "body": response,
            "revision": known,
            "old": known,
            "new": runai_async.from_json(json.dumps(new), runai_async.Revision),
            "event": runai_async.PhaseChanged(
                revision=known, previous_phase=Phase.PENDING, observed_at=self.clock.now()
            ),
            "watch": runai.watch_revisions(self.workload_id),
            "saved": saved(known),
            "vault": Vault(),
            "control_plane": FakeControlPlane(),
            "metrics": Metrics(),
            "serving": lambda metrics, is_healthy, host, _: serving(metrics, is_healthy, host, 0),
        }


class Vault:
    """The source of tokens in an example: one that is refused, then a valid one."""

    def __init__(self) -> None:
        self._tokens = ["stale", "token"]

    async def read(self, _: str) -> str:
        return self._tokens[0]

    def forget(self, token: str) -> None:
        self._tokens.remove(token)


def saved(revision: Revision) -> str:
    """Return the checkpoint of a watch that has reported one revision."""
    names = [name for name in fields_dict(RevisionMark) if hasattr(revision, name)]
    mark = RevisionMark(**{name: getattr(revision, name) for name in names if name != "count"})
    return Checkpoint(revision.workload_id, (mark,)).to_json()


def json_response(value: object) -> Response:
    return Response(body=json.dumps(value).encode())


def client_of(world: World) -> type[RunaiClient]:
    class ClientOfTheWorld(RunaiClient):
        def __init__(self, base_url: str, auth: Any, **options: Any) -> None:
            if base_url.endswith("acme.run.ai"):
                options = {"transport": world, "clock": world.clock, **options}
            super().__init__(base_url, auth, **options)

    return ClientOfTheWorld


def always(response: Reply) -> Callable[[World], None]:
    return lambda world: world.reply_to_all(response)


def refused(status: int, message: str = "", details: str = "", **headers: str) -> Response:
    body = json.dumps({"code": status, "message": message, "details": details}).encode()
    return Response(status, {"X-Request-Id": "7f3a", **headers}, body)


def once(response: Response) -> Callable[[World], None]:
    return lambda world: world.first.append(response)


def later(response: Response) -> Callable[[World], None]:
    def failure(world: World) -> None:
        world.freeze()
        world.at(50, lambda: world.reply_to_all(response))

    return failure


def slow(world: World) -> None:
    world.first.extend([AttemptTimeoutError("no response within 2 s")] * 4)


def half_broken(world: World) -> None:
    world.add(created_at="yesterday")


def rollout_ends(phase: str) -> Callable[[World], None]:
    """Let the newest revision reach a phase and stay in it."""

    def failure(world: World) -> None:
        world.freeze()
        world.roll_out()
        world.set_phase(world.new, phase, message="no such image")
        world.warn(world.new, "Failed", "manifest for llm:2 not found")

    return failure


def failed(world: World) -> None:
    world.freeze()
    world.set_phase(world.old, "Failed", message="no such image")


FAILURES: dict[str, Callable[[World], None]] = {
    "RunaiError": later(REFUSED_401),
    "TokenProvider": once(REFUSED_401),
    "TransportError": always(TransportError("no connection to acme.run.ai")),
    "AttemptTimeoutError": slow,
    "DeadlineExceededError": always(None),
    "DecodeError": half_broken,
    "ApiError": always(refused(409, "the workload is locked")),
    "AuthenticationError": always(refused(401, "the session has ended")),
    "PermissionDeniedError": always(refused(403, "the project is not yours")),
    "NotFoundError": always(REFUSED_404),
    "RateLimitError": always(refused(429, **{"Retry-After": "90"})),
    "ServerError": always(HTML_502),
    "InternalServerError": always(refused(500, details="the database is read-only")),
    "ServiceUnavailableError": always(refused(503)),
    "WatchOutageError": later(refused(503)),
    "WaitError": rollout_ends("Failed"),
    "PhaseFailedError": failed,
    "RolloutFailedError": rollout_ends("Failed"),
    "WaitTimeoutError": rollout_ends("Pending"),
    "RetryScheduled": once(refused(429, **{"Retry-After": "2"})),
}
"""What fails in the world of an example that shows how to handle it."""


def test_every_failure_belongs_to_an_example() -> None:
    assert FAILURES.keys() - EXAMPLES.keys() == set()


# --- running them -------------------------------------------------------------------------------------------


class Marking(ast.NodeTransformer):
    """Puts a mark before each statement, to find those that never run."""

    def __init__(self) -> None:
        self.statements: dict[int, str] = {}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                setattr(node, block, [part for item in statements for part in (self._mark(item), item)])
        return node

    def _mark(self, statement: ast.stmt) -> ast.stmt:
        self.statements[statement.lineno] = ast.unparse(statement)
        return ast.parse(f"__ran__({statement.lineno})").body[0]


def display(value: object) -> None:
    """Print a value as the interactive interpreter does, except for the `...` in place of a reader's code."""
    if value is not None and value is not ...:
        sys.stdout.write(f"{value!r}\n")


class Session:
    """The examples of one docstring, run one after the other as if typed."""

    def __init__(self, name: str, world: World) -> None:
        self.names = world.names()
        self._name = name
        self._given = self.names["runai"]
        self._marking = Marking()
        self._ran: set[int] = set()
        self._uses_client = False
        self.names["__ran__"] = self._ran.add

    async def run(self, example: Example) -> None:
        self._uses_client |= re.search(r"\brunai\.", example.source) is not None
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(example.source, self._name, "single", flags | ast.PyCF_ONLY_AST)
        tree = ast.fix_missing_locations(self._marking.visit(ast.increment_lineno(tree, example.lineno)))
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(AuthenticationError):
            result = eval(compile(tree, self._name, "single", flags), self.names)
            if inspect.isawaitable(result):
                await result
        if not OutputChecker().check_output(example.want, out.getvalue(), ELLIPSIS):
            assert out.getvalue() == example.want

    async def use_client(self) -> None:
        """Make a call with a client that an example made but did not use, so that its arguments are used."""
        runai = self.names["runai"]
        if runai is not self._given and not self._uses_client:
            async with runai:
                await runai.count_revisions(WORKLOAD_ID)

    def unused(self) -> list[str]:
        """Return the statements that never ran."""
        return [text for line, text in self._marking.statements.items() if line not in self._ran]


def log_in(folder: Path) -> None:
    """Create the files of a login with the vendor's command line, and a token's file beside them."""
    folder.mkdir()
    folder.with_name("runai-token").write_text("token\n")
    (folder / "authentication.json").write_text(json.dumps({"accessToken": "dG9rZW4="}))
    (folder / "config.json").write_text(json.dumps({"control_plane": {"url": "https://acme.run.ai"}}))


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_prints_what_it_shows(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "displayhook", display)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNAI_BASE_URL", "https://acme.run.ai")
    monkeypatch.setenv("RUNAI_TOKEN", "token")
    log_in(tmp_path / ".runai")
    world = World()
    if name in FAILURES:
        FAILURES[name](world)
    session = Session(name, world)
    async with asyncio.timeout(10):
        for example in EXAMPLES[name]:
            await session.run(example)
        await session.use_client()
    assert session.unused() == []


# --- lists in prose -----------------------------------------------------------------------------------------


async def test_the_metrics_that_are_listed_are_those_that_exist() -> None:
    metrics, world = Metrics(), World()
    poll = PollPolicy(emit={"clusters"})
    async with world.client(hooks=[metrics.hook]).watch_fleet([WORKLOAD_ID], poll=poll) as fleet:
        metrics.of_fleet(fleet)
        metrics.observe(await anext(fleet))
        await world.clock.sleep(115)  # by then the cluster was asked for, and an outage has begun
        exported = {
            (sample.name.removesuffix("_count"), *sorted(sample.labels))
            for family in metrics.registry.collect()
            for sample in family.samples
            if not sample.name.endswith(("_bucket", "_sum", "_created"))
        }
    text = Metrics.__doc__ or ""
    of_revisions, of_clusters = re.findall(r"with the labels\s+(.*?):", text, re.DOTALL)
    listed = set[tuple[str, ...]]()
    for name, own in re.findall(r"- `(\w+)(?:\{([\w, ]+)\})?`", text):
        shared = of_revisions if name.startswith("runai_revision_") else ""
        shared = of_clusters if name.startswith("runai_async_cluster_") else shared
        listed.add((name, *sorted(re.findall(r"\w+", f"{own} {shared}"))))
    assert listed == exported

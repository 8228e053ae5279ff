"""Files may contain anything: a checkpoint or a login is read, or refused with one clear error."""

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.contract import HOSTILE, TEXTS, Json, Maker, mutant_of

from runai_async import Checkpoint, CliCredentials, ConfigurationError, FleetCheckpoint, RunaiClient

EXAMPLES = pytest.mark.parametrize(
    "seeds",
    [range(200), pytest.param(range(200, 2_200), marks=[pytest.mark.slow, pytest.mark.timeout(120)])],
)
CANARY = "c4n4ry-in-a-file"
MARK: dict[str, Json] = {
    "type": "inference",
    "name": "chat-00001",
    "id": "11111111-1111-4111-8111-111111111111",
    "workload_id": "22222222-2222-4222-8222-222222222222",
    "tenant_id": 1,
    "cluster_id": "33333333-3333-4333-8333-333333333333",
    "department_id": "2",
    "project_id": "1",
    "created_at": "2026-01-01T00:00:00+00:00",
    "phase": "Running",
    "phase_updated_at": "2026-01-01T00:00:01+00:00",
    "deleted_at": None,
    "count": 3,
    "told_until": "2026-01-01T00:00:01+00:00",
    "returns": 0,
}
SINGLE: dict[str, Json] = {
    "version": 1,
    "workload_id": MARK["workload_id"],
    "synced": True,
    "revisions": [MARK, MARK | {"id": "x"}],
}
FLEET: dict[str, Json] = {"version": 1, "workloads": [SINGLE, SINGLE | {"workload_id": "y"}]}


def hostile(value: Json, seed: int) -> bytes:
    """Return the content of a file with something wrong in it."""
    random = Random(seed)
    body = mutant_of(value, Maker(seed)).body
    position, damage = random.randrange(len(body) + 1), random.randrange(10)
    if damage == 0:
        return body[:position]
    if damage == 1:
        return random.randbytes(random.randrange(40))
    if damage == 2:
        return body.decode().encode(random.choice(["utf-16", "utf-32", "utf-8-sig"]))
    if damage == 3:
        return body[:position] + random.randbytes(2) + body[position:]
    return body


def outcome(error: type[Exception], read: Callable[..., Any], *args: Any) -> Any:
    """Return what reading gives: a value, or an error of the kind that it may raise."""
    try:
        return read(*args)
    except error as raised:
        return raised


@EXAMPLES
@pytest.mark.parametrize(("kind", "saved"), [(Checkpoint, SINGLE), (FleetCheckpoint, FLEET)])
def test_a_checkpoint_is_read_or_refused_with_a_short_reason(kind: Any, saved: Json, seeds: range) -> None:
    refused = 0
    for seed in seeds:
        data = hostile(saved, seed)
        result = outcome(ValueError, kind.from_json, data)
        if isinstance(result, ValueError):
            refused += 1
            assert type(result) is ValueError, (seed, data)
            assert str(result).startswith("checkpoint: "), (seed, data)
            assert len(str(result)) < 300, (seed, data)
        else:
            assert kind.from_json(result.to_json()) == result, (seed, data)

    assert len(seeds) / 4 < refused < len(seeds)


@pytest.mark.parametrize("kind", [Checkpoint, FleetCheckpoint])
@pytest.mark.parametrize(
    "text", [json.dumps({"version": text}) for text in TEXTS] + [f'{{"version": {text}}}' for text in HOSTILE]
)
def test_a_strange_version_is_refused_with_a_short_reason(kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint: ") as caught:
        kind.from_json(text)

    assert len(str(caught.value)) < 300


def test_a_version_nested_to_the_limit_is_refused_too() -> None:
    for depth in range(900, 1000):
        with pytest.raises(ValueError, match=r"^checkpoint: "):
            Checkpoint.from_json(f'{{"version": {"[" * depth + "]" * depth}}}')


# --- the vendor's login -------------------------------------------------------------------------------------

LOGIN: dict[str, Json] = {
    "accessToken": CANARY,
    "refreshToken": CANARY,
    "note": {"by": "someone", "at": [1, CANARY]},
}
CONFIG: dict[str, Json] = {
    "control_plane": {"url": f"https://acme.run.ai/{CANARY}", "more": 1},
    "token": CANARY,
}


def read_token(folder: Path) -> str:
    return CliCredentials(folder).read_token()


def read_base_url(folder: Path) -> str:
    return CliCredentials(folder).read_base_url()


@EXAMPLES
@pytest.mark.parametrize(
    ("name", "content", "read"),
    [("authentication.json", LOGIN, read_token), ("config.json", CONFIG, read_base_url)],
)
def test_a_login_is_read_or_refused_without_quoting_it(
    tmp_path: Path, name: str, content: Json, read: Callable[[Path], str], seeds: range
) -> None:
    refused = 0
    for seed in seeds:
        (tmp_path / name).write_bytes(hostile(content, seed))
        result = outcome(ConfigurationError, read, tmp_path)
        if isinstance(result, ConfigurationError):
            refused += 1
            assert str(tmp_path / name) in str(result)
            assert_silent(result)
        else:
            assert isinstance(result, str)
            assert result

    assert len(seeds) / 20 < refused < len(seeds)


def assert_silent(error: Exception) -> None:
    """Assert that neither the text, the repr nor the traceback of an error contains the canary."""
    shown = f"{error} {error!r} {''.join(traceback.format_exception(error))}"
    assert CANARY not in shown
    assert CANARY[2:] not in shown


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{CANARY}@acme.run.ai",
        f"https://user:{CANARY}@acme.run.ai:99999",
        f"https://user:{CANARY}@acme.run.ai:port",
        f"https://user:{CANARY}",
        f"https://user:{CANARY}@[::1",
        f"https://user:{CANARY}@acme.\u2100.ai",
        f"https://user:{CANARY}/@acme.run.ai",
        f"//user:{CANARY}@acme.run.ai",
        f"user:{CANARY}@acme.run.ai",
        f"https://acme.run.ai/?token={CANARY}",
        f"https://acme.run.ai/#{CANARY}",
        f"https://user:{CANARY}@",
    ],
)
def test_a_base_url_that_is_refused_is_not_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url ") as caught:
        RunaiClient(url, "token")

    assert_silent(caught.value)

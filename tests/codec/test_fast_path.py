"""The fast road builds the same frozen models as the careful one, unknown keys included."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from runai_async import Revision, from_json, to_json
from runai_async._codec import converter, fast

SAMPLE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "revision.json").read_text(encoding="utf-8")
)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_learned", {})
    fast.clear_decoders()


def careful(data: bytes) -> Revision:
    revision: Revision = converter.structure(json.loads(data), Revision)
    return revision


def test_a_model_of_the_fast_road_is_an_ordinary_frozen_one() -> None:
    revision = from_json(json.dumps(SAMPLE), Revision)

    assert type(revision) is Revision
    with pytest.raises(FrozenInstanceError):
        revision.name = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del revision.name
    assert pickle.loads(pickle.dumps(revision)) == copy.deepcopy(revision) == revision
    assert {revision: 1}[careful(json.dumps(SAMPLE).encode())] == 1


def test_unknown_keys_are_kept_the_first_time_and_ever_after() -> None:
    bodies = [
        json.dumps({**SAMPLE, "brandNew": [n, None], "requestedPods": {"min": 1, "surge": {"n": n}}}).encode()
        for n in range(3)
    ]
    for body in bodies:
        revision = from_json(body, Revision)
        assert revision == careful(body)
        assert revision.extra["brandNew"] == json.loads(body)["brandNew"]
        assert from_json(to_json(revision), Revision) == revision
    without = from_json(json.dumps(SAMPLE), Revision)
    assert "brandNew" not in without.extra


def test_a_key_that_was_learned_may_be_null_or_missing_or_of_any_type() -> None:
    values: list[Any] = [{"a": 1}, None, 1.5, "text", [], True]
    for value in values:
        body = json.dumps({**SAMPLE, "brandNew": value}).encode()
        assert from_json(body, Revision).extra["brandNew"] == value


def test_answers_with_ever_new_keys_are_decoded_too() -> None:
    for n in range(100):
        body = json.dumps({**SAMPLE, f"key{n}": n, f"a key, {n}": n}).encode()
        assert from_json(body, Revision) == careful(body)
    assert len(fast._learned[Revision]) <= fast.LEARNED_MAX

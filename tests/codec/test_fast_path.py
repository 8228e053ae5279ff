"""The fast path builds the same frozen models as the converter, unknown keys included."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from runai_async import Revision, Workload, _codec, from_json, to_json
from runai_async._codec import converter, fast

DATA = Path(__file__).parents[1] / "data"
SAMPLE: dict[str, Any] = json.loads((DATA / "revision.json").read_bytes())
WORKLOADS = (DATA / "workloads.json").read_bytes()


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_learned", {})
    fast.clear_decoders()


def converted(data: bytes) -> Revision:
    revision: Revision = converter.structure(json.loads(data), Revision)
    return revision


def test_a_model_from_the_fast_path_is_an_ordinary_frozen_one() -> None:
    revision = from_json(json.dumps(SAMPLE), Revision)

    assert type(revision) is Revision
    with pytest.raises(FrozenInstanceError):
        revision.name = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del revision.name
    assert pickle.loads(pickle.dumps(revision)) == copy.deepcopy(revision) == revision
    assert {revision: 1}[converted(json.dumps(SAMPLE).encode())] == 1


def test_unknown_keys_are_kept_the_first_time_and_every_time_after() -> None:
    bodies = [
        json.dumps({**SAMPLE, "brandNew": [n, None], "requestedPods": {"min": 1, "surge": {"n": n}}}).encode()
        for n in range(3)
    ]
    for body in bodies:
        revision = from_json(body, Revision)
        assert revision == converted(body)
        assert revision.extra["brandNew"] == json.loads(body)["brandNew"]
        assert from_json(to_json(revision), Revision) == revision
    without = from_json(json.dumps(SAMPLE), Revision)
    assert "brandNew" not in without.extra


def test_a_learned_key_may_be_null_or_missing_or_of_any_type() -> None:
    values: list[Any] = [{"a": 1}, None, 1.5, "text", [], True]
    for value in values:
        body = json.dumps({**SAMPLE, "brandNew": value}).encode()
        assert from_json(body, Revision).extra["brandNew"] == value


def test_responses_with_ever_new_keys_are_decoded_too() -> None:
    for n in range(100):
        body = json.dumps({**SAMPLE, f"key{n}": n, f"a key, {n}": n}).encode()
        assert from_json(body, Revision) == converted(body)
    assert len(fast._learned[Revision]) <= fast.LEARNED_MAX


def test_a_page_takes_the_fast_path_once_its_keys_are_learned() -> None:
    page = _codec.decode_page(WORKLOADS, "workloads", Workload)
    workloads = page.items
    parse, build = fast.list_fast_path(Workload, "workloads")
    assert [build(struct) for struct in parse(WORKLOADS).items] == workloads
    assert workloads == converter.structure(json.loads(WORKLOADS)["workloads"], list[Workload])
    assert page.broken == []
    assert (workloads[0].extra, page.next_offset) == (
        {"priority": 80, "k8sPhase": "Running", "source": "UI"},
        2,
    )


def test_a_list_of_revisions_may_have_any_next() -> None:
    body = json.dumps({"revisions": [SAMPLE]}).encode().replace(b"{", b'{"next": 1e400, ', 1)
    assert _codec.decode_revisions(body) == [from_json(json.dumps(SAMPLE), Revision)]
    assert len(_codec.split_revisions(body)) == 1

"""YAML means the same as JSON, to every reader."""

import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runai_async import to_json
from runai_async.cli.views.yaml_text import yaml_text

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(
        [
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "1e3",
            "0x1f",
            "012",
            "0o17",
            "1_000",
            "1:30",
            "null",
            "~",
            "no",
        ]
    )
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@given(DOCUMENTS)
def test_yaml_is_the_same_document_as_json(document: Any) -> None:
    plain = json.loads(to_json(document))
    assert yaml.safe_load(yaml_text(plain)) == plain
    assert msgspec.yaml.decode(yaml_text(plain)) == plain


@pytest.mark.parametrize(
    "text",
    [
        "1e3",
        "12e4567a",
        "2026-01-01T00:00:00Z",
        "0o17",
        "+1",
        ".5",
        "~",
        "y",
        "NO",
        "on",
        "=",
        "<<",
        "-1",
        "1:30",
    ],
)
def test_a_text_that_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    assert yaml_text({text: text}) == f"'{text}': '{text}'\n"


def test_a_document_is_readable() -> None:
    document = {
        "revisions": [{"name": "llm-00012", "id": "3f2a", "phase": "Running", "pods": 2, "message": "é"}]
    }
    assert yaml_text(document) == (
        "revisions:\n- name: llm-00012\n  id: '3f2a'\n  phase: Running\n  pods: 2\n  message: é\n"
    )


def test_a_value_that_comes_twice_is_written_twice() -> None:
    shared = {"a": 1}
    assert yaml_text([shared, shared]) == "- a: 1\n- a: 1\n"

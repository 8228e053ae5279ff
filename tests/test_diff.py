"""The differences between two revisions, with possible secrets masked."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runai_async import Condition, FieldChange, Phase, Revision, compare_revisions, from_json

OLD = from_json((Path(__file__).parent / "data" / "revision.json").read_bytes(), Revision)
PODS = OLD.requested_pods
GPUS = OLD.revision_requested_resources
CONFIGURATION = {
    "type",
    "revision_requested_resources",
    "pods_requested_resources",
    "requested_pods",
    "requested_node_pools",
    "images",
    "environment_variables",
    "command",
    "arguments",
    "additional_fields",
}
NAMES = list(attrs.fields_dict(Revision))


def changes(
    fields: dict[str, Any], scope: Any = "configuration", *, show: bool = False
) -> list[tuple[str, Any, Any]]:
    """Return the differences from the recorded revision when *fields* are replaced."""
    found = compare_revisions(OLD, attrs.evolve(OLD, **fields), scope=scope, show_secrets=show)
    return [(change.path, change.old, change.new) for change in found]


@pytest.mark.parametrize("scope", ["configuration", "all"])
def test_a_revision_does_not_differ_from_itself(scope: Any) -> None:
    assert compare_revisions(OLD, attrs.evolve(OLD), scope=scope, show_secrets=True) == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"images": ("a", "b")},
            [
                ("images[0]", OLD.images and OLD.images[0], "a"),
                ("images[1]", OLD.images and OLD.images[1], "b"),
            ],
        ),
        ({"requested_node_pools": ("a100",)}, [("requested_node_pools[1]", "default", None)]),
        ({"requested_node_pools": ("a100", "default", "b")}, [("requested_node_pools[2]", None, "b")]),
        (
            {"requested_pods": PODS and attrs.evolve(PODS, max=9, min=None)},
            [("requested_pods.min", 1, None), ("requested_pods.max", 5, 9)],
        ),
        (
            {"requested_pods": PODS and attrs.evolve(PODS, extra={"surge": 1})},
            [("requested_pods.extra.surge", None, 1)],
        ),
        (
            {"revision_requested_resources": GPUS and attrs.evolve(GPUS, extended_resources=(None,))},
            [
                ("revision_requested_resources.extended_resources[0].resource", "rdma/hca", None),
                ("revision_requested_resources.extended_resources[0].quantity", "2", None),
                ("revision_requested_resources.extended_resources[0].exclude", False, None),
            ],
        ),
        (
            {"additional_fields": {"autoscaling": {"metric": "concurrency"}, "labels": []}},
            [
                ("additional_fields.autoscaling.target", 10, None),
                ("additional_fields.labels", ["a", None, 1.5], []),
            ],
        ),
        (
            {"additional_fields": {"autoscaling": "off", "labels": ["a", None, 1.5]}},
            [("additional_fields.autoscaling", {"metric": "concurrency", "target": 10}, "off")],
        ),
        ({"type": "distributed"}, [("type", "inference", "distributed")]),
    ],
)
def test_a_change_is_named_by_its_path(fields: dict[str, Any], expected: list[tuple[str, Any, Any]]) -> None:
    assert changes(fields) == expected


def test_a_part_that_appears_or_disappears_is_reported_field_by_field() -> None:
    gone = [
        (f"requested_pods.{name}", number, None)
        for name, number in [("number", 2), ("min", 1), ("max", 5), ("parallelism", 3), ("completions", 4)]
    ]
    without = attrs.evolve(OLD, requested_pods=None)
    assert changes({"requested_pods": None}) == gone
    assert [(change.path, change.new, change.old) for change in compare_revisions(without, OLD)] == gone


def test_an_object_that_becomes_a_number_is_reported_as_a_whole() -> None:
    new = attrs.evolve(OLD, additional_fields={"autoscaling": 5, "labels": ["a", None, 1.5]})
    (change,) = compare_revisions(new, OLD)
    assert change == FieldChange("additional_fields.autoscaling", 5, {"metric": "concurrency", "target": 10})


@pytest.mark.parametrize("name", NAMES)
def test_the_scope_decides_which_fields_count(name: str) -> None:
    found = [path.partition(".")[0].partition("[")[0] for path, _, _ in changes({name: None})]
    found_of_all = [path.partition(".")[0].partition("[")[0] for path, _, _ in changes({name: None}, "all")]
    if name == "extra":
        assert changes({"extra": {"a": 1}}, "all") == [("extra.a", None, 1)]
    else:
        assert set(found_of_all) == {name}
    assert set(found) == {name} & CONFIGURATION


def test_the_state_of_a_revision_is_compared_only_in_the_scope_of_all() -> None:
    later = datetime(2025, 9, 14, 11, tzinfo=UTC)
    fields = {"phase": Phase.RUNNING, "phase_updated_at": later, "running_pods": 5}
    assert changes(fields) == []
    assert changes(fields, "all") == [
        ("phase", Phase.DEGRADED, Phase.RUNNING),
        ("running_pods", 3, 5),
        ("phase_updated_at", OLD.phase_updated_at, later),
    ]


@pytest.mark.parametrize("scope", ["configuration", "all"])
def test_possible_secrets_are_masked(scope: Any) -> None:
    fields = {"environment_variables": {"MODEL": "m2", "NEW": "s1"}, "command": "s2", "arguments": None}
    assert changes(fields, scope) == [
        ("environment_variables.MODEL", "***", "***"),
        ("environment_variables.HUB_TOKEN", "***", None),
        ("environment_variables.NEW", None, "***"),
        ("command", "***", "***"),
        ("arguments", "***", None),
    ]


def test_possible_secrets_are_shown_if_asked_for() -> None:
    fields = {"environment_variables": {"MODEL": "m2", "HUB_TOKEN": "hub-secret-123"}, "arguments": ""}
    assert changes(fields, show=True) == [
        ("environment_variables.MODEL", "chat-7b", "m2"),
        ("arguments", "--password arg-secret-789", ""),
    ]


def test_an_environment_that_appears_as_a_whole_is_masked() -> None:
    (change, _) = compare_revisions(attrs.evolve(OLD, environment_variables=None), OLD)
    assert change == FieldChange("environment_variables.MODEL", None, "***")


def test_another_scope_is_refused() -> None:
    scope: Any = "everything"
    with pytest.raises(ValueError, match="scope must be 'configuration' or 'all', not 'everything'"):
        compare_revisions(OLD, OLD, scope=scope)


CONDITIONS = (
    Condition("Ready", "True", "m", "r"),
    Condition("Live", "False"),
    Condition("Synced", "Unknown"),
)
LISTS = {
    "images": ("a", "b", "b", "c"),
    "requested_node_pools": ("a", "b", "c"),
    "current_node_pools": ("a", "b", "c"),
    "conditions": CONDITIONS,
}


def compared(old: dict[str, Any], new: dict[str, Any], scope: Any = "all") -> list[tuple[str, Any, Any]]:
    found = compare_revisions(attrs.evolve(OLD, **old), attrs.evolve(OLD, **new), scope=scope)
    return [(change.path, change.old, change.new) for change in found]


@given(st.sampled_from(sorted(LISTS)), st.data())
def test_an_order_that_means_nothing_is_no_change(name: str, data: st.DataObject) -> None:
    shuffled = tuple(data.draw(st.permutations(LISTS[name])))
    assert compared({name: LISTS[name]}, {name: shuffled}) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ab", "ba", []),
        ("ab", "bc", [("images[0]", "a", "c")]),
        ("ab", "b", [("images[0]", "a", None)]),
        ("b", "ab", [("images[1]", None, "a")]),
        ("aab", "ba", [("images[1]", "a", None)]),
        ("ab", "cd", [("images[0]", "a", "c"), ("images[1]", "b", "d")]),
    ],
)
def test_what_differs_in_a_list_without_order_is_named_by_its_old_index(
    old: str, new: str, expected: list[tuple[str, Any, Any]]
) -> None:
    assert compared({"images": tuple(old)}, {"images": tuple(new)}) == expected


def test_conditions_are_compared_by_their_type() -> None:
    first, second, third = CONDITIONS
    changed = (third, attrs.evolve(first, status="False", message=""), second)
    assert compared({"conditions": CONDITIONS}, {"conditions": changed}) == [
        ("conditions[0].status", "True", "False"),
        ("conditions[0].message", "m", ""),
    ]
    assert compared({"conditions": (first, second)}, {"conditions": (second,)})[0] == (
        "conditions[0].type",
        "Ready",
        None,
    )


def test_the_order_of_other_lists_counts() -> None:
    resources = (
        [attrs.evolve(GPUS, mig_profile=profile) for profile in (("a", "b"), ("b", "a"))] if GPUS else []
    )
    (old, new) = ({"pods_requested_resources": item} for item in resources)
    assert [path for path, _, _ in compared(old, new)] == [
        "pods_requested_resources.mig_profile[0]",
        "pods_requested_resources.mig_profile[1]",
    ]


@pytest.mark.parametrize("scope", ["configuration", "all"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"phase_message": ""}, {"phase_message": None}),
        ({"command": ""}, {"command": None}),
        ({"arguments": ""}, {"arguments": None}),
        ({"conditions": (Condition("a", "True", message=""),)}, {"conditions": (Condition("a", "True"),)}),
        ({"extra": {"note": ""}}, {"extra": {}}),
        ({"environment_variables": {}}, {"environment_variables": None}),
    ],
)
def test_an_empty_text_is_like_a_missing_one(old: dict[str, Any], new: dict[str, Any], scope: Any) -> None:
    assert compared(old, new, scope) == compared(new, old, scope) == []


def test_a_text_that_becomes_empty_is_a_change() -> None:
    assert compared({"phase_message": "a"}, {"phase_message": ""}) == [("phase_message", "a", "")]


def test_an_empty_environment_variable_is_not_a_missing_one() -> None:
    old, new = (attrs.evolve(OLD, environment_variables={name: ""}) for name in "AB")
    found = compare_revisions(old, new, show_secrets=True)
    assert found == (
        FieldChange("environment_variables.A", "", None),
        FieldChange("environment_variables.B", None, ""),
    )


@pytest.mark.parametrize("name", ["images", "requested_node_pools"])
def test_an_empty_list_and_none_differ_only_in_the_scope_of_all(name: str) -> None:
    assert compared({name: ()}, {name: None}, "configuration") == []
    assert compared({name: ()}, {name: None}) == [(name, (), None)]
    assert compared({name: None}, {name: ()}) == [(name, None, ())]
    old: dict[str, Any] = {"additional_fields": {"labels": []}}
    new: dict[str, Any] = {"additional_fields": {}}
    assert compared(old, new, "configuration") == []
    assert compared(old, new) == [("additional_fields.labels", [], None)]


TEXTS = st.none() | st.text("ab", max_size=3)
ENVIRONMENTS = st.none() | st.dictionaries(st.sampled_from("XYZ"), st.text("ab", max_size=3))
SOME = st.fixed_dictionaries({"environment_variables": ENVIRONMENTS, "command": TEXTS, "arguments": TEXTS})


@given(SOME, SOME)
def test_the_mask_hides_values_but_no_change(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = attrs.evolve(OLD, **old), attrs.evolve(OLD, **new)
    shown = compare_revisions(before, after, show_secrets=True)
    masked = compare_revisions(before, after)
    assert [change.path for change in masked] == [change.path for change in shown]
    assert all(value in {None, "", "***"} for change in masked for value in (change.old, change.new))
    back = compare_revisions(after, before, show_secrets=True)
    assert {(change.path, change.new, change.old) for change in back} == {
        (change.path, change.old, change.new) for change in shown
    }

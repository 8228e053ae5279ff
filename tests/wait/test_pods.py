"""How many pods a revision needs, and how its pods are written."""

import pytest
from attrs import evolve
from support.samples import revision

from runai_async import RequestedPods
from runai_async._wait.pods import is_serving, pods_text


@pytest.mark.parametrize(
    ("running", "requested", "text", "serves"),
    [
        (1, RequestedPods(number=2), "1/2", False),
        (1, RequestedPods(number=2, min=1, max=4), "1/1-4", True),
        (1, RequestedPods(min=1, max=4), "1/1-4", True),
        (0, RequestedPods(min=1, max=4), "0/1-4", False),
        (0, RequestedPods(max=4), "0/0-4", True),
        (None, RequestedPods(number=1, max=4), "0/0-4", True),
        (2, RequestedPods(min=2, max=2), "2/2", True),
        (1, RequestedPods(min=1), "1/1", True),
        (1, RequestedPods(), "1", True),
        (1, None, "1", True),
        (None, None, "0", True),
        (None, RequestedPods(number=2), "0/2", False),
    ],
)
def test_what_is_written_agrees_with_what_a_rollout_waits_for(
    running: int | None, requested: RequestedPods | None, text: str, serves: bool
) -> None:
    item = evolve(revision(1), running_pods=running, requested_pods=requested)
    assert (pods_text(item), is_serving(item)) == (text, serves)

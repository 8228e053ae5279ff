"""A report on rollouts in the JUnit XML that pipelines display. There is no I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from runai_async.cli.rollouts import Rollout, State
from runai_async.cli.text import clean

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped: https://www.w3.org/TR/xml/#charsets."""
_ELEMENTS = {
    State.FAILED: "failure",
    State.TIMED_OUT: "error",
    State.ERROR: "error",
    State.WAITING: "error",
    State.EMPTY: "skipped",
}
"""The element of a test case that is not passed."""


def junit_xml(
    rollouts: Sequence[Rollout], *, began_at: datetime, seconds: float, masked: Callable[[str], str]
) -> str:
    """Return a report with a test case for each rollout.

    The class of a test case is the project of the workload. A failure is a `failure`, a timeout or another
    error an `error`, and a workload without revisions `skipped`.

    Args:
        rollouts: as they are at the end.
        began_at: when the command began.
        seconds: how long it took.
        masked: replaces secrets in a text.
    """

    def fit(text: str) -> str:
        return _ILLEGAL.sub("", masked(text))

    counts = Counter(_ELEMENTS.get(item.state) for item in rollouts)
    numbers = {
        "tests": str(len(rollouts)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": f"{seconds:.3f}",
    }
    root = ET.Element("testsuites", numbers)
    suite = ET.SubElement(root, "testsuite", {"name": "runai-async rollout status", **numbers})
    suite.set("timestamp", began_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    for item in rollouts:
        case = ET.SubElement(
            suite,
            "testcase",
            {"name": fit(_name(item)), "classname": fit(_project(item)), "time": f"{item.seconds:.3f}"},
        )
        if element := _ELEMENTS.get(item.state):
            problem = ET.SubElement(case, element, {"message": fit(item.reason), "type": item.state})
            problem.text = fit("\n".join(_details(item)))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _name(rollout: Rollout) -> str:
    return clean(rollout.workload.name) or rollout.workload.id


def _project(rollout: Rollout) -> str:
    """Return the name of the project, or its id where only that is known."""
    known = rollout.revision.project_id if rollout.revision is not None else ""
    return clean(rollout.workload.project) or known or "unknown project"


def _details(rollout: Rollout) -> Iterator[str]:
    """Write what the wait ended with, and why the revision does not serve."""
    if rollout.state != State.EMPTY:
        yield rollout.account
        if rollout.explanation is not None:
            yield str(rollout.explanation)

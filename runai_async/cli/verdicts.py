"""How the wait for a single rollout ended, in a short line: the details are printed above it. No I/O."""

from __future__ import annotations

import re

from runai_async._wait.phase import describe_revision
from runai_async.cli.text import limit, phase_name
from runai_async.cli.wording import in_flags
from runai_async.errors import RolloutFailedError, WaitTimeoutError

_LATE = re.compile(r"^the rollout is not done after \S+ s: ")
_MAY = ": it may wait for quota or nodes, or still be pulling its image"
_ID = re.compile(r" \([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\)")
_REQUEST = re.compile(r"\b[A-Z]+ https?://\S+: ")


def verdict_line(error: RolloutFailedError | WaitTimeoutError, timeout: float | None) -> str:
    """Write an error without its advice, ids and requests, and without what the revision says of itself.

    Args:
        error: what the wait ended with.
        timeout: seconds that the command had; None for no limit.
    """
    text, revision = str(error.args[0]), error.revision
    if revision is not None:
        known, short = describe_revision(revision), f"{revision.name} is {phase_name(revision.phase)}"
        text = text.replace(known + _MAY, short).replace(known, short)
    text = in_flags(_REQUEST.sub("", _ID.sub("", text)))
    if timeout is not None:
        text = _LATE.sub(f"timed out after {limit(timeout)}: ", text)
    return f"{text}; the rollout goes on" if isinstance(error, WaitTimeoutError) else text

"""How many pods a revision needs to serve, and how its pods are written: one rule for waits and displays."""

from __future__ import annotations

from runai_async.models import Phase, Revision, Workload


def needed_pods(revision: Revision | Workload) -> int:
    """Return the running pods with which a revision serves: the minimum where it scales, else the number.

    A Go server leaves out a number that is 0, so what is missing is 0.
    """
    requested = revision.requested_pods
    return (requested and requested.wanted) or 0


def is_serving(revision: Revision) -> bool:
    """Return whether a revision runs with the pods that it needs."""
    if revision.phase != Phase.RUNNING or revision.deleted_at is not None:
        return False
    return (revision.running_pods or 0) >= needed_pods(revision)


def pods_text(revision: Revision | Workload) -> str:
    """Write running and needed pods: `1/2`; `1/1-4` where the number scales; `1` where none are requested.

    A workload's are those of all its revisions.
    """
    running, requested = revision.running_pods or 0, revision.requested_pods
    if requested is None or (requested.wanted is None and requested.max is None):
        return str(running)
    needed = needed_pods(revision)
    scales = requested.max is not None and requested.max != needed
    return f"{running}/{needed}-{requested.max}" if scales else f"{running}/{needed}"

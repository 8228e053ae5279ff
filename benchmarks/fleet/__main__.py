"""A fleet at full size, against a control plane that changes: `python -m benchmarks.fleet [STORY…]`.

5,000 workloads at 10 s with 50 changes a second, or 10 where a fleet follows the list. The events are
compared with the server's own record; the exit status is 1 if they differ.

steady: three minutes of changes, then one minute without a control plane.
kill: the watching process is killed three times and restarted from its last saved checkpoint.
trouble: one workload hangs, one returns 403, one 404 and one garbage; then all recover; then once more.
sleep: the consumer takes no event for thirty seconds, twice.
neighbour: what a fleet asks of a control plane whose list and polls take their time, beside a plain loop.
follow: a fleet follows the list; a minute without a control plane; then the process is killed and resumes.
start: 300 workloads at 60 s, and how soon there is an event of each.
size: what fleets of 1,000, 10,000 and 50,000 workloads cost, and how long they stop the event loop.
hints: fleets of three sizes that follow a list whose rows show changes or do not, beside fleets that do not.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
from collections.abc import Callable, Coroutine
from functools import partial

from benchmarks.fleet import follow, growth, hints, kill, neighbour, sleep, start, steady, trouble
from benchmarks.fleet.size import Counts, Size
from benchmarks.processes import ROOT
from benchmarks.record import ControlPlane, running_control_plane

Story = Callable[[ControlPlane, Size], Coroutine[None, None, Counts]]
REPLACED = 0.1
"""The part of the changes that replace a revision, where a fleet follows the list."""


def _one_fleet(story: Story, size: Size) -> list[str]:
    """Run a story of one fleet and print its figures; return those that are wrong."""
    return _run_one(story, size, size.changes)


def _following(story: Story, size: Size) -> list[str]:
    """Do the same with fewer changes, some of which replace a revision."""
    return _run_one(story, size, size.few_changes, REPLACED)


def _run_one(story: Story, size: Size, *changes: float) -> list[str]:
    with running_control_plane(size.workloads, *changes) as control_plane:
        seen, wrong = asyncio.run(story(control_plane, size))
    for what, value in seen.items():
        print(f"| {what:<62} | {value} |")
    return wrong


STORIES: dict[str, Callable[[Size], list[str]]] = {
    "steady": partial(_one_fleet, steady.story),
    "kill": partial(_one_fleet, kill.story),
    "trouble": partial(_one_fleet, trouble.story),
    "sleep": partial(_one_fleet, sleep.story),
    "neighbour": neighbour.story,
    "follow": partial(_following, follow.story),
    "hints": hints.story,
    "start": start.story,
    "size": growth.story,
}
FOLLOWING = ("follow", "hints")
OF_OWN_SIZE = ("start", "size")


def run(name: str, size: Size) -> bool:
    """Run a story, print its figures, and return whether they are right."""
    changes = size.few_changes if name in FOLLOWING else size.changes
    if name not in OF_OWN_SIZE:
        print(f"{name}: {size.workloads:,} workloads at {size.interval:g} s, {changes:g} changes a second")
    wrong = STORIES[name](size)
    if wrong:
        print(f"{name}: wrong: {', '.join(wrong)}", file=sys.stderr)
    return not wrong


def _run_apart(name: str, size: Size) -> bool:
    """Run a story in a process of its own, because its memory is measured."""
    command = [sys.executable, "-m", "benchmarks.fleet", name, f"--scale={size.scale}", f"--seed={size.seed}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> None:
    """Read the command line and run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "stories", nargs="*", metavar="STORY", help=f"any of: {', '.join(STORIES)}; all by default"
    )
    parser.add_argument("--scale", type=float, default=1, help="how many times smaller and faster")
    parser.add_argument("--quick", dest="scale", action="store_const", const=50.0, help="--scale 50")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="seed of the times at which to kill"
    )
    options = parser.parse_args()
    if unknown := set(options.stories) - STORIES.keys():
        parser.error(f"there is no story {min(unknown)!r}")
    names, size = options.stories or list(STORIES), Size(options.scale, options.seed)
    run_one = run if len(names) == 1 else _run_apart
    right = [run_one(name, size) for name in names]
    sys.exit(not all(right))


if __name__ == "__main__":
    main()

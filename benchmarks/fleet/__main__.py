"""A fleet at full size, against a control plane that changes: `python -m benchmarks.fleet [STORY…]`.

5,000 workloads at 10 s with 50 changes a second. What the consumer was told is compared with the server's own
record; the exit status is 1 where they differ.

steady: three minutes; then the control plane is gone for a minute and back.
kill: a process that watches is killed three times, and started again from its last saved checkpoint.
trouble: one workload hangs, one is a 403, one a 404, one garbage; then all are well; then once more.
sleep: the consumer takes nothing for thirty seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys

from benchmarks.fleet import kill, sleep, steady, trouble
from benchmarks.fleet.size import Size
from benchmarks.processes import ROOT
from benchmarks.record import running_control_plane

STORIES = {"steady": steady.story, "kill": kill.story, "trouble": trouble.story, "sleep": sleep.story}


def told(name: str, size: Size) -> bool:
    """Run a story, print what was seen, and return whether all was as it should be."""
    with running_control_plane(size.workloads, size.changes) as control_plane:
        seen, wrong = asyncio.run(STORIES[name](control_plane, size))
    print(f"{name}: {size.workloads:,} workloads at {size.interval:g} s, {size.changes:g} changes a second")
    for what, value in seen.items():
        print(f"| {what:<62} | {value} |")
    if wrong:
        print(f"{name}: not as it should be: {', '.join(wrong)}", file=sys.stderr)
    return not wrong


def _told_apart(name: str, size: Size) -> bool:
    """Run a story in a process of its own, as its memory is looked at."""
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
    parser.add_argument("--scale", type=float, default=1, help="so many times smaller and quicker")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="of the moments of the kills"
    )
    options = parser.parse_args()
    if unknown := set(options.stories) - STORIES.keys():
        parser.error(f"there is no story {min(unknown)!r}")
    names, size = options.stories or list(STORIES), Size(options.scale, options.seed)
    run = told if len(names) == 1 else _told_apart
    good = [run(name, size) for name in names]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()

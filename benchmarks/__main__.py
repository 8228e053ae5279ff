"""Run the benchmarks and print one table: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import server
from benchmarks.measure import FULL_ROUNDS, QUICK_ROUNDS, Row, Size

NAMES = ("watch", "fleet", "client", "codec", "import", "memory")
_LIBRARIES = (
    "runai-async",
    "aiohttp",
    "msgspec",
    "cattrs",
    "runapy",
    "pydantic",
    "httpx",
    "orjson",
    "uvloop",
)
_COLUMNS = ("figure", "ours", "against", "theirs", "ratio", "middle half", "goal", "reached")


def versions() -> dict[str, str]:
    """Return the versions of what is measured and of what it runs on."""
    found = {"python": platform.python_version(), "cpus": str(os.cpu_count())}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(rows: Sequence[Row], earlier: Sequence[Row] = ()) -> str:
    """Lay out rows in columns, beside the same rows of an earlier run."""
    before = {(row.figure, row.against): row for row in earlier}
    lines: list[Sequence[str]] = [(*_COLUMNS, *(("ratio before", "ours before") if earlier else ()))]
    for row in rows:
        cells = (
            row.figure,
            f"{row.ours:,.1f} {row.unit}",
            row.against,
            f"{row.peer:,.1f} {row.unit}",
            f"{row.ratio:.2f}",
            f"{row.spread[0]:.2f} to {row.spread[1]:.2f}",
            row.goal,
            row.reached,
        )
        old = before.get((row.figure, row.against))
        more = (f"{old.ratio:.2f}", f"{old.ours:,.1f} {old.unit}") if old else ("", "")
        lines.append((*cells, *(more if earlier else ())))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], ["-" * width for width in widths], *lines[1:])
    )


def measured(names: Sequence[str], size: Size) -> tuple[list[Row], dict[str, float]]:
    """Run benchmarks by name; return the rows, and the server's capacity in responses per second."""
    rows: list[Row] = []
    with server.running() as url:
        server.capacity(url, "fixed", size.pick(20_000, 2_000))  # a first time to warm up both ends
        capacity = {mode: server.capacity(url, mode, size.pick(20_000, 2_000)) for mode in ("fixed", "fresh")}
        for name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            began = time.perf_counter()
            rows += importlib.import_module(f"benchmarks.bench_{name}").rows(url, size)
            print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    # The other benchmarks do not use the server.
    rates = [row.rate for row in rows if row.figure.startswith(("watch", "fleet", "list"))]
    return rows, capacity | {"requested": max(rates, default=0.0)}


def saved(file: Path) -> list[Row]:
    """Return the rows of a saved run."""
    lines = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return [Row(**{**line, "spread": tuple(line["spread"])}) for line in lines]


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)}; all by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, which show that everything runs but not how fast"
    )
    parser.add_argument("--rounds", type=int, help="turns of each client")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the run")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show a saved run beside this one")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark {min(unknown)!r}")
    earlier = saved(options.compare) if options.compare else []
    size = Size(options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS), options.quick)
    rows, responses = measured(options.names or NAMES, size)
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print("server, responses/s: " + ", ".join(f"{mode} {rate:,.0f}" for mode, rate in responses.items()))
    print(table(rows, earlier))
    if options.json:
        run: dict[str, Any] = {
            "versions": versions(),
            "server": responses,
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

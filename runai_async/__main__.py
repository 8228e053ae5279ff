"""The `runai-async` command, and `python -m runai_async`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("click", "rich")


def main() -> None:
    """Run the command line, or say in one line what it lacks."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        sys.stderr.write(
            f"runai-async: error: the command line needs {' and '.join(missing)}: "
            "pip install 'runai-async[cli]'\n"
        )
        sys.exit(2)
    from runai_async.cli.app import run  # noqa: PLC0415  (not before it is known that it can be imported)

    run()


if __name__ == "__main__":
    main()

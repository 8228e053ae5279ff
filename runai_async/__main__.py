"""The `runai-async` command, and `python -m runai_async`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from runai_async.cli.signals import end_at_once

_REQUIRED = ("click", "rich")


def main() -> None:
    """Run the command line, or print one line that names the missing packages."""
    end_at_once()  # from now on, and not when all that follows is imported
    if missing := [name for name in _REQUIRED if find_spec(name) is None]:
        sys.stderr.write(
            f"Error: the command line requires {' and '.join(missing)}: pip install 'runai-async[cli]'\n"
        )
        sys.exit(2)
    from runai_async.cli.app import run  # noqa: PLC0415  (it imports what was looked for above)

    run()


if __name__ == "__main__":
    main()

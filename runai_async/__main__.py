"""The `runai-async` command, and `python -m runai_async`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_REQUIRED = ("click", "rich")


def main() -> None:
    """Run the command line, or print one line that names the missing packages."""
    if missing := [name for name in _REQUIRED if find_spec(name) is None]:
        sys.stderr.write(
            f"runai-async: error: the command line requires {' and '.join(missing)}: "
            "pip install 'runai-async[cli]'\n"
        )
        sys.exit(2)
    from runai_async.cli.app import run  # noqa: PLC0415  (it imports what was looked for above)

    run()


if __name__ == "__main__":
    main()

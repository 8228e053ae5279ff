"""The `runai-async` command, and `python -m runai_async`."""

from __future__ import annotations

import sys

_REQUIRED = ("click", "rich")
_INTERRUPTED = 130


def main() -> None:
    """Run the command line, or print one line that names the missing packages.

    Signals are obeyed from the first moment. What is slow to import is imported afterwards.
    """
    try:
        from runai_async.cli.signals import exit_at_once  # noqa: PLC0415

        exit_at_once()
        _run()
    except KeyboardInterrupt:  # before that, or as the command was ending
        sys.exit(_INTERRUPTED)


def _run() -> None:
    from importlib.util import find_spec  # noqa: PLC0415

    from runai_async.cli.signals import exit_at_once  # noqa: PLC0415

    if missing := [name for name in _REQUIRED if find_spec(name) is None]:
        sys.stderr.write(
            f"Error: the command line requires {' and '.join(missing)}: pip install 'runai-async[cli]'\n"
        )
        sys.exit(2)
    from runai_async.cli.app import run  # noqa: PLC0415  (it imports what was looked for above)

    try:
        run()
    finally:
        exit_at_once()  # what is left to do prints tracebacks of its own


if __name__ == "__main__":
    main()

"""The command line: commands, and views apart from them."""

from runai_async.cli._app import run

__all__ = ["run"]

"""The checkpoint of a watch in a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from runai_async.checkpoint import FleetCheckpoint
from runai_async.cli._failures import InputError
from runai_async.cli._options import write_new

_PAUSE = 0.5
"""Seconds between two looks whether there is something to save."""


class StateFile:
    """Keeps what was delivered. One file holds any number of workloads.

    Raises:
        InputError: by all methods: the file cannot be used; the message says what to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: str | None = None

    def load(self, asked: Collection[str] | None) -> FleetCheckpoint | None:
        """Read what was saved; nothing is fine.

        Args:
            asked: the ids of the workloads that are to be watched; None for whatever there is.
        """
        try:
            self._saved = self._path.read_text(encoding="utf-8")
            checkpoint = FleetCheckpoint.from_json(self._saved)
        except FileNotFoundError:
            self.save('{"version":1,"workloads":[]}')  # now, rather than after hours, it shows if it cannot
            return None
        except (OSError, ValueError) as error:
            raise InputError(
                f"--state {self._path}: {error}; move it away, or name another file, to start afresh"
            ) from error
        if asked is not None and checkpoint.workloads and not checkpoint.workloads.keys() & set(asked):
            raise InputError(
                f"--state {self._path} is of workload {', '.join(checkpoint.workloads)}: name another file"
            )
        return checkpoint

    def save(self, text: str) -> None:
        """Put a checkpoint's JSON in the place of the last one."""
        if text == self._saved:
            return
        write_new("--state", self._path, text)
        self._saved = text

    async def keep(self, current: Callable[[], FleetCheckpoint]) -> None:
        """Save what is current, again and again, and once more when cancelled."""
        try:
            while True:
                await asyncio.sleep(_PAUSE)
                await self._save_whole(current().to_json())
        finally:
            await self._save_whole(current().to_json())

    async def _save_whole(self, text: str) -> None:
        """Save in a thread, and do not leave it before that is done: the next save must not meet it."""
        saving = asyncio.ensure_future(asyncio.to_thread(self.save, text))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            await asyncio.gather(saving, return_exceptions=True)
            raise

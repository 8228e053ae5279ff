"""The checkpoint of a watch in a file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.cli.exits import InputError

logger = logging.getLogger("runai_async")

_PAUSE = 0.5
"""Seconds between two looks whether there is something to save."""
_SHARE = 20
"""How many times as long as a save the pause is at least: one of thousands of workloads takes its time."""


class StateFile:
    """Keeps what was delivered. One file holds any number of workloads.

    Raises:
        InputError: by all methods: the file cannot be used; the message says what to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: FleetCheckpoint | None = None
        self._others: Mapping[str, Checkpoint] = {}

    def load(self, asked: Collection[str] | None) -> FleetCheckpoint | None:
        """Read what was saved; nothing is fine.

        Args:
            asked: the ids of the workloads that are to be watched; None for whatever there is.
        """
        if self._path.exists() and not self._path.is_file():
            raise InputError(f"--state {self._path} is no regular file: name another one")
        try:
            text = self._path.read_text(encoding="utf-8")
            checkpoint = FleetCheckpoint.from_json(text)
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
        self.save(text)
        if asked is not None:
            self._others = {key: item for key, item in checkpoint.workloads.items() if key not in asked}
        return checkpoint

    def save(self, text: str) -> None:
        """Put a checkpoint's JSON in the place of the last one."""
        write_new("--state", self._path, text)

    async def keep(self, current: Callable[[], FleetCheckpoint]) -> None:
        """Save what is current whenever it has changed, and once more when cancelled.

        A save that fails is warned of and tried again, as a full disk may be well again; only the last one's
        error is raised.
        """
        pause, failing = _PAUSE, False
        try:
            while True:
                await asyncio.sleep(pause)
                began = time.monotonic()
                try:
                    await self._save_whole(current())
                except InputError as error:
                    if not failing:
                        logger.warning("%s; it is tried again", error)
                    failing = True
                else:
                    failing = False
                pause = max(_PAUSE, _SHARE * (time.monotonic() - began))
        finally:
            await self._save_whole(current())

    async def _save_whole(self, checkpoint: FleetCheckpoint) -> None:
        """Save in a thread, and do not leave it before that is done: the next save must not meet it."""
        if checkpoint == self._saved:
            return
        whole = FleetCheckpoint({**self._others, **checkpoint.workloads})
        saving = asyncio.ensure_future(asyncio.to_thread(lambda: self.save(whole.to_json())))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            await asyncio.gather(saving, return_exceptions=True)
            raise
        self._saved = checkpoint


def write_new(option: str, path: Path, text: str) -> None:
    """Write a file whole or not at all: beside its place first, then into it. Only the owner may read it.

    Args:
        option: what names the file on the command line.
        path: the file.
        text: what to write.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()

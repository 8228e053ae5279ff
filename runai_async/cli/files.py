"""The files that commands write: the state of a watch, pictures and reports."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from runai_async._arguments import other_base_url
from runai_async._observe.log import logger
from runai_async.checkpoint import Checkpoint, FleetCheckpoint, fleet_json, fleet_part
from runai_async.cli.exits import InputError

_PAUSE = 0.5
"""Seconds between two saves, at least."""
_SHARE = 20
"""The pause is at least this many times as long as a save, which is slow for thousands of workloads."""
_OF_ITS_FOLDER = {errno.EBUSY, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of a file that cannot be replaced; EBUSY where it is mounted by itself."""
_MOUNT_ITS_FOLDER = (
    "; it is replaced as a whole, so its folder must be writable: where the file alone is mounted, mount its "
    "folder instead"
)


class _Part(NamedTuple):
    """The JSON of one workload in a fleet's checkpoint with a base URL."""

    checkpoint: Checkpoint
    base_url: str | None
    text: str


class StateFile:
    """A file that holds what was delivered, of any number of workloads.

    Every method raises `InputError` if the file cannot be used; the message says what to do.

    Args:
        path: the file.
        adopt: whether the state of another base URL is that of the same control plane.
    """

    def __init__(self, path: Path, *, adopt: bool = False) -> None:
        self._path = path
        self._adopt = adopt
        self._saved: FleetCheckpoint | None = None
        self._others: Mapping[str, Checkpoint] = {}
        self._parts: dict[str, _Part] = {}  # of what was saved last

    def load(
        self,
        watched: Collection[str] | None,
        base_url: str,
        *,
        is_former: Callable[[Checkpoint], bool] | None = None,
    ) -> FleetCheckpoint | None:
        """Read the saved state; None if there is none yet.

        Args:
            watched: the ids of the workloads to watch; None for every workload there is.
            base_url: of the control plane.
            is_former: returns whether the state of another workload is that of one which had the name of a
                watched one before; None where no names are watched.
        """
        if self._path.exists() and not self._path.is_file():
            raise InputError(f"--state {self._path} is not a regular file: name another one")
        try:
            checkpoint = self._read()
        except (OSError, ValueError) as error:
            raise InputError(
                f"--state {self._path}: {error}; move it away, or name another file, to start afresh"
            ) from error
        if checkpoint is not None and (other := other_base_url(checkpoint, base_url)) is not None:
            checkpoint = self._adopted(checkpoint, other, base_url)
        if checkpoint is not None and watched is not None:
            self._others = self._checked(checkpoint, watched, is_former)
            checkpoint = _without(checkpoint, self._others)
        # Now rather than after hours it shows whether the file can be written.
        self.save(self._json(self._whole(checkpoint or FleetCheckpoint({}, base_url))))
        return checkpoint

    def _read(self) -> FleetCheckpoint | None:
        """Return what is in the file; None if there is nothing, as in one that `touch` or `mktemp` made."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return FleetCheckpoint.from_json(text) if text.strip() else None

    def _adopted(self, checkpoint: FleetCheckpoint, other: str, base_url: str) -> FleetCheckpoint:
        """Return the state of another base URL as one of this, if that is the same control plane."""
        if not self._adopt:
            raise InputError(
                f"--state {self._path} is of {other}, but this control plane is {base_url}: name another "
                "file, or give --adopt-state if it is the same one under another name"
            )
        return checkpoint.moved_to(base_url)

    def _checked(
        self,
        checkpoint: FleetCheckpoint,
        watched: Collection[str],
        is_former: Callable[[Checkpoint], bool] | None,
    ) -> Mapping[str, Checkpoint]:
        """Return the state of other workloads; where ids are watched it must be that of one of them, too.

        A name may have come to another workload, of whose state it cannot be seen that it had the name: then
        that is kept, like any other, and the new one begins afresh.
        """
        others = {
            key: item
            for key, item in checkpoint.workloads.items()
            if key not in watched and not (is_former is not None and is_former(item))
        }
        if is_former is None and others and len(others) == len(checkpoint.workloads):
            raise InputError(
                f"--state {self._path} belongs to workload {', '.join(others)}: name another file"
            )
        return others

    def save(self, pieces: Iterable[str]) -> None:
        """Replace the file's content with a checkpoint's JSON."""
        replace_file("--state", self._path, pieces)

    def _json(self, checkpoint: FleetCheckpoint) -> Iterable[str]:
        """Return the pieces of a checkpoint's JSON; only what has changed since the last one is encoded.

        One after another, they let the event loop have its turns where this runs in a thread.
        """
        url, parts = checkpoint.base_url, checkpoint.workloads
        self._parts = {key: self._part(key, part, url) for key, part in parts.items()}
        return fleet_json((part.text for part in self._parts.values()), url)

    def _part(self, key: str, checkpoint: Checkpoint, base_url: str | None) -> _Part:
        before = self._parts.get(key)
        # A fleet returns the same checkpoint of a workload until that changes.
        if before is not None and before.checkpoint is checkpoint and before.base_url == base_url:
            return before
        return _Part(checkpoint, base_url, fleet_part(checkpoint, base_url))

    def _whole(self, checkpoint: FleetCheckpoint) -> FleetCheckpoint:
        """Return the state of what is watched, with that of others which the file held."""
        return FleetCheckpoint({**self._others, **checkpoint.workloads}, checkpoint.base_url)

    async def keep(self, current: Callable[[], FleetCheckpoint]) -> None:
        """Save the current state whenever it has changed, and once more when cancelled.

        A save that fails is logged and tried again, since a full disk may be emptied; only the error of the
        last save is raised.
        """
        pause, failing = _PAUSE, False
        try:
            while True:
                await asyncio.sleep(pause)
                began = time.monotonic()
                try:
                    await self._save_changed(current())
                except InputError as error:
                    was_failing, failing = failing, True
                    if not was_failing:
                        logger.warning("%s; retrying", error)
                else:
                    failing = False
                pause = max(_PAUSE, _SHARE * (time.monotonic() - began))
        finally:
            await self._save_changed(current())

    async def _save_changed(self, checkpoint: FleetCheckpoint) -> None:
        """Save in a thread, and wait for it even when cancelled: two saves must not overlap."""
        if checkpoint == self._saved:
            return
        whole = self._whole(checkpoint)
        saving = asyncio.ensure_future(asyncio.to_thread(lambda: self.save(self._json(whole))))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            await asyncio.gather(saving, return_exceptions=True)
            raise
        self._saved = checkpoint


def _without(checkpoint: FleetCheckpoint, others: Mapping[str, Checkpoint]) -> FleetCheckpoint:
    kept = {key: item for key, item in checkpoint.workloads.items() if key not in others}
    return FleetCheckpoint(kept, checkpoint.base_url)


def replace_file(option: str, path: Path, text: str | Iterable[str], *, mode: int = 0o600) -> None:
    """Write a file as a whole or not at all.

    Args:
        option: the option that names the file.
        path: the file.
        text: its new content, at once or in pieces.
        mode: that of a new file, before the umask; by default only its owner can read it.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a symbolic link stays one
    with _draft(option, path, mode) as (draft, descriptor):
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            _copy_access(path, descriptor)
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def check_replaceable(option: str, path: Path) -> None:
    """Check before a long wait that a file can be written at its end.

    Raises:
        InputError: it cannot.
    """
    with _draft(option, Path(os.path.realpath(path)), 0o600) as (_, descriptor):
        os.close(descriptor)


@contextlib.contextmanager
def _draft(option: str, path: Path, mode: int) -> Generator[tuple[Path, int], None, None]:
    """Open a new file beside another one, which it may replace; it is removed if it does not."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)  # of a process that was killed; a planted link is not followed
        yield draft, os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        advice = _MOUNT_ITS_FOLDER if error.errno in _OF_ITS_FOLDER else ""
        raise InputError(f"{option} {path} cannot be written: {error.strerror}{advice}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _copy_access(path: Path, descriptor: int) -> None:
    """Give a draft the owner and the mode of the file that it replaces, as far as that is permitted."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    impossible = (OSError, AttributeError)  # not permitted, an owner without a name here, or Windows
    with contextlib.suppress(*impossible):
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    for owner in (status.st_uid, -1):
        with contextlib.suppress(*impossible):
            os.fchown(descriptor, owner, status.st_gid)
            break

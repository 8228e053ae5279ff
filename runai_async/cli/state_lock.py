"""One process at a time has a state file: of two, each would overwrite what the other has delivered.

The lock is on a file beside it, because the state file is another one after each save. The kernel releases it
with the process, however that ends, so one that is left behind by a killed process locks nobody out.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

from runai_async._observe.log import logger
from runai_async.cli.exits import InputError

fcntl: Any = None if sys.platform == "win32" else import_module("fcntl")


@contextlib.contextmanager
def held(path: Path) -> Generator[None, None, None]:
    """Keep a state file from other processes, for as long as the context lasts.

    Where its file system has no locks, a warning says so. Where no file can be made beside it, the state file
    cannot be replaced either, which is an error of its own.

    Raises:
        InputError: another process has it.
    """
    lock = Path(f"{os.path.realpath(path)}.lock")  # that of the file, by whatever link it is named
    is_possible = fcntl is not None and (path.is_file() or not path.exists())
    descriptor = _acquired(lock, path) if is_possible else None
    try:
        yield
    finally:
        if descriptor is not None:
            lock.unlink(missing_ok=True)  # before it is released, or it may be another process's
            os.close(descriptor)


def _acquired(lock: Path, path: Path) -> int | None:
    """Return the descriptor that holds the lock; None where there are no locks."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            if lock.exists():
                _warn(path, error)
            return None
        if not _is_locked(descriptor, path):
            return None
        if _is_the_file(descriptor, lock):
            return descriptor
        os.close(descriptor)  # its owner has just removed it, and a new one may be locked already


def _is_locked(descriptor: int, path: Path) -> bool:
    """Lock a file and return True; or close it and return False where that is not possible."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        raise InputError(
            f"--state {path} is in use by another process: end that one, or name another file"
        ) from None
    except OSError as error:
        os.close(descriptor)
        _warn(path, error)
        return False
    return True


def _is_the_file(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False


def _warn(path: Path, error: OSError) -> None:
    text = "--state %s cannot be locked (%s): make sure that no other process uses it"
    logger.warning(text, path, error.strerror)

"""The certificate authorities in a file, which may be replaced while a client lives."""

from __future__ import annotations

import ssl
from pathlib import Path

from runai_async._observe.log import logger
from runai_async.errors import ConfigurationError


class Authorities:
    """A PEM file of authorities to trust. Its methods read the disk: call them in a thread.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: object = None

    def load(self) -> ssl.SSLContext:
        """Return a context that trusts the authorities in the file.

        Raises:
            ConfigurationError: the file cannot be used.
        """
        self._version = self._current_version()  # before the file is read: it may change meanwhile
        try:
            return ssl.create_default_context(cafile=self._path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"ca_file {str(self._path)!r} cannot be used: {error}") from error

    def load_again(self) -> ssl.SSLContext | None:
        """Return a new context if the file has changed; None if not, or if it cannot be used now."""
        if self._current_version() == self._version:
            return None
        try:
            context = self.load()
        except ConfigurationError as error:
            logger.warning("the authorities loaded before stay in use: %s", error)
            return None
        logger.info("ca_file %r has changed and was loaded again", str(self._path))
        return context

    def _current_version(self) -> object:
        # The time of a file alone is not enough: some tools keep it when they move another file here.
        try:
            stat = self._path.stat()
        except OSError as error:
            return error.errno  # so that a missing file is reported once, and not at every request
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

"""What users authenticate with: a token, credentials, or a provider of tokens."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from attrs import Attribute, field

from runai_async._http.addresses import check_token_url
from runai_async._values import frozen
from runai_async.errors import ConfigurationError

SENDABLE = re.compile(r"[\x21-\x7e]+")
"""What fits into an Authorization header: printable ASCII without spaces."""
_LONGEST_TOKEN_FILE = 2**16
"""Bytes in a token file; more, as from a device, are no token."""


@runtime_checkable
class TokenProvider(Protocol):
    """Where bearer tokens come from; implement both methods to supply your own.

    Example:
        >>> class VaultToken:
        ...     async def get_token(self) -> str:
        ...         return await vault.read("runai")
        ...     def invalidate(self, token: str) -> None:
        ...         vault.forget(token)
        >>> runai = RunaiClient("https://acme.run.ai", VaultToken())
    """

    async def get_token(self) -> str:
        """Return a token that is valid now. Called for every request, so cache it."""
        ...

    def invalidate(self, token: str) -> None:
        """Note that the control plane rejected *token*: do not return it again."""
        ...


def check_token(value: Any, name: str) -> str:
    """Return a token that fits into a header.

    Raises:
        ConfigurationError: it does not; the message names the argument and never quotes the token.
    """
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name} must be a non-empty str")
    if not SENDABLE.fullmatch(value):
        raise ConfigurationError(f"{name} must be printable ASCII without spaces or line breaks")
    return value


def _sendable(_: object, attribute: Attribute[Any], value: Any) -> None:
    check_token(value, attribute.name)


@frozen
class StaticToken:
    """A bearer token that someone else renews. A plain str as *auth* means the same.

    Attributes:
        token: without the word `Bearer`; not in the repr.

    Raises:
        ConfigurationError: the token is empty, or does not fit into a header.

    Example:
        >>> runai = RunaiClient("https://acme.run.ai", StaticToken(token))
    """

    token: str = field(repr=False, validator=_sendable)

    async def get_token(self) -> str:
        """Return the token."""
        return self.token

    def invalidate(self, token: str) -> None:
        """Do nothing: there is no other token."""


@frozen
class ClientCredentials:
    """The id and secret of a service account or access key, exchanged for tokens as needed.

    Attributes:
        client_id: the id.
        client_secret: its secret; not in the repr.
        api: which token endpoint to use. "v2" is `POST /api/v2/token` (RFC 6749), which exists from 2.24 on.
            "v1" is `POST /api/v1/token`, which is deprecated since 2.25 and gone in 3.0. "auto", the default,
            tries v2, and v1 only if there is no v2 (404 or 405); the one that issued a token is kept.
        token_url: a token endpoint elsewhere, such as an identity provider's, in v2's form. It is sent the
            secret, so it must be https, except to loopback.

    Raises:
        ConfigurationError: the id or secret is empty, *api* is something else, or *token_url* is not usable.

    Example:
        >>> runai = RunaiClient("https://acme.run.ai", ClientCredentials("app", "secret"))
    """

    client_id: str = field(validator=_sendable)
    client_secret: str = field(repr=False, validator=_sendable)
    api: Literal["auto", "v1", "v2"] = "auto"
    token_url: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.api not in {"auto", "v1", "v2"}:
            raise ConfigurationError(f"api must be 'auto', 'v1' or 'v2', not {self.api!r}")
        if self.token_url is not None:
            check_token_url(self.token_url)
            if self.api == "v1":
                raise ConfigurationError("token_url is a token endpoint in v2's form: leave out api='v1'")


def _path(value: str | os.PathLike[str]) -> Path:
    """Return a path, with `~` replaced; its signature shows what is accepted, as that of `Path` does not."""
    try:
        return Path(value).expanduser()
    except RuntimeError:  # neither HOME nor an entry in the user database, as in some containers
        raise ConfigurationError(
            f"{os.fspath(value)} cannot be found, as there is no home directory: set HOME"
        ) from None


@frozen
class CliCredentials:
    """The login that the vendor's command line keeps in `~/.runai`.

    The files are read again when a token is rejected, so a new login is picked up.

    Attributes:
        folder: the folder of `authentication.json` and `config.json`; by default `~/.runai`.

    Raises:
        ConfigurationError: the folder begins with `~`, and there is no home directory.

    Example:
        >>> login = CliCredentials()
        >>> runai = RunaiClient(login.read_base_url(), login)
    """

    folder: Path = field(factory=lambda: Path("~/.runai"), converter=_path)

    def read_token(self) -> str:
        """Read the token.

        Raises:
            ConfigurationError: it cannot be read; the message says what to do.
        """
        encoded = _read_key(self.folder / "authentication.json", "accessToken")
        try:
            decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            decoded = encoded  # a token that is not encoded
        return check_token(decoded.strip(), f"the token in {self.folder / 'authentication.json'}")

    def read_base_url(self) -> str:
        """Read the control plane's URL.

        Raises:
            ConfigurationError: it cannot be read; the message says what to do.
        """
        return _read_key(self.folder / "config.json", "control_plane", "url")


@frozen
class FileToken:
    """A bearer token in a file that something else renews, such as a secret that Kubernetes mounts.

    The file is read again when the token was refused, and when the file has changed: it is looked at before
    a request, at most once a second, and links are followed. Where it is missing or empty meanwhile, the
    last token stays in use, and one warning says so. A pipe is read once.

    Attributes:
        path: the file. White space around the token is ignored.

    Raises:
        ConfigurationError: the path begins with `~`, and there is no home directory.

    Example:
        >>> runai = RunaiClient("https://acme.run.ai", FileToken("~/runai-token"))
    """

    path: Path = field(converter=_path)

    def read_token(self) -> str:
        """Read the token.

        Raises:
            ConfigurationError: there is none; the message names the file.
        """
        try:
            with self.path.open("rb") as file:
                token = file.read(_LONGEST_TOKEN_FILE).decode("utf-8-sig").strip()
        except FileNotFoundError:
            raise ConfigurationError(f"the token file {self.path} does not exist") from None
        except OSError as error:
            raise ConfigurationError(f"the token file {self.path} cannot be read: {error.strerror}") from None
        except ValueError:
            raise ConfigurationError(f"the token file {self.path} is not a text file") from None
        if not token:
            raise ConfigurationError(f"the token file {self.path} contains no token")
        return check_token(token, f"the token in {self.path}")


def _read_key(path: Path, *keys: str) -> str:
    """Read a string from a JSON file of the vendor's command line."""
    try:
        value: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist: log in with the vendor's command line first"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as JSON ({type(error).__name__}): log in again"
        ) from None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{path} has no {'.'.join(keys)}: log in again")
    return value


Auth = str | StaticToken | FileToken | ClientCredentials | CliCredentials | TokenProvider
"""What `RunaiClient` takes as *auth*."""

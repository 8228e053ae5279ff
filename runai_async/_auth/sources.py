"""Where a client's tokens come from: one kind of source for each kind of *auth*."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Protocol

from yarl import URL

from runai_async._auth.client_credentials import ClientCredentialsSource
from runai_async._auth.credentials import (
    Auth,
    CliCredentials,
    ClientCredentials,
    FileToken,
    StaticToken,
    TokenProvider,
    check_token,
)
from runai_async._auth.token_file import FileTokenSource
from runai_async._clock import Clock
from runai_async._http.messages import Transport
from runai_async.errors import (
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    RunaiError,
    TransportError,
)
from runai_async.hooks import Hooks


class TokenSource(Protocol):
    """What `Authenticated` needs: a token provider that can also return a token without waiting.

    Attributes:
        is_fixed: whether there will never be another token.
    """

    is_fixed: ClassVar[bool]

    def current(self) -> str | None:
        """Return the token in use if it is valid, without waiting."""
        ...

    async def get_token(self) -> str:
        """Return a token that is valid."""
        ...

    def invalidate(self, token: str) -> None:
        """Drop *token*, unless another one has replaced it already."""
        ...

    async def aclose(self) -> None:
        """Stop what the source runs in the background."""
        ...


class FixedTokenSource(StaticToken):
    """The source over a token that never changes."""

    is_fixed: ClassVar[bool] = True

    def current(self) -> str:
        return self.token

    async def aclose(self) -> None:
        """Do nothing: nothing runs."""


class CachedTokenSource:
    """The source over a token that is read from somewhere, and read again when it was rejected."""

    is_fixed: ClassVar[bool] = False

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._token: str | None = None

    def current(self) -> str | None:
        return self._token

    async def get_token(self) -> str:
        token = self._token = await asyncio.to_thread(self._read)
        return token

    def invalidate(self, token: str) -> None:
        if self._token == token:
            self._token = None

    async def aclose(self) -> None:
        """Do nothing: nothing runs."""


def _provider_failed(error: Exception) -> TransportError:
    return TransportError(f"the token provider failed: {type(error).__name__}")


class ProviderSource:
    """The source over a user's `TokenProvider`; what it raises becomes an error of ours."""

    is_fixed: ClassVar[bool] = False

    def __init__(self, provider: TokenProvider) -> None:
        self._provider = provider

    def current(self) -> str | None:
        return None

    def invalidate(self, token: str) -> None:
        try:
            self._provider.invalidate(token)
        except Exception as error:
            raise _provider_failed(error) from error

    async def get_token(self) -> str:
        try:
            token = await self._provider.get_token()
        except (PermissionDeniedError, NotFoundError) as error:
            raise _provider_failed(error) from error  # it is not about what the token is needed for
        except RunaiError:
            raise
        except Exception as error:
            raise _provider_failed(error) from error
        return check_token(token, "the provider's token")

    async def aclose(self) -> None:
        """Do nothing: the provider is the user's."""


def token_source(
    auth: Auth, base_url: URL, transport: Transport, clock: Clock, *, hooks: Hooks, timeout: float
) -> TokenSource:
    """Return the source of tokens that *auth* stands for.

    Args:
        auth: as the user passed it.
        base_url: of the token endpoints.
        transport: carries the exchange.
        clock: the clock by which a token expires.
        hooks: are notified of each exchange.
        timeout: seconds for one exchange.

    Raises:
        ConfigurationError: *auth* is not usable; the message says what is.
    """
    if isinstance(auth, str | StaticToken):
        return FixedTokenSource(check_token(auth, "auth") if isinstance(auth, str) else auth.token)
    if isinstance(auth, FileToken):
        return FileTokenSource(auth, clock)
    if isinstance(auth, ClientCredentials):
        return ClientCredentialsSource(auth, base_url, transport, clock, hooks=hooks, timeout=timeout)
    if isinstance(auth, CliCredentials):
        return CachedTokenSource(auth.read_token)
    if isinstance(auth, TokenProvider) and not isinstance(auth, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        return ProviderSource(auth)
    raise ConfigurationError(
        f"auth must be a token (str), StaticToken, FileToken, ClientCredentials, CliCredentials, or an "
        f"object with the methods get_token and invalidate; not {type(auth).__name__}"
    )

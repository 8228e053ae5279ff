"""Token providers, and the transport that adds a token to each request.

A token is shared by all calls of a client, and the trouble comes when it ends under load. Dropping it at
each 401 makes every call in flight fetch another one. Here a refused token is dropped only if it is still
the one in use (compare and invalidate), one exchange runs at a time, and all who need its result wait for
the same task. That task is nobody's child: cancelling a caller does not cancel it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import random
import re
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable
from urllib.parse import quote, quote_plus

from attrs import Attribute, evolve, field, frozen
from yarl import URL

from runai_async._clock import Clock
from runai_async._requests import Request, Response, Token, parse_token, token_request
from runai_async._transport import Transport
from runai_async.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    RunaiError,
    TransportError,
)
from runai_async.hooks import Hooks, TokenRefreshed

logger = logging.getLogger("runai_async")

_OK = 200

_DEFAULT_LIFETIME = 300.0
"""Seconds that a token is used where neither the answer nor the token tells; the vendor's live for longer."""
_REFRESH_AT = 0.8
"""Fraction of a token's lifetime after which the next one is fetched, while this one is still good."""
_LEEWAY = 0.05
"""Fraction of its lifetime before its end from which a token is not used any more."""
_BACKOFF_INITIAL = 0.5
_BACKOFF_MAX = 30.0
"""Seconds between exchanges that fail: doubled from the first to the second, with jitter."""


@runtime_checkable
class TokenProvider(Protocol):
    """Where bearer tokens come from; implement both methods to bring your own.

    Example:
        >>> class VaultToken:
        ...     async def get_token(self) -> str: ...
        ...     def invalidate(self, token: str) -> None: ...
    """

    async def get_token(self) -> str:
        """Return a token that is good now. Called for every request, so keep it."""
        ...

    def invalidate(self, token: str) -> None:
        """Learn that the control plane refused *token*: do not return that one again."""
        ...


def _check_token(value: Any, name: str) -> str:
    """Return a token that fits a header. Its value is never told."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name} must be a non-empty str")
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ConfigurationError(f"{name} must be printable ASCII without spaces or line breaks")
    return value


def _sendable(_: object, attribute: Attribute[Any], value: Any) -> None:
    _check_token(value, attribute.name)


@frozen
class StaticToken:
    """A bearer token that someone else renews. A str given as *auth* is this.

    Raises:
        ConfigurationError: empty, or not fit for a header.
    """

    token: str = field(repr=False, validator=_sendable)

    async def get_token(self) -> str:
        """Return the token."""
        return self.token

    def invalidate(self, token: str) -> None:
        """Do nothing: there is no other one."""


@frozen
class ClientCredentials:
    """The id and secret of an application (service account), exchanged for tokens as they are needed.

    Attributes:
        api: "v1", `POST /api/v1/token`, which all control planes have; or "v2", `POST /api/v2/token`
            (RFC 6749), from 2.24 on, where v1 is deprecated from 2.25 on.

    Raises:
        ConfigurationError: empty, or another *api*.
    """

    client_id: str = field(validator=_sendable)
    client_secret: str = field(repr=False, validator=_sendable)
    api: Literal["v1", "v2"] = "v1"

    def __attrs_post_init__(self) -> None:
        if self.api not in {"v1", "v2"}:
            raise ConfigurationError(f"api must be 'v1' or 'v2', not {self.api!r}")


@frozen
class CliCredentials:
    """The login that the vendor's command line keeps in `~/.runai`.

    Attributes:
        folder: where `authentication.json` and `config.json` are; by default `~/.runai`.

    The files are read again when a token is refused, so a new login is picked up.
    """

    folder: Path = field(factory=lambda: Path.home() / ".runai", converter=Path)

    def read_token(self) -> str:
        """Read the token. Raises `ConfigurationError`, which tells what to do."""
        encoded = _read_key(self.folder / "authentication.json", "accessToken")
        try:
            decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            decoded = encoded  # a token that is not encoded
        return _check_token(decoded.strip(), f"the token in {self.folder / 'authentication.json'}")

    def read_base_url(self) -> str:
        """Read the control plane's URL. Raises `ConfigurationError`, which tells what to do."""
        return _read_key(self.folder / "config.json", "control_plane", "url")


def _read_key(path: Path, *keys: str) -> str:
    """Read a text out of a JSON file of the vendor's command line."""
    try:
        value: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} is not there: log in with the vendor's command line first"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as JSON ({type(error).__name__}): log in again"
        ) from None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{path} holds no {'.'.join(keys)}: log in again")
    return value


class TokenSource(Protocol):
    """What `Authenticated` works with: a provider that can also answer without waiting."""

    def current(self) -> str | None:
        """Return the token in use if it is good, without waiting."""
        ...

    async def get_token(self) -> str:
        """Return a token that is good."""
        ...

    def invalidate(self, token: str) -> None:
        """Drop *token*, unless another one has taken its place already."""
        ...

    async def aclose(self) -> None:
        """Stop what runs."""
        ...


def _provider_failed(error: Exception) -> TransportError:
    return TransportError(f"the token provider failed: {type(error).__name__}")


class _ProvidedTokens:
    """The source over a user's `TokenProvider`: what it raises becomes an error of ours."""

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
        except RunaiError:
            raise
        except Exception as error:
            raise _provider_failed(error) from error
        return _check_token(token, "the provider's token")

    async def aclose(self) -> None:
        """Do nothing: the provider is the user's."""


class _KeptTokens:
    """The source over a token that is read, not exchanged; it is read again when it was refused."""

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


class _FixedToken:
    """The source over a token that never changes."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str | None:
        return self._token

    async def get_token(self) -> str:
        return self._token

    def invalidate(self, token: str) -> None:
        """Do nothing: there is no other one."""

    async def aclose(self) -> None:
        """Do nothing: nothing runs."""


class _ExchangedTokens:
    """The source over `ClientCredentials`: keeps one token and renews it in time."""

    def __init__(
        self,
        credentials: ClientCredentials,
        base_url: URL,
        transport: Transport,
        clock: Clock,
        *,
        hooks: Hooks,
        timeout: float,
    ) -> None:
        self._secret = credentials.client_secret
        self._request = token_request(
            base_url, credentials.client_id, credentials.client_secret, credentials.api
        )
        self._transport = transport
        self._clock = clock
        self._hooks = hooks
        self._timeout = timeout
        self._token: str | None = None
        self._good_until = 0.0
        self._refresh_at = 0.0
        self._task: asyncio.Task[str] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._last_error: RunaiError | None = None

    def current(self) -> str | None:
        token, now = self._token, self._clock.monotonic()
        if token is None or now < self._refresh_at:
            return token
        if now >= self._good_until:
            return None
        if now >= self._not_before:
            _ = self._exchange()  # goes on by itself; meanwhile this one is good
        return token

    async def get_token(self) -> str:
        if (token := self.current()) is not None:
            return token
        if self._task is None and self._last_error is not None and self._clock.monotonic() < self._not_before:
            # The endpoint failed a moment ago: leave it alone. A copy, as each raise adds to a traceback.
            raise copy(self._last_error) from self._last_error
        task = self._exchange()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise RuntimeError("the client was closed while a call waited for its token") from None
            raise

    def invalidate(self, token: str) -> None:
        if self._token == token:
            self._token = None

    def _exchange(self) -> asyncio.Task[str]:
        """Start the exchange, or join the one that runs."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._fetch(), name="runai-async token")
            self._task.add_done_callback(self._ended)
        return self._task

    def _ended(self, task: asyncio.Task[str]) -> None:
        self._task = None
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._token is not None and self._clock.monotonic() < self._good_until:
            logger.warning("the early token refresh failed; the present token is used on: %s", error)

    async def _fetch(self) -> str:
        began = self._clock.monotonic()
        try:
            token = await self._ask(began)
        except RunaiError as error:
            self._failed(error)
            self._tell(began, error, None)
            raise
        lifetime = token.expires_in or _jwt_lifetime(token.value, self._clock) or _DEFAULT_LIFETIME
        self._token = token.value
        self._refresh_at = began + lifetime * _REFRESH_AT
        self._good_until = began + lifetime * (1 - _LEEWAY)
        self._failures, self._last_error, self._not_before = 0, None, 0.0
        self._tell(began, None, lifetime)
        return token.value

    async def _ask(self, began: float) -> Token:
        answer = await self._transport.send(
            self._request, timeout=self._timeout, deadline=began + 2 * self._timeout
        )
        try:
            return parse_token(
                answer if answer.status == _OK else without(answer, self._secret), self._request
            )
        except ApiError as error:
            meaning = _refused(error)
            if meaning is error:
                raise  # an error must not be its own cause: what follows causes would never end
            raise meaning from error

    def _failed(self, error: RunaiError) -> None:
        self._failures += 1
        longest = min(_BACKOFF_MAX, _BACKOFF_INITIAL * 2 ** min(self._failures - 1, 10))
        self._last_error = error
        self._not_before = self._clock.monotonic() + random.uniform(longest / 2, longest)  # noqa: S311

    def _tell(self, began: float, error: RunaiError | None, lifetime: float | None) -> None:
        if self._hooks:
            name = type(error).__name__ if error else None
            self._hooks.tell(TokenRefreshed(name, lifetime, self._clock.monotonic() - began))

    async def aclose(self) -> None:
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait({task})


_REFUSALS = frozenset({"invalid_client", "invalid_grant", "unauthorized_client"})
"""https://www.rfc-editor.org/rfc/rfc6749#section-5.2: what a 400 says of credentials."""


def _refused(error: ApiError) -> ApiError:
    """Let a 400 that refuses the credentials be the AuthenticationError that it means."""
    if error.status != 400 or error.message not in _REFUSALS:  # noqa: PLR2004
        return error
    return AuthenticationError(
        error.status,
        error.message,
        details=error.details,
        headers=error.headers,
        method=error.method,
        url=error.url,
    )


def without(answer: Response, *secrets: str) -> Response:
    """Return an answer that does not repeat our secrets; some servers quote what they refuse."""
    text = _plainly(answer.body)
    headers = dict(answer.headers)
    for form in {form for secret in secrets for form in _spellings(secret)}:
        text = text.replace(form.encode(), b"***")
        headers = {name: value.replace(form, "***") for name, value in headers.items()}
    return evolve(answer, body=text, headers=headers)


def _plainly(body: bytes) -> bytes:
    """Return JSON with each character written as itself, so that a secret in it can be found."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return body


def _spellings(secret: str) -> tuple[str, ...]:
    """Return a secret as it is, and as it stands in JSON, in a URL and in a form."""
    return secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)


def _jwt_lifetime(token: str, clock: Clock) -> float | None:
    """Read from a JWT how many seconds it lives; None for an opaque token. Its signature is not checked."""
    try:
        part = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        expires = float(claims["exp"])
        # From `iat` where it is there: the difference does not depend on this machine's clock being right.
        issued = float(claims["iat"]) if "iat" in claims else clock.now().timestamp()
    except (IndexError, KeyError, TypeError, ValueError, RecursionError, OverflowError):
        return None
    return expires - issued if 0 < expires - issued < float("inf") else None


Auth = str | StaticToken | ClientCredentials | CliCredentials | TokenProvider
"""What `RunaiClient` takes as *auth*."""


def token_source(
    auth: Auth, base_url: URL, transport: Transport, clock: Clock, *, hooks: Hooks, timeout: float
) -> TokenSource:
    """Return the source of tokens that *auth* stands for.

    Args:
        auth: as the user gave it.
        base_url: where the token endpoints are.
        transport: what the exchange is sent over.
        clock: tells when a token ends.
        hooks: are told of each exchange.
        timeout: seconds for one exchange.

    Raises:
        ConfigurationError: it is nothing that can be used.
    """
    if isinstance(auth, str):
        return _FixedToken(_check_token(auth, "auth"))
    if isinstance(auth, StaticToken):
        return _FixedToken(auth.token)
    if isinstance(auth, ClientCredentials):
        return _ExchangedTokens(auth, base_url, transport, clock, hooks=hooks, timeout=timeout)
    if isinstance(auth, CliCredentials):
        return _KeptTokens(auth.read_token)
    if isinstance(auth, TokenProvider) and not isinstance(auth, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        return _ProvidedTokens(auth)
    raise ConfigurationError(
        f"auth must be a token (str), StaticToken, ClientCredentials, CliCredentials, or have the methods "
        f"get_token and invalidate; not {type(auth).__name__}"
    )


class Authenticated:
    """A transport that adds the token, and after a 401 repeats the request once with another one."""

    def __init__(self, transport: Transport, source: TokenSource, clock: Clock) -> None:
        self._transport = transport
        self._source = source
        self._clock = clock
        self._header = ("", "")

    async def send(
        self,
        request: Request,
        *,
        timeout: float,
        deadline: float,
        authorization: str | None = None,  # noqa: ARG002  (this transport is who sets it)
    ) -> Response:
        """Send one request with a token; see `Transport.send`.

        Raises:
            AuthenticationError: the token endpoint refused the credentials.
        """
        token = self._source.current() or await self._wait_for_token(deadline)
        answer = await self._transport.send(
            request, timeout=timeout, deadline=deadline, authorization=self._bearer(token)
        )
        if answer.status == 401:  # noqa: PLR2004
            self._source.invalidate(token)
            refused, token = token, self._source.current() or await self._wait_for_token(deadline)
            if token != refused:
                answer = await self._transport.send(
                    request, timeout=timeout, deadline=deadline, authorization=self._bearer(token)
                )
        return answer if answer.status == _OK else without(answer, token)

    async def _wait_for_token(self, deadline: float) -> str:
        limit = asyncio.timeout(max(0.0, deadline - self._clock.monotonic()))
        try:
            async with limit:
                return await self._source.get_token()
        except TimeoutError as error:
            if isinstance(error, RunaiError) or not limit.expired():
                raise
            raise DeadlineExceededError("the deadline passed while waiting for a token") from error

    def _bearer(self, token: str) -> str:
        if self._header[0] != token:
            self._header = (token, f"Bearer {token}")
        return self._header[1]

    async def aclose(self) -> None:
        """Stop what the source runs, then close the transport below."""
        await self._source.aclose()
        await self._transport.aclose()

"""Exchanges client credentials for a token, keeps it, and renews it in time.

All calls of a client share one token, and the hard moment is when it ends under load. If every 401 dropped
it, every call in flight would fetch another one. Here a rejected token is dropped only if it is still the one
in use (compare and invalidate), one exchange runs at a time, and everyone who needs its result waits for the
same task. That task belongs to no caller, so cancelling a caller does not cancel it.
"""

from __future__ import annotations

import asyncio
import random
from copy import copy
from typing import ClassVar

from yarl import URL

from runai_async import _codec
from runai_async._api.statuses import is_from_api
from runai_async._auth import jwt
from runai_async._auth.credentials import ClientCredentials
from runai_async._auth.masking import redact
from runai_async._auth.token_endpoint import Token, parse_token, token_requests
from runai_async._clock import Clock
from runai_async._http.messages import Request, Response, Transport
from runai_async._observe.log import logger
from runai_async.errors import (
    ApiError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RunaiError,
)
from runai_async.hooks import Hooks, TokenRefreshed

_OK = 200
_NO_SUCH_ENDPOINT = frozenset({404, 405})
_DEFAULT_LIFETIME = 300.0
"""Seconds, if neither the response nor the token says how long it lives; the vendor's tokens live longer."""
_REFRESH_AT = 0.8
"""Fraction of a token's lifetime after which the next one is fetched, while this one is still valid."""
_LEEWAY = 0.05
"""The last fraction of its lifetime, in which a token is no longer used."""
_BACKOFF_INITIAL = 0.5
_BACKOFF_MAX = 30.0
"""Seconds to wait after a failed exchange: doubled with each failure up to the maximum, with jitter."""


class ClientCredentialsSource:
    """The source over `ClientCredentials`: keeps one token and renews it in time."""

    is_fixed: ClassVar[bool] = False

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
        self._requests = token_requests(base_url, credentials)
        self._transport = transport
        self._clock = clock
        self._hooks = hooks
        self._timeout = timeout
        self._token: str | None = None
        self._valid_until = 0.0
        self._refresh_at = 0.0
        self._task: asyncio.Task[str] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._last_error: RunaiError | None = None

    def current(self) -> str | None:
        token, now = self._token, self._clock.monotonic()
        if token is None or now < self._refresh_at:
            return token
        if now >= self._valid_until:
            return None
        if now >= self._not_before:
            _ = self._exchange()  # runs by itself; meanwhile this one is still valid
        return token

    async def get_token(self) -> str:
        if (token := self.current()) is not None:
            return token
        if self._task is None and self._last_error is not None and self._clock.monotonic() < self._not_before:
            # The endpoint failed a moment ago: leave it alone. A copy, since each raise adds to a traceback.
            raise copy(self._last_error) from self._last_error
        return await self._result(self._exchange())

    async def _result(self, task: asyncio.Task[str]) -> str:
        """Wait for an exchange; cancelling the caller does not cancel it."""
        # Not `asyncio.shield`: since 3.14 it reports the error of a task whose waiter was cancelled to the
        # event loop. Here the task's own callback reads the error, however many wait for it, or none.
        await asyncio.wait({task})
        if task.cancelled():
            raise RuntimeError("the client was closed while a call waited for its token")
        error = task.exception()
        if isinstance(error, RunaiError):
            # Each waiter gets a copy of its own: a watch writes its checkpoint into it.
            raise copy(error).with_traceback(error.__traceback__) from error.__cause__
        return task.result()

    def invalidate(self, token: str) -> None:
        if self._token == token:
            self._token = None

    def _exchange(self) -> asyncio.Task[str]:
        """Start an exchange, or join the one that is running."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._fetch(), name="runai-async token")
            self._task.add_done_callback(self._ended)
        return self._task

    def _ended(self, task: asyncio.Task[str]) -> None:
        self._task = None
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._token is not None and self._clock.monotonic() < self._valid_until:
            logger.warning(
                "the early token refresh failed; the current token stays in use until it expires: %s", error
            )

    async def _fetch(self) -> str:
        began = self._clock.monotonic()
        try:
            token = await self._request_token(began + 2 * self._timeout, *self._requests)
        except RunaiError as error:
            self._back_off(error)
            self._notify(began, error, None)
            raise
        stated = token.expires_in or jwt.lifetime(token.value, self._clock.now().timestamp())
        lifetime = stated or _DEFAULT_LIFETIME
        self._token = token.value
        self._refresh_at = began + lifetime * _REFRESH_AT
        self._valid_until = began + lifetime * (1 - _LEEWAY)
        self._failures, self._last_error, self._not_before = 0, None, 0.0
        self._notify(began, None, lifetime)
        return token.value

    async def _request_token(self, deadline: float, request: Request, *others: Request) -> Token:
        response = await self._transport.send(request, timeout=self._timeout, deadline=deadline)
        if others and response.status in _NO_SUCH_ENDPOINT:
            return await self._request_token(deadline, *others)
        token = self._read(response, request)
        self._requests = (request,)  # from now on this is the endpoint, whatever happens to it
        return token

    def _read(self, response: Response, request: Request) -> Token:
        if response.status != _OK:
            response = redact(response, self._secret)
        try:
            return parse_token(response, request)
        except ApiError as error:
            mapped = token_error(error, response)
            if mapped is error:
                raise  # an error must not be its own cause: whatever follows causes would never end
            raise mapped from error

    def _back_off(self, error: RunaiError) -> None:
        self._failures += 1
        longest = min(_BACKOFF_MAX, _BACKOFF_INITIAL * 2 ** min(self._failures - 1, 10))
        self._last_error = error
        self._not_before = self._clock.monotonic() + random.uniform(longest / 2, longest)  # noqa: S311

    def _notify(self, began: float, error: RunaiError | None, lifetime: float | None) -> None:
        if self._hooks:
            name = type(error).__name__ if error else None
            self._hooks.notify(TokenRefreshed(name, lifetime, self._clock.monotonic() - began))

    async def aclose(self) -> None:
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait({task})


_BAD_CREDENTIALS = frozenset({"invalid_client", "invalid_grant", "unauthorized_client"})
"""https://www.rfc-editor.org/rfc/rfc6749#section-5.2: the codes that reject the credentials."""
_REJECTED = frozenset({400, 403})
"""Statuses with which the older endpoint rejects credentials, in the API's own words. While an identity
service restarts, its 401 has the same words."""


def _is_rejection(error: ApiError, response: Response) -> bool:
    """Return whether the credentials were rejected for good: in OAuth's words for that, or in the API's."""
    code = (_codec.decode_object(response.body) or {}).get("error")
    in_oauths_words = isinstance(code, str) and code in _BAD_CREDENTIALS
    return (in_oauths_words and error.status in {400, 401, 403}) or (
        is_from_api(error) and error.status in _REJECTED
    )


def token_error(error: ApiError, response: Response) -> ApiError:
    """Return what an error of the token endpoint means to the call that needs the token.

    A 400, 401 or 403 that rejects the credentials is a final `AuthenticationError`: our request was
    well-formed. A 401 in the API's own words is one as well, but not final. Any other 401, 403 or 404 comes
    from a gateway or from an identity service that restarts. It becomes a plain `ApiError`, so that a watch
    waits and does not conclude from it that the credentials are wrong or its workload is gone.
    """
    is_final = _is_rejection(error, response)
    if is_final or (isinstance(error, AuthenticationError) and is_from_api(error)):
        mapped = error if isinstance(error, AuthenticationError) else _as(AuthenticationError, error)
        if is_final and isinstance(mapped, AuthenticationError):
            mapped.is_final = True
        return mapped
    if isinstance(error, AuthenticationError | PermissionDeniedError | NotFoundError):
        return _as(ApiError, error)
    return error


def _as(kind: type[ApiError], error: ApiError) -> ApiError:
    """Return an error as one of another class."""
    return kind(
        error.status,
        error.message,
        code=error.code,
        details=error.details,
        headers=error.headers,
        method=error.method,
        url=error.url,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )

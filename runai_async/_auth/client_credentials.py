"""Tokens that are exchanged for credentials, kept, and renewed in time.

A token is shared by all calls of a client, and the trouble comes when it ends under load. Dropping it at
each 401 makes every call in flight fetch another one. Here a refused token is dropped only if it is still
the one in use (compare and invalidate), one exchange runs at a time, and all who need its result wait for
the same task. That task is nobody's child: cancelling a caller does not cancel it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
from copy import copy
from typing import Any

from yarl import URL

from runai_async._api.statuses import is_from_api
from runai_async._auth.credentials import ClientCredentials
from runai_async._auth.masking import redact
from runai_async._auth.token_endpoint import Token, parse_token, token_request
from runai_async._clock import Clock
from runai_async._http.messages import Transport
from runai_async.errors import (
    ApiError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RunaiError,
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


class ClientCredentialsSource:
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
        except RunaiError as error:
            # To each who waited his own: a watch writes its checkpoint into it.
            raise copy(error).with_traceback(error.__traceback__) from error.__cause__
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if task.cancelled() and not (waiter and waiter.cancelling()):
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
        response = await self._transport.send(
            self._request, timeout=self._timeout, deadline=began + 2 * self._timeout
        )
        try:
            return parse_token(
                response if response.status == _OK else redact(response, self._secret), self._request
            )
        except ApiError as error:
            map_error = _refused(error)
            if map_error is error:
                raise  # an error must not be its own cause: what follows causes would never end
            raise map_error from error

    def _failed(self, error: RunaiError) -> None:
        self._failures += 1
        longest = min(_BACKOFF_MAX, _BACKOFF_INITIAL * 2 ** min(self._failures - 1, 10))
        self._last_error = error
        self._not_before = self._clock.monotonic() + random.uniform(longest / 2, longest)  # noqa: S311

    def _tell(self, began: float, error: RunaiError | None, lifetime: float | None) -> None:
        if self._hooks:
            name = type(error).__name__ if error else None
            self._hooks.notify(TokenRefreshed(name, lifetime, self._clock.monotonic() - began))

    async def aclose(self) -> None:
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait({task})


_REFUSALS = frozenset({"invalid_client", "invalid_grant", "unauthorized_client"})
"""https://www.rfc-editor.org/rfc/rfc6749#section-5.2: what a 400 says of credentials."""


def _refused(error: ApiError) -> ApiError:
    """Return what a refusal means, said of the token and not of what it was wanted for.

    A 400 or 403 in the API's words, or a 400 in OAuth's, refuses the credentials and is an
    AuthenticationError: what we sent was well-formed, and v1 has no 401. Any other 403 or 404 is a plain
    ApiError, lest a watch takes it for the word that its workload is gone.
    """
    if error.status == 400 and (error.message in _REFUSALS or is_from_api(error)):  # noqa: PLR2004
        kind: type[ApiError] = AuthenticationError
    elif isinstance(error, PermissionDeniedError) and is_from_api(error):
        kind = AuthenticationError
    elif isinstance(error, PermissionDeniedError | NotFoundError):
        kind = ApiError
    else:
        return error
    return kind(
        error.status,
        error.message,
        code=error.code,
        details=error.details,
        headers=error.headers,
        method=error.method,
        url=error.url,
        request_id=error.request_id,
    )


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

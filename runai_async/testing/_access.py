"""Who may call the fake control plane: the token endpoints, and the check of each request's token."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from runai_async.testing._outages import Outages
from runai_async.testing._responses import ApiError, json_response
from runai_async.testing._tokens import Tokens
from runai_async.testing._versions import Version

_BEARER = {"WWW-Authenticate": "Bearer"}
_STARTING = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"


class Access:
    """Issues tokens, and checks them, unless the services that do so are restarting."""

    def __init__(self, tokens: Tokens, outages: Outages, version: Version) -> None:
        self._tokens = tokens
        self._outages = outages
        self._version: Version = version
        self._refusals = itertools.count()

    def check(self, authorization: str | None) -> None:
        """Return if a request of the API may pass. Raises `ApiError`."""
        if self._outages.is_away("identity"):
            raise ApiError(401, "token used before issued", **_BEARER)
        if not self._tokens.is_valid(authorization):
            raise ApiError(401, "the token is missing, expired or revoked", **_BEARER)
        if self._tokens.age(authorization) < self._outages.least_token_age:
            raise ApiError(401, "token used before issued", **_BEARER)
        if self._outages.is_away("authorization"):
            raise ApiError(403, "the account lacks the permission")

    def _restarting(self) -> web.Response | None:
        """Return how an identity service that restarts fails: as its gateway says it, then as itself."""
        if not self._outages.is_away("identity"):
            return None
        if next(self._refusals) % 2 == 0:
            return web.Response(status=503, text=_STARTING, content_type="text/html")
        return ApiError(401, "the identity service is not ready").response

    async def token_v1(self, request: web.Request) -> web.Response:
        """Exchange credentials as the older API does: JSON, its keys in any case."""
        if (refusal := self._restarting()) is not None:
            return refusal
        try:
            body: Any = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, ValueError):
            body = None
        if not isinstance(body, dict):
            raise ApiError(400, "the body must be a JSON object")
        fields: dict[str, Any] = {str(key).lower(): item for key, item in body.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        prefix = {"client_credentials": "client", "app_token": "app"}.get(str(fields.get("granttype")))
        if prefix is None:
            raise ApiError(400, "grantType must be client_credentials or app_token")
        if not self._tokens.knows(fields.get(f"{prefix}id"), fields.get(f"{prefix}secret")):
            raise ApiError(403, "the id or secret is wrong")  # a 401 is what a restart looks like
        lifetime = {} if self._version == "2.22" else {"expiresIn": int(self._tokens.lifetime)}
        return json_response({"accessToken": self._tokens.issue()} | lifetime)

    async def token_v2(self, request: web.Request) -> web.Response:
        """Exchange credentials by RFC 6749: a form."""
        if (refusal := self._restarting()) is not None:
            return refusal
        try:
            form: Mapping[str, Any] = await request.post()
        except ValueError:
            form = {}
        if "grant_type" not in form:
            return _oauth_error("invalid_request", "grant_type is missing", 400)
        if form["grant_type"] != "client_credentials":
            return _oauth_error("unsupported_grant_type", None, 400)
        if not self._tokens.knows(form.get("client_id"), form.get("client_secret")):
            return _oauth_error("invalid_client", "the id or secret is wrong", 401)
        token = {"access_token": self._tokens.issue(), "expires_in": int(self._tokens.lifetime)}
        return json_response(token | {"token_type": "Bearer"})


def _oauth_error(error: str, description: str | None, status: int) -> web.Response:
    """Return an error as RFC 6749 words it."""
    details = {} if description is None else {"error_description": description}
    return json_response({"error": error} | details, status)

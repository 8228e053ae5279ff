"""The HTTP endpoints of the fake control plane, and the meaning of their parameters."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal
from uuid import UUID

import msgspec
from aiohttp import web

from runai_async.testing._openapi import DOCUMENT, FILTER_PATTERN
from runai_async.testing._state import MissingError, State
from runai_async.testing._tokens import Tokens

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Note = Callable[[str, Iterable[Mapping[str, Any]]], None]
"""Takes the id of a workload and the revisions of it that a response contains."""

Version = Literal["2.22", "2.24", "3.0"]
TOKEN_PATHS: dict[Version, tuple[str, ...]] = {
    "2.22": ("/api/v1/token",),
    "2.24": ("/api/v1/token", "/api/v2/token"),
    "3.0": ("/api/v2/token",),
}
"""The token endpoints of each version."""

_INFERENCES = "/api/v1/workloads/inferences"
_PAGE = 50
_PAGE_MAX = 500
_OPERATORS = ("==", "!=", "<=", ">=", "=@", "!@", "=^", "=$")


class _ApiError(Exception):
    """Ends a request with the API's error body."""

    def __init__(self, status: int, message: str, details: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": status, "message": message} | ({"details": details} if details else {})
        self.headers = headers


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


class Routes:
    """The endpoints of one version of the API, over one state."""

    def __init__(self, state: State, tokens: Tokens, note: Note, version: Version) -> None:
        self._state = state
        self._tokens = tokens
        self._note = note
        self._version: Version = version

    def table(self) -> list[web.RouteDef]:
        """Return the route of each endpoint."""
        workload, revision = (
            f"{_INFERENCES}/{{workload_id}}/revisions",
            f"{_INFERENCES}/revisions/{{revision_id}}",
        )
        exchanges = {"/api/v1/token": self._token_v1, "/api/v2/token": self._token_v2}
        return [
            web.get("/openapi.json", self._openapi, allow_head=False),
            *(web.post(path, exchanges[path]) for path in TOKEN_PATHS[self._version]),
            web.get("/api/v1/workloads", self._list_workloads, allow_head=False),
            web.get("/api/v1/workloads/count", self._count_workloads, allow_head=False),
            web.get(revision, self._get, allow_head=False),
            web.get(f"{revision}/history", self._history, allow_head=False),
            web.get(workload, self._list, allow_head=False),
            web.get(f"{workload}/count", self._count, allow_head=False),
        ]

    async def respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Respond to one request, with the API's error body if its handler raises."""
        try:
            self._check_token(request)
            return await handler(request)
        except _ApiError as error:
            return _json(error.body, error.status, error.headers)
        except MissingError as error:
            return _json({"code": 404, "message": str(error)}, 404)
        except web.HTTPException as error:
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return _json({"code": error.status, "message": error.reason}, error.status, headers)

    def _check_token(self, request: web.Request) -> None:
        is_public = request.path.endswith("/token") or request.path == "/openapi.json"
        if not is_public and not self._tokens.is_valid(request.headers.get("Authorization")):
            raise _ApiError(401, "the token is missing, expired or revoked", **{"WWW-Authenticate": "Bearer"})

    async def _openapi(self, _: web.Request) -> web.Response:
        tokens = TOKEN_PATHS[self._version]
        paths = {
            path: item
            for path, item in DOCUMENT["paths"].items()
            if not path.endswith("/token") or path in tokens
        }
        return _json(DOCUMENT | {"info": DOCUMENT["info"] | {"version": self._version}, "paths": paths})

    # --- revisions ----------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        workload_id, deleted = _uuid(request, "workload_id"), _flag(request, "deleted")
        body = self._state.list_body(workload_id, deleted=deleted)
        self._note(workload_id, self._state.listed(workload_id, deleted=deleted))
        return web.Response(body=body, content_type="application/json")

    async def _count(self, request: web.Request) -> web.Response:
        workload_id, deleted = _uuid(request, "workload_id"), _flag(request, "deleted")
        try:
            return _json({"count": sum(1 for _ in self._state.listed(workload_id, deleted=deleted))})
        except MissingError:
            return _json({"count": 0})  # this endpoint has no 404

    async def _get(self, request: web.Request) -> web.Response:
        revision = self._state.visible(_uuid(request, "revision_id"))
        self._note(revision["workloadId"], [revision])
        return _json(revision)

    async def _history(self, request: web.Request) -> web.Response:
        return _page(request, "records", self._state.history(_uuid(request, "revision_id")))

    # --- workloads ----------------------------------------------------------------------------------------

    async def _list_workloads(self, request: web.Request) -> web.Response:
        return _page(request, "workloads", self._workloads(request))

    async def _count_workloads(self, request: web.Request) -> web.Response:
        return _json({"count": len(self._workloads(request))})

    def _workloads(self, request: web.Request) -> list[dict[str, Any]]:
        items = self._state.live_workloads(deleted=_flag(request, "deleted"))
        filters = request.query.getall("filterBy", [])
        if any(re.fullmatch(FILTER_PATTERN, text) is None for text in filters):
            raise _ApiError(400, f"filterBy is field, operator ({' '.join(_OPERATORS)}), value; comma-joined")
        conditions = [condition for text in filters for condition in text.split(",")]
        return [item for item in items if all(_matches(item, condition) for condition in conditions)]

    # --- tokens -------------------------------------------------------------------------------------------

    async def _token_v1(self, request: web.Request) -> web.Response:
        """Exchange credentials as the older API does: JSON, its keys in any case."""
        try:
            body: Any = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, ValueError):
            body = None
        if not isinstance(body, dict):
            raise _ApiError(400, "the body must be a JSON object")
        fields: dict[str, Any] = {str(key).lower(): item for key, item in body.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        prefix = {"client_credentials": "client", "app_token": "app"}.get(str(fields.get("granttype")))
        if prefix is None:
            raise _ApiError(400, "grantType must be client_credentials or app_token")
        if not self._tokens.knows(fields.get(f"{prefix}id"), fields.get(f"{prefix}secret")):
            raise _ApiError(401, "the id or secret is wrong")
        lifetime = {} if self._version == "2.22" else {"expiresIn": int(self._tokens.lifetime)}
        return _json({"accessToken": self._tokens.issue()} | lifetime)

    async def _token_v2(self, request: web.Request) -> web.Response:
        """Exchange credentials by RFC 6749: a form."""
        try:
            form: Mapping[str, Any] = await request.post()
        except ValueError:
            form = {}
        if "grant_type" not in form:
            return _json({"error": "invalid_request", "error_description": "grant_type is missing"}, 400)
        if form["grant_type"] != "client_credentials":
            return _json({"error": "unsupported_grant_type"}, 400)
        if not self._tokens.knows(form.get("client_id"), form.get("client_secret")):
            return _json({"error": "invalid_client", "error_description": "the id or secret is wrong"}, 401)
        lifetime = int(self._tokens.lifetime)
        return _json({"access_token": self._tokens.issue(), "expires_in": lifetime, "token_type": "Bearer"})


def _uuid(request: web.Request, name: str) -> str:
    value = request.match_info[name]
    try:
        parsed = str(UUID(value))
    except ValueError:
        parsed = ""
    if parsed != value.lower():
        raise _ApiError(400, f"{name} must be a UUID")
    return parsed


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in {"true", "false"} or len(request.query.getall(name, [])) > 1:
        raise _ApiError(400, f"{name} must be true or false")
    return value == "true"


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:12]) <= most:
        raise _ApiError(400, f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _page(request: web.Request, key: str, items: list[dict[str, Any]]) -> web.Response:
    """Return one page of items, and the offset of the next one."""
    offset = _number(request, "offset", 0, 0, 2**31 - 1)
    end = offset + _number(request, "limit", _PAGE, 1, _PAGE_MAX)
    return _json({key: items[offset:end]} | ({"next": end} if end < len(items) else {}))


def _matches(item: Mapping[str, Any], condition: str) -> bool:
    """Return whether a workload meets one filterBy condition."""
    operator = next(operator for operator in _OPERATORS if operator in condition)
    name, _, operand = condition.partition(operator)
    return _compare(operator, str(item.get(name, "")), operand)


def _compare(operator: str, value: str, operand: str) -> bool:
    results: dict[str, bool] = {
        "==": value == operand,
        "!=": value != operand,
        "<=": value <= operand,
        ">=": value >= operand,
        "=@": operand in value,
        "!@": operand not in value,
        "=^": value.startswith(operand),
        "=$": value.endswith(operand),
    }
    return results[operator]

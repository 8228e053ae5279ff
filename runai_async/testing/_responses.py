"""Responses of the fake control plane, and the parameters of the requests for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from aiohttp import web

_PAGE = 50
_PAGE_MAX = 500


class ApiError(Exception):
    """Ends a request with the API's error body."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    @property
    def response(self) -> web.Response:
        """The response with this error."""
        return json_response({"code": self.status, "message": self.message}, self.status, self.headers)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a response with a value as JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def uuid_in(request: web.Request, name: str) -> str:
    """Return an id in the path. Raises `ApiError`."""
    value = request.match_info[name]
    try:
        parsed = str(UUID(value))
    except ValueError:
        parsed = ""
    if parsed != value.lower():
        raise ApiError(400, f"{name} must be a UUID")
    return parsed


def flag_in(request: web.Request, name: str) -> bool:
    """Return a parameter that is true or false. Raises `ApiError`."""
    value = request.query.get(name, "false")
    if value not in {"true", "false"} or len(request.query.getall(name, [])) > 1:
        raise ApiError(400, f"{name} must be true or false")
    return value == "true"


def text_in(request: web.Request, name: str) -> str | None:
    """Return a parameter that may be given once. Raises `ApiError`."""
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise ApiError(400, f"{name} must be given once")
    return values[0] if values else None


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:12]) <= most:
        raise ApiError(400, f"{name} must be a whole number from {least} to {most}")
    return int(text)


def page(request: web.Request, key: str, items: Sequence[Mapping[str, Any]]) -> web.Response:
    """Return one page of items, and the offset of the next one. Raises `ApiError`."""
    offset = _number(request, "offset", 0, 0, 2**31 - 1)
    end = offset + _number(request, "limit", _PAGE, 1, _PAGE_MAX)
    return json_response({key: items[offset:end]} | ({"next": end} if end < len(items) else {}))

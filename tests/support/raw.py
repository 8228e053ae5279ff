"""Responses of the fake control plane as they are, without the client."""

from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp

from runai_async.testing import FakeControlPlane


class Raw(NamedTuple):
    """A response: its status, and its body as JSON, or as text where it is not JSON."""

    status: int
    body: Any


async def get(control_plane: FakeControlPlane, path: str, token: str | None = None) -> Raw:
    """Get a path, with a valid token by default."""
    headers = {"Authorization": f"Bearer {token or control_plane.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(control_plane.url + path, headers=headers) as response,
    ):
        return await _read(response)


async def post_for_token(control_plane: FakeControlPlane, version: str = "v2") -> Raw:
    """Ask for a token with the right credentials."""
    url = f"{control_plane.url}/api/{version}/token"
    known = (control_plane.client_id, control_plane.client_secret)
    form = dict(zip(("client_id", "client_secret"), known, strict=True))
    old = dict(zip(("clientID", "clientSecret"), known, strict=True))
    sent: dict[str, Any] = (
        {"data": {"grant_type": "client_credentials", **form}}
        if version == "v2"
        else {"json": {"grantType": "client_credentials", **old}}
    )
    async with aiohttp.ClientSession() as session, session.post(url, **sent) as response:
        return await _read(response)


async def _read(response: aiohttp.ClientResponse) -> Raw:
    is_json = response.content_type == "application/json"
    return Raw(response.status, await response.json() if is_json else await response.text())


def refusal(status: HTTPStatus | int, message: str) -> Raw:
    """Return the response with the API's error body."""
    return Raw(int(status), {"code": int(status), "message": message})

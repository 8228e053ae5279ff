"""The token endpoints: what to send, and the token in the response. No I/O."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from attrs import field, frozen
from yarl import URL

from runai_async import _codec
from runai_async._api.statuses import raise_for_status
from runai_async._auth.credentials import SENDABLE
from runai_async._http.messages import Request, Response
from runai_async.errors import DecodeError


@frozen
class Token:
    """A bearer token, and the seconds for which it is valid; None if the response does not say."""

    value: str = field(repr=False)
    expires_in: float | None = None


def token_request(base_url: URL, client_id: str, client_secret: str, api: str) -> Request:
    """Return the request that exchanges client credentials for a token, of the API's v1 or v2."""
    if api == "v1":
        fields = {"grantType": "client_credentials", "clientID": client_id, "clientSecret": client_secret}
        body, kind = _codec.encode(fields), "application/json"
    else:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        body, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
    url = base_url.joinpath("api", api, "token")
    return Request("POST", url, {"Content-Type": kind, "Accept": "application/json"}, body, queued=False)


def parse_token(response: Response, request: Request) -> Token:
    """Read the response of a token endpoint, of either version.

    Raises:
        ApiError: its status is an error.
        DecodeError: it has no usable token.
    """
    raise_for_status(response, request)
    body = _codec.decode_object(response.body)
    if body is None:
        is_json = _codec.is_json(response.body)
        raise DecodeError("the token endpoint's response is not a JSON object", is_json=is_json)
    key = _token_key(body, request)
    value = body.get(key)
    if not isinstance(value, str) or not SENDABLE.fullmatch(value):
        raise DecodeError(f"$.{key}: the token endpoint's response has no usable token", path=f"$.{key}")
    return Token(value, _lifetime(body.get("expiresIn", body.get("expires_in"))))


def _token_key(body: dict[str, Any], request: Request) -> str:
    """Return the key of the token: the requested version's, unless only the other version's exists."""
    key, other = "accessToken", "access_token"
    if request.url.parts[-2] == "v2":
        key, other = other, key
    return other if other in body and key not in body else key


def _lifetime(seconds: Any) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        return None
    try:
        return float(seconds)
    except OverflowError:
        return None

"""The token endpoints: what to send, and the token in the response. No I/O."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from attrs import field
from yarl import URL

from runai_async import _codec
from runai_async._api.statuses import named_page, raise_for_status
from runai_async._auth.credentials import SENDABLE, ClientCredentials
from runai_async._http.messages import Request, Response
from runai_async._values import frozen
from runai_async.errors import DecodeError


@frozen
class Token:
    """A bearer token, and the seconds for which it is valid; None if the response does not say."""

    value: str = field(repr=False)
    expires_in: float | None = None


def token_requests(base_url: URL, credentials: ClientCredentials) -> tuple[Request, ...]:
    """Return the requests that exchange client credentials for a token.

    They are to be sent in this order, each only if the endpoint of the one before it does not exist.
    """
    client_id, client_secret = credentials.client_id, credentials.client_secret
    if credentials.token_url is not None:
        return (_oauth_request(URL(credentials.token_url), client_id, client_secret),)
    apis = ("v2", "v1") if credentials.api == "auto" else (credentials.api,)
    return tuple(token_request(base_url, client_id, client_secret, api) for api in apis)


def token_request(base_url: URL, client_id: str, client_secret: str, api: str) -> Request:
    """Return the request that exchanges client credentials for a token, of the API's v1 or v2."""
    url = base_url.joinpath("api", api, "token")
    if api == "v2":
        return _oauth_request(url, client_id, client_secret)
    fields = {"grantType": "client_credentials", "clientID": client_id, "clientSecret": client_secret}
    return _post(url, "application/json", _codec.encode(fields))


def _oauth_request(url: URL, client_id: str, client_secret: str) -> Request:
    # https://www.rfc-editor.org/rfc/rfc6749#section-4.4
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    return _post(url, "application/x-www-form-urlencoded", urlencode(form).encode())


def _post(url: URL, kind: str, body: bytes) -> Request:
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
        error = DecodeError("the token endpoint's response is not a JSON object", is_json=is_json)
        raise named_page(error, response, request)
    key = _token_key(body, request)
    value = body.get(key)
    if not isinstance(value, str) or not SENDABLE.fullmatch(value):
        raise DecodeError(f"$.{key}: the token endpoint's response has no usable token", path=f"$.{key}")
    return Token(value, _lifetime(body.get("expiresIn", body.get("expires_in"))))


def _token_key(body: dict[str, Any], request: Request) -> str:
    """Return the key of the token: OAuth's or v1's, as requested, unless only the other one exists."""
    key, other = "access_token", "accessToken"
    if request.url.path.endswith("/api/v1/token"):
        key, other = other, key
    return other if other in body and key not in body else key


def _lifetime(seconds: Any) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        return None
    try:
        return float(seconds)
    except OverflowError:
        return None

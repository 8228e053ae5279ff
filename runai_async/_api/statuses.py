"""What a response with an error status, or a redirect, means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from multidict import CIMultiDict
from yarl import URL

from runai_async import _codec
from runai_async._api.server_time import parse_date
from runai_async._http.messages import Request, Response
from runai_async.errors import ApiError, DecodeError

_TEXT_LIMIT = 300
"""How many characters an error quotes of a body that is not the API's."""
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|script|title|meta|!--)", re.IGNORECASE
)


def raise_for_status(response: Response, request: Request) -> None:
    """Raise the `ApiError` that a response's status stands for; return if it stands for success."""
    if not 200 <= response.status < 300:  # noqa: PLR2004  (HTTP's classes)
        raise error_for(response, request)


def error_for(response: Response, request: Request) -> ApiError:
    """Return the error that a response with an error status, or a redirect, stands for."""
    headers = _without_secrets(CIMultiDict(response.headers), request.url)
    code, message, details = _explanation(response, headers)
    return ApiError.for_status(response.status)(
        response.status,
        message,
        code=code,
        details=details,
        headers=headers,
        method=request.method,
        url=str(request.url.with_query(None)),
        request_id=_request_id(headers),
        retry_after=retry_after(headers),
    )


def _explanation(response: Response, headers: Mapping[str, str]) -> tuple[int | None, str, str | None]:
    """Return an error's code, message and details; if the body is not the API's, the start of its text."""
    if 300 <= response.status < 400:  # noqa: PLR2004
        return None, _redirect(headers.get("Location")), None
    body = _codec.decode_object(response.body) or {}
    code, message, details = body.get("code"), body.get("message"), body.get("details")
    if type(code) is int and isinstance(message, str):
        # The errors of others (gRPC's gateway, Kubernetes) look alike, except for their codes or details.
        is_the_apis = 100 <= code <= 599 and (details is None or isinstance(details, str))  # noqa: PLR2004
        return (code, message, details) if is_the_apis else (None, message, None)
    # https://www.rfc-editor.org/rfc/rfc6749#section-5.2, the errors of token endpoints
    if isinstance(body.get("error"), str):
        description = body.get("error_description")
        return None, body["error"], description if isinstance(description, str) else None
    return None, _text(response.body), None


def _without_secrets(headers: CIMultiDict[str], requested: URL) -> CIMultiDict[str]:
    """Return headers without cookies, and without the query and credentials of a redirect's address."""
    if "Set-Cookie" in headers:
        headers["Set-Cookie"] = "***"
    if headers.get("Location"):
        headers["Location"] = _target(headers["Location"], requested)
    return headers


def _target(location: str, requested: URL) -> str:
    try:
        return str(requested.join(URL(location)).with_query(None).with_fragment(None).with_user(None))
    except ValueError:
        return "an address that is not a URL"


def _redirect(target: str | None) -> str:
    return (
        f"redirects to {target or 'nowhere'}; redirects are not followed: "
        "set base_url to the control plane's own address"
    )


def _text(body: bytes) -> str:
    text = " ".join(body[: 4 * _TEXT_LIMIT].decode("utf-8", "replace").split())
    return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "…"


def _request_id(headers: Mapping[str, str]) -> str | None:
    return headers.get("X-Request-Id") or headers.get("X-Correlation-Id") or headers.get("Request-Id")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a response asks to wait; None if it does not, or not in a readable way.

    A date is counted from the response's own `Date`, because the server's clock is not ours.

    Args:
        headers: of the response.
        now: the present time, for a response without a `Date`; without either, a date is not readable.
    """
    value = headers.get("Retry-After")
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    until, since = parse_date(value), parse_date(headers.get("Date")) or now
    return None if until is None or since is None else max(0.0, (until - since).total_seconds())


def is_from_api(error: ApiError) -> bool:
    """Return whether an error is the API's own and not a gateway's: whether its body had the API's format."""
    return error.code is not None


def named_page(error: DecodeError, response: Response, request: Request) -> DecodeError:
    """Return the error of a response that is not JSON; one that is a web page is named as such.

    The page itself is not quoted: a login form may hold a token.
    """
    kind = CIMultiDict(response.headers).get("Content-Type", "")
    if error.is_json or not ("html" in kind.lower() or _HTML.match(response.body)):
        return error
    url = request.url.with_query(None).with_user(None)
    return DecodeError(
        f"{request.method} {url} returned HTML instead of JSON: a login page or a proxy? "
        "Check that the address is the API's own",
        is_json=False,
    )

"""What to send for each call and what the answer means. No I/O, no clock.

One endpoint in, one `Request` out; one `Response` in, one model or error out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from attrs import field, frozen
from multidict import CIMultiDict
from yarl import URL

from runai_async import _codec
from runai_async._paging import LONGEST_PAGE
from runai_async.errors import ApiError, ConfigurationError, DecodeError
from runai_async.models import HistoryRecord, Revision, Workload

T = TypeVar("T")
_HEX = "[0-9a-fA-F]"
_NORMAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"
_TEXT_LIMIT = 300
"""Characters of a body that is not the API's which an error quotes."""

_NO_HEADERS: Mapping[str, str] = {}


@frozen
class Request:
    """One HTTP request, before a token is added to it.

    Attributes:
        url: whole, query included.
        headers: further headers; may hold secrets.
        body: may hold secrets.
        queued: whether it counts against the client's concurrency. The token's request does not: the calls
            that would have to make room for it may be waiting for it.

    Example:
        >>> class Counting:
        ...     async def send(self, request: Request, **limits: object) -> Response:
        ...         print(request.method, request.url.path)
        ...         return Response(body=b'{"count": 2}')
        >>> runai = RunaiClient("https://acme.run.ai", token, transport=Counting())
        >>> await runai.count_revisions(workload_id)
        GET /api/v1/workloads/inferences/5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11/revisions/count
        2
    """

    method: str
    url: URL
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    queued: bool = True


@frozen
class Response:
    """One whole HTTP answer.

    Attributes:
        status: the HTTP status.
        headers: the names may be in any case.
        body: whole and unpacked.

    Example:
        >>> transport = FakeTransport([Response(429, {"Retry-After": "2"}), Response(body=b'{"count": 2}')])
    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=lambda: _NO_HEADERS)
    body: bytes = field(default=b"", repr=False)


class Call(Generic[T]):
    """A request and the way to read its answer; what `Retrying` runs.

    Attributes:
        operation: the name that hooks and messages use.
        parse: turns a good answer's body into a value; raises `DecodeError`.
    """

    __slots__ = ("operation", "parse", "request")

    def __init__(self, operation: str, request: Request, parse: Callable[[bytes], T]) -> None:
        self.operation = operation
        self.request = request
        self.parse = parse

    def read(self, answer: Response) -> T:
        """Turn an answer into a value.

        Raises:
            ApiError: its status is an error.
            DecodeError: its body is not in the promised shape.
        """
        if answer.status != 200:  # noqa: PLR2004  (so quick a look is worth it)
            raise_for_status(answer, self.request)
        return self.parse(answer.body)


def check_id(value: str | UUID, name: str) -> str:
    """Return a workload's or revision's id in its normal form.

    Raises:
        ValueError: it is no UUID. Nothing else ever goes into a path.
    """
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str) and _NORMAL_UUID.fullmatch(value):  # pyright: ignore[reportUnnecessaryIsInstance]
        return value  # as nearly all are; making a UUID of it takes ten times as long
    # UUID() would also take "0x1…", "+1…" and " 1…", and make another id of it.
    if isinstance(value, str) and re.fullmatch(_UUID, value.removeprefix("{").removesuffix("}")):  # pyright: ignore[reportUnnecessaryIsInstance]
        return str(UUID(value))
    raise ValueError(f"{name} must be a UUID, not {value!r:.60}")


def check_base_url(value: str | URL, *, allow_http: bool = False) -> URL:
    """Return the control plane's URL in its normal form, a path prefix kept.

    Raises:
        ConfigurationError: it is no URL to send credentials to; the message says why.
    """
    if not isinstance(value, str | URL):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"base_url must be a str or yarl.URL, not {type(value).__name__}")
    try:
        url = URL(value) if isinstance(value, str) else value
        port = url.port
    except (ValueError, TypeError):
        # What the library says may quote a password that was put into it.
        raise ConfigurationError("base_url is no URL; it looks like https://acme.run.ai") from None
    problem = _url_problem(url, port, allow_http=allow_http)
    if problem:
        raise ConfigurationError(f"base_url {problem}")
    return url.with_path(url.raw_path.rstrip("/") + "/", encoded=True)


def is_loopback(url: URL) -> bool:
    """Tell whether a URL's host is this machine: `localhost`, or an address that is never looked up."""
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.raw_host or "").is_loopback
    except ValueError:
        return False


def _url_problem(url: URL, port: int | None, *, allow_http: bool) -> str | None:
    if url.scheme not in {"http", "https"} or not url.host:
        return "must start with https:// and name a host, like https://acme.run.ai"
    if url.user is not None or url.password is not None:
        return "must not hold a user or password; give credentials as auth"
    if url.query_string or url.fragment:
        return "must not have a query or fragment"
    if port is None or not 0 < port < 65536:  # noqa: PLR2004  (TCP's range)
        return "has a port that is out of range"
    if url.scheme == "http" and not allow_http and not is_loopback(url):
        return (
            f"is plain http to {url.host}, which would show the token to the network; "
            "use https, or pass allow_http=True if that is what you want"
        )
    return None


class Endpoints:
    """The calls that the control plane at one base URL takes."""

    def __init__(self, base_url: URL) -> None:
        self.base_url = base_url

    def _inferences(self, path: str) -> URL:
        # Not joined, which takes seven times as long: ids are UUIDs, so there is nothing to quote.
        return self.base_url.with_path(
            f"{self.base_url.raw_path}api/v1/workloads/inferences/{path}", encoded=True
        )

    # https://run-ai-docs.nvidia.com/api/2.22/workloads/revisions
    def list_revisions(self, workload_id: str, *, deleted: bool | None = None) -> Call[list[Revision]]:
        """Return the call for a workload's revisions: the live ones, or only the deleted ones."""
        request = _listing(self._inferences(f"{workload_id}/revisions"), deleted)
        return Call("list_revisions", request, _codec.decode_revisions)

    def count_revisions(self, workload_id: str, *, deleted: bool | None = None) -> Call[int]:
        """Return the call for the number of a workload's revisions."""
        request = _listing(self._inferences(f"{workload_id}/revisions/count"), deleted)
        return Call("count_revisions", request, _codec.decode_count)

    def get_revision(self, revision_id: str) -> Call[Revision]:
        """Return the call for one revision."""
        request = Request("GET", self._inferences(f"revisions/{revision_id}"))
        return Call("get_revision", request, _codec.decode_revision)

    def revision_history(self, revision_id: str, offset: int) -> Call[tuple[list[HistoryRecord], int | None]]:
        """Return the call for one page of a revision's history, and the offset of the next one."""
        url = self._inferences(f"revisions/{revision_id}/history")
        request = Request("GET", url.with_query(offset=str(offset), limit=str(LONGEST_PAGE)))
        return Call(
            "revision_history", request, lambda body: _codec.decode_page(body, "records", HistoryRecord)
        )

    def list_workloads(
        self, filter_by: Sequence[str], offset: int, limit: int, *, deleted: bool | None = None
    ) -> Call[tuple[list[Workload], int | None]]:
        """Return the call for one page of the workloads, and the offset of the next one."""
        query = {"offset": str(offset), "limit": str(limit)}
        if filter_by:
            query["filterBy"] = ",".join(filter_by)
        request = _listing(self.base_url.joinpath("api/v1/workloads").with_query(query), deleted)
        return Call("list_workloads", request, lambda body: _codec.decode_page(body, "workloads", Workload))


def _listing(url: URL, deleted: bool | None) -> Request:  # noqa: FBT001  (the parameter's own values)
    return Request("GET", url.update_query(deleted="true") if deleted else url)


def with_parse(call: Call[Any], parse: Callable[[bytes], T]) -> Call[T]:
    """Return the same call, its good answers read in another way."""
    return Call(call.operation, call.request, parse)


def raise_for_status(answer: Response, request: Request) -> None:
    """Raise the `ApiError` that an answer's status stands for; return if it stands for success."""
    if not 200 <= answer.status < 300:  # noqa: PLR2004  (HTTP's classes)
        raise error_for(answer, request)


def error_for(answer: Response, request: Request) -> ApiError:
    """Make the error that an answer with an error status, or a redirect, stands for."""
    headers = _presentable(CIMultiDict(answer.headers), request.url)
    code, message, details = _explained(answer, headers)
    return ApiError.for_status(answer.status)(
        answer.status,
        message,
        code=code,
        details=details,
        headers=headers,
        method=request.method,
        url=str(request.url.with_query(None)),
        request_id=_request_id(headers),
        retry_after=_retry_after(headers.get("Retry-After")),
    )


def _explained(answer: Response, headers: Mapping[str, str]) -> tuple[int | None, str, str | None]:
    """Return an error's code, message and details; of a body that is not the API's, the start of its text."""
    if 300 <= answer.status < 400:  # noqa: PLR2004
        return None, _redirect(headers.get("Location")), None
    body = _codec.decode_object(answer.body) or {}
    code, message, details = body.get("code"), body.get("message"), body.get("details")
    if type(code) is int and isinstance(message, str):
        return code, message, details if isinstance(details, str) else None
    # https://www.rfc-editor.org/rfc/rfc6749#section-5.2, what token endpoints say
    if isinstance(body.get("error"), str):
        description = body.get("error_description")
        return None, body["error"], description if isinstance(description, str) else None
    return None, _text(answer.body), None


def _presentable(headers: CIMultiDict[str], asked: URL) -> CIMultiDict[str]:
    """Return headers without what lets someone in: cookies, and all but the path of a redirect's address."""
    if "Set-Cookie" in headers:
        headers["Set-Cookie"] = "***"
    if headers.get("Location"):
        headers["Location"] = _target(headers["Location"], asked)
    return headers


def _target(location: str, asked: URL) -> str:
    try:
        return str(asked.join(URL(location)).with_query(None).with_fragment(None).with_user(None))
    except ValueError:
        return "an address that is no URL"


def _redirect(target: str | None) -> str:
    return (
        f"redirects to {target or 'nowhere'}; redirects are not followed, "
        "set base_url to the control plane's own address"
    )


def _text(body: bytes) -> str:
    text = " ".join(body[: 4 * _TEXT_LIMIT].decode("utf-8", "replace").split())
    return text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "…"


def _request_id(headers: Mapping[str, str]) -> str | None:
    return headers.get("X-Request-Id") or headers.get("X-Correlation-Id") or headers.get("Request-Id")


def _retry_after(value: str | None) -> float | None:
    """Read a Retry-After header: seconds or a date. What is neither is ignored."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def is_refusal(error: ApiError) -> bool:
    """Tell whether an error is the API's own word, and not a gateway's: its body was the contract's."""
    return error.code is not None


# --- tokens -----------------------------------------------------------------------------------------------


@frozen
class Token:
    """A bearer token and for how many seconds it is good; None if the answer does not tell."""

    value: str = field(repr=False)
    expires_in: float | None = None


def token_request(base_url: URL, client_id: str, client_secret: str, api: str) -> Request:
    """Return the request that exchanges client credentials for a token, of the API's v1 or v2."""
    if api == "v1":
        fields = {"grantType": "client_credentials", "clientID": client_id, "clientSecret": client_secret}
        body, kind = _codec.encode(fields), "application/json"
    else:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        body, kind = URL.build(query=form).raw_query_string.encode(), "application/x-www-form-urlencoded"
    url = base_url.joinpath("api", api, "token")
    return Request("POST", url, {"Content-Type": kind, "Accept": "application/json"}, body, queued=False)


def parse_token(answer: Response, request: Request) -> Token:
    """Read a token endpoint's answer, of either version.

    Raises:
        ApiError: it refused.
        DecodeError: there is no usable token in it.
    """
    raise_for_status(answer, request)
    body = _codec.decode_object(answer.body)
    if body is None:
        is_json = _codec.is_json(answer.body)
        raise DecodeError("the token endpoint's answer is no JSON object", is_json=is_json)
    key = _token_key(body, request)
    value = body.get(key)
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise DecodeError(f"$.{key}: the token endpoint's answer holds no usable token", path=f"$.{key}")
    seconds = body.get("expiresIn", body.get("expires_in"))
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        return Token(value)
    try:
        return Token(value, float(seconds))
    except OverflowError:
        return Token(value)


def _token_key(body: dict[str, Any], request: Request) -> str:
    """Return the key of the token: that of the version asked for, unless only the other one's is there."""
    key, other = "accessToken", "access_token"
    if request.url.parts[-2] == "v2":
        key, other = other, key
    return other if other in body and key not in body else key

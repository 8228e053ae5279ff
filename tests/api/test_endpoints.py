"""What each call sends, and what each response means."""

import json
import re
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from runai_async import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    ServerError,
    ServiceUnavailableError,
    _codec,
)
from runai_async._api.endpoints import Call, Endpoints, with_parse
from runai_async._api.statuses import error_for, is_from_api, raise_for_status, retry_after
from runai_async._arguments import check_id
from runai_async._auth import token_endpoint
from runai_async._auth.token_endpoint import Token
from runai_async._http.addresses import check_base_url
from runai_async._http.messages import Request, Response

DATA = Path(__file__).parents[1] / "data"
LIST = (DATA / "revisions.json").read_bytes()
WORKLOADS = (DATA / "workloads.json").read_bytes()
HISTORY = (DATA / "history.json").read_bytes()
ID = "5b0f6f0c-8f3e-4f52-bb0e-2d8f4f6a9c01"
ROOT = URL("https://acme.run.ai/prefix/")
ENDPOINTS = Endpoints(ROOT)
REQUEST = Request("GET", URL("https://acme.run.ai/api/v1/workloads?filterBy=a-secret"))
INFERENCES = "https://acme.run.ai/prefix/api/v1/workloads/inferences"
LISTED = ENDPOINTS.list_revisions(ID)
COUNTED = ENDPOINTS.count_revisions(ID)
WORKLOADS_PAGE = ENDPOINTS.list_workloads((), 0, 50)
HISTORY_PAGE = ENDPOINTS.revision_history(ID, 0)


def error_of(status: int, body: bytes = b"", **headers: str) -> ApiError:
    """Return the error of a response; underscores in the names of headers stand for dashes."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_for(Response(status, names, body), REQUEST)


# --- ids and URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [ID, ID.upper(), ID.replace("-", ""), f"{{{ID}}}", UUID(ID)], ids=repr)
def test_an_id_is_a_uuid_in_its_normal_form(given: str | UUID) -> None:
    assert check_id(given, "workload_id") == ID


NOT_IDS = ["", "a", "../../v2/token", f"{ID}/..", ID[:-1], ID + "0", f"{ID}\n", 5, None, b"5" * 32, ["x"]]


@pytest.mark.parametrize("given", [*NOT_IDS, "0x" + "1" * 30, "+" + "1" * 31, " " + "1" * 31], ids=repr)
def test_a_value_that_is_not_a_uuid_is_rejected_by_name(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^revision_id must be a UUID, not "):
        check_id(given, "revision_id")


def test_a_long_id_is_not_quoted_in_full() -> None:
    with pytest.raises(ValueError, match="must be a UUID") as caught:
        check_id("a" * 10_000, "workload_id")
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://acme.run.ai", "https://acme.run.ai/"),
        ("https://acme.run.ai/", "https://acme.run.ai/"),
        ("HTTPS://Acme.Run.AI:8443/a/b//", "https://acme.run.ai:8443/a/b/"),
        ("https://acme.run.ai/a%20b/ä", "https://acme.run.ai/a%20b/%C3%A4/"),
        ("https://acme.run.ai/a%2Fb", "https://acme.run.ai/a%2Fb/"),
        (URL("https://10.0.0.1:444/x"), "https://10.0.0.1:444/x/"),
        ("http://localhost:8080", "http://localhost:8080/"),
        ("http://127.0.0.1", "http://127.0.0.1/"),
        ("http://127.8.9.10:1", "http://127.8.9.10:1/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x/"),
    ],
)
def test_a_base_url_is_brought_into_its_normal_form(given: str | URL, url: str) -> None:
    assert str(check_base_url(given)) == url


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("", "must start with https://"),
        ("acme.run.ai", "must start with https://"),
        ("ftp://acme.run.ai", "must start with https://"),
        ("https:///x", "must start with https://"),
        (URL("/api"), "must start with https://"),
        ("https://[::1", "is not a URL"),
        ("https://acme.run.ai:port", "is not a URL"),
        ("https://acme.run.ai:99999", "is not a URL"),
        ("https://acme.run.ai:0", "has a port that is out of range"),
        ("https://user:a-secret@acme.run.ai", "must not contain a user or password"),
        ("https://user@acme.run.ai", "must not contain a user or password"),
        ("https://user:a-secret/a-secret@acme.run.ai", "is not a URL"),
        ("https://acme.run.ai?token=a-secret", "must not have a query or fragment"),
        ("https://acme.run.ai/#top", "must not have a query or fragment"),
        ("http://acme.run.ai", "is plain http to acme.run.ai, .* or pass allow_http=True"),
        ("http://127.0.0.1.acme.run.ai", "is plain http"),
        ("http://localhost.acme.run.ai", "is plain http"),
        ("http://128.0.0.1", "is plain http"),
        ("http://127.999.0.1", "is plain http"),  # not an address, so a name that somebody may own
        ("http://127.0.0.\u0661", "is plain http"),  # likewise: a digit, but not one that addresses have
        ("http://0.0.0.0", "is plain http"),
        (None, "must be a str or yarl.URL, not NoneType"),
        (b"https://acme.run.ai", "must be a str or yarl.URL, not bytes"),
    ],
)
def test_a_url_that_must_not_get_credentials_is_rejected(given: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^base_url {problem}") as caught:
        check_base_url(given)
    assert "a-secret" not in f"{caught.value!s}{caught.value.__cause__!s}"


def test_plain_http_may_go_anywhere_if_allowed() -> None:
    assert str(check_base_url("http://acme.local", allow_http=True)) == "http://acme.local/"


# --- what is sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "operation", "url"),
    [
        (LISTED, "list_revisions", f"{INFERENCES}/{ID}/revisions"),
        (COUNTED, "count_revisions", f"{INFERENCES}/{ID}/revisions/count"),
        (
            ENDPOINTS.list_revisions(ID, deleted=True),
            "list_revisions",
            f"{INFERENCES}/{ID}/revisions?deleted=true",
        ),
        (ENDPOINTS.list_revisions(ID, deleted=False), "list_revisions", f"{INFERENCES}/{ID}/revisions"),
        (
            ENDPOINTS.count_revisions(ID, deleted=True),
            "count_revisions",
            f"{INFERENCES}/{ID}/revisions/count?deleted=true",
        ),
        (ENDPOINTS.get_revision(ID), "get_revision", f"{INFERENCES}/revisions/{ID}"),
        (
            ENDPOINTS.revision_history(ID, 500),
            "revision_history",
            f"{INFERENCES}/revisions/{ID}/history?offset=500&limit=500",
        ),
        (
            WORKLOADS_PAGE,
            "list_workloads",
            "https://acme.run.ai/prefix/api/v1/workloads?offset=0&limit=50&sortBy=createdAt&sortOrder=asc",
        ),
    ],
)
def test_a_call_is_one_get(call: Call[Any], operation: str, url: str) -> None:
    assert (call.operation, call.request) == (operation, Request("GET", URL(url)))


def test_conditions_on_workloads_are_joined_by_commas() -> None:
    call = ENDPOINTS.list_workloads(("name==a b&c", "phase!=Stopped"), 100, 50, deleted=True, is_sorted=False)
    url = call.request.url
    assert dict(url.query) == {
        "offset": "100",
        "limit": "50",
        "filterBy": "name==a b&c,phase!=Stopped",
        "deleted": "true",
    }


def test_a_request_does_not_show_its_headers_and_body() -> None:
    request = Request("POST", ROOT, {"Authorization": "a-secret"}, b"a-secret")
    assert "a-secret" not in repr(request)
    assert "a-secret" not in repr(Response(200, {}, b"a-secret"))


# --- what a response means ---------------------------------------------------------------------------------


def test_a_successful_response_is_parsed() -> None:
    assert [revision.name[-1] for revision in LISTED.read(Response(body=LIST))] == ["1", "2", "3", "4"]
    assert LISTED.read(Response(body=b'{"revisions": [], "next": 3}')) == []
    assert COUNTED.read(Response(body=b'{"count": 3}')) == 3
    (raw, *_) = _codec.split_revisions(LIST)
    asked = ENDPOINTS.get_revision(json.loads(raw)["id"])
    assert asked.read(Response(body=raw)).name == "embedder-00001"
    workloads = WORKLOADS_PAGE.read(Response(body=WORKLOADS))
    assert [workload.name for workload in workloads.items] == ["embedder", "nightly"]
    assert (workloads.broken, workloads.next_offset) == ([], 2)
    records = HISTORY_PAGE.read(Response(body=HISTORY))
    assert [record.meta.type for record in records.items] == ["PhaseUpdate", "Event"]
    assert (records.broken, records.next_offset) == ([], None)


def test_a_revision_is_the_one_that_was_asked_for_in_whatever_spelling() -> None:
    revision = json.loads(LIST)["revisions"][0]
    for text in (ID, ID.upper(), ID.replace("-", "")):
        for asked in (ID, ID.upper()):
            body = json.dumps({**revision, "id": text}).encode()
            assert ENDPOINTS.get_revision(asked).read(Response(body=body)).id == ID


def test_another_revision_than_the_one_asked_for_is_an_error() -> None:
    (raw, *_) = _codec.split_revisions(LIST)
    with pytest.raises(DecodeError, match=r"^\$\.id: not the revision that was asked for$") as caught:
        ENDPOINTS.get_revision(ID).read(Response(body=raw))
    assert (caught.value.path, caught.value.is_json) == ("$.id", True)


def test_a_row_that_cannot_be_decoded_is_left_out_and_named() -> None:
    page = WORKLOADS_PAGE.read(Response(body=b'{"workloads": [{}, {"id": "a"}]}'))
    assert page.items == []
    assert [item.error.path for item in page.broken] == ["$.workloads[0].type", "$.workloads[1].type"]
    records = HISTORY_PAGE.read(Response(body=b'{"records": [{"meta": {"type": "Event"}}]}'))
    assert [item.error.path for item in records.broken] == ["$.records[0].meta.creationTimestamp"]


def test_an_undecodable_revision_does_not_lose_the_others() -> None:
    value = json.loads(LIST)
    del value["revisions"][3]["createdAt"]
    value["revisions"][1]["runningPods"] = "two"
    with pytest.raises(DecodeError) as caught:
        LISTED.read(Response(body=json.dumps(value).encode()))
    first = "$.revisions[1].runningPods"
    assert (caught.value.path, caught.value.is_json) == (first, True)
    assert str(caught.value) == f"{first}: expected an integer, got a string"
    assert [revision.name[-1] for revision in caught.value.partial] == ["1", "3"]
    assert isinstance(caught.value.__cause__, DecodeError)
    value["revisions"][1]["runningPods"] = 2
    with pytest.raises(DecodeError) as caught:
        LISTED.read(Response(body=json.dumps(value).encode()))
    assert (caught.value.path, len(caught.value.partial)) == ("$.revisions[3].createdAt", 3)
    assert str(caught.value) == "$.revisions[3].createdAt: missing, but it is required"


def test_a_revision_that_is_not_an_object_is_an_error_with_its_path() -> None:
    with pytest.raises(DecodeError, match=r"^\$\.revisions\[0\]: expected an object, got null$") as caught:
        LISTED.read(Response(body=b'{"revisions": [null]}'))
    assert (caught.value.path, caught.value.partial) == ("$.revisions[0]", ())


@pytest.mark.parametrize(
    ("call", "body", "path"),
    [
        (LISTED, b"[]", "$"),
        (LISTED, b'{"next": null}', "$.revisions"),
        (LISTED, b'{"items": []}', "$.revisions"),
        (LISTED, b'{"revisions": {}}', "$.revisions"),
        (COUNTED, b"3", "$"),
        (COUNTED, b'{"count": "3"}', "$.count"),
        (COUNTED, b'{"count": true}', "$.count"),
        (COUNTED, b'{"count": 3.5}', "$.count"),
        (COUNTED, b'{"count": null}', "$.count"),
        (WORKLOADS_PAGE, b"[]", "$"),
        (WORKLOADS_PAGE, b'{"workloads": {}}', "$.workloads"),
        (WORKLOADS_PAGE, b'{"workloads": [], "next": "x"}', "$.next"),
        (HISTORY_PAGE, b'{"items": []}', "$.records"),
    ],
)
def test_a_response_of_another_shape_is_an_error_with_the_path(
    call: Call[Any], body: bytes, path: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        call.read(Response(body=body))
    assert (caught.value.path, caught.value.is_json) == (path, True)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (LISTED, b""),
        (LISTED, LIST[:-20]),
        (COUNTED, b"<a sick gateway>"),
        (WORKLOADS_PAGE, WORKLOADS[:-20]),
        (HISTORY_PAGE, b"\xff"),
        (LISTED, b"[" * 100_000),
    ],
    ids=["empty", "cut", "markup", "page", "binary", "deep"],
)
def test_a_response_that_is_not_json_is_distinguished_from_one_of_another_shape(
    call: Call[Any], body: bytes
) -> None:
    with pytest.raises(DecodeError, match=r"^the body is not JSON: ") as caught:
        call.read(Response(body=body))
    assert (caught.value.path, caught.value.is_json) == ("$", False)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("call", [LISTED, COUNTED, WORKLOADS_PAGE, HISTORY_PAGE])
@pytest.mark.parametrize(
    "response",
    [
        Response(body=b"<html>log in, hub-secret-123</html>"),
        Response(body=b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html>hub-secret-123</html>"),
        Response(body=b"<!-- a proxy's -->hub-secret-123"),
        Response(headers={"content-type": "text/html; charset=utf-8"}, body=b"log in: hub-secret-123"),
    ],
    ids=["html", "doctype", "comment", "by its type"],
)
def test_a_web_page_instead_of_json_is_named_with_its_url_and_not_quoted(
    call: Call[Any], response: Response
) -> None:
    with pytest.raises(DecodeError) as caught:
        call.read(response)
    url = call.request.url.with_query(None)
    assert str(caught.value).startswith(f"GET {url} returned HTML instead of JSON: a login page or a proxy? ")
    assert (caught.value.path, caught.value.is_json) == ("$", False)
    assert "hub-secret-123" not in "".join(traceback.format_exception(caught.value))


def test_json_that_is_labelled_as_a_web_page_is_read() -> None:
    assert COUNTED.read(Response(headers={"Content-Type": "text/html"}, body=b'{"count": 2}')) == 2
    with pytest.raises(DecodeError, match=r"^\$\.count: expected an object"):
        COUNTED.read(Response(headers={"Content-Type": "text/html"}, body=b'{"count": []}'))


@pytest.mark.parametrize(("following", "offset"), [("2", 2), ("null", None), ('"2"', 2), ("2.0", 2)])
def test_the_next_page_is_an_offset_or_none(following: str, offset: int | None) -> None:
    body = f'{{"workloads": [], "next": {following}}}'.encode()
    assert WORKLOADS_PAGE.read(Response(body=body)).next_offset == offset


@pytest.mark.parametrize(
    ("raw", "identity"),
    [
        (b'{"id": "a", "createdAt": 5}', "a"),
        (b'{"id": 7}', "7"),
        (b'{"id": null}', None),
        (b'{"id": 1.5}', None),
        (b"{}", None),
        (b"5", None),
        (b"{", None),
    ],
)
def test_the_id_of_an_undecodable_revision_is_read_if_possible(raw: bytes, identity: str | None) -> None:
    assert _codec.identity(raw) == identity


@pytest.mark.parametrize(
    ("raw", "time"),
    [
        (b'{"deletedAt": "2026-01-02T01:00:00+01:00", "phase": 5}', datetime(2026, 1, 2, tzinfo=UTC)),
        (b'{"phase": 5}', None),
        (b'{"deletedAt": null}', None),
        (b'{"deletedAt": "yesterday"}', None),
        (b'{"deletedAt": "2026-01-02T01:00:00"}', None),
        (b"5", None),
    ],
)
def test_the_deletion_time_of_an_undecodable_revision_is_read_if_possible(
    raw: bytes, time: datetime | None
) -> None:
    assert _codec.deletion_time(raw) == time


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_success_raises_nothing(status: int) -> None:
    raise_for_status(Response(status), REQUEST)


@pytest.mark.parametrize("status", [199, 300, 304, 400, 404, 500, 599])
def test_any_other_status_is_an_error(status: int) -> None:
    with pytest.raises(ApiError) as caught:
        LISTED.read(Response(status, {}, LIST))
    assert (caught.value.status, caught.value.url) == (status, str(LISTED.request.url))


def test_a_successful_response_can_be_read_in_another_way() -> None:
    call = with_parse(LISTED, len)
    assert (call.operation, call.request) == (LISTED.operation, LISTED.request)
    assert [call.read(Response(status, {}, b"123")) for status in (200, 206)] == [3, 3]
    with pytest.raises(ServiceUnavailableError):
        call.read(Response(503))


# --- errors ------------------------------------------------------------------------------------------------


def test_an_error_of_the_api_is_read_completely() -> None:
    body = b'{"code": 404, "message": "no such workload", "details": "deleted?"}'
    error = error_of(404, body, x_request_id="r-1", Retry_After="7")
    assert type(error) is NotFoundError
    assert (error.status, error.code, error.message, error.details) == (
        404,
        404,
        "no such workload",
        "deleted?",
    )
    assert (error.method, error.url, error.attempts) == ("GET", "https://acme.run.ai/api/v1/workloads", 1)
    assert (error.request_id, error.retry_after, error.headers["RETRY-AFTER"]) == ("r-1", 7.0, "7")
    assert is_from_api(error)
    assert "a-secret" not in f"{error!s}{error!r}{vars(error)}"


@pytest.mark.parametrize(
    ("status", "body", "message", "details"),
    [
        (502, b"<html>\r\n  <h1>Bad Gateway</h1>\r\n</html>", "<html> <h1>Bad Gateway</h1> </html>", None),
        (503, b"", "", None),
        (404, b"\xff\xfe", "\ufffd\ufffd", None),
        (500, b"[1]", "[1]", None),
        (500, b"{", "{", None),
        (403, b'{"code": "403", "message": "no"}', '{"code": "403", "message": "no"}', None),
        (403, b'{"code": true, "message": "no"}', '{"code": true, "message": "no"}', None),
        (403, b'{"code": 403}', '{"code": 403}', None),
        (403, b'{"code": 403, "message": null}', '{"code": 403, "message": null}', None),
        (400, b'{"error": 5}', '{"error": 5}', None),
        (401, b'{"error": "invalid_client"}', "invalid_client", None),
        (401, b'{"error": "invalid_client", "error_description": "off"}', "invalid_client", "off"),
        (401, b'{"error": "invalid_client", "error_description": 5}', "invalid_client", None),
    ],
)
def test_an_error_of_another_shape_gives_its_status_and_text(
    status: int, body: bytes, message: str, details: str | None
) -> None:
    error = error_of(status, body)
    assert type(error) is ApiError.for_status(status)
    assert (error.status, error.code, error.message, error.details) == (status, None, message, details)
    assert not is_from_api(error)


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": 5, "message": "no", "details": []}',
        b'{"code": 7, "message": "no"}',
        b'{"code": 0, "message": "no"}',
        b'{"code": 600, "message": "no"}',
        b'{"kind": "Status", "code": 404, "message": "no", "details": {"name": "a"}}',
    ],
    ids=["gRPC's", "gRPC's 403", "0", "600", "Kubernetes'"],
)
def test_a_similar_error_of_another_server_is_quoted_but_is_not_the_apis(body: bytes) -> None:
    error = error_of(404, body)
    assert (type(error), error.code, error.message, error.details) == (NotFoundError, None, "no", None)
    assert not is_from_api(error)


def test_an_id_that_is_not_a_uuid_stays_one_segment_of_the_path() -> None:
    endpoints = Endpoints(URL("https://acme.run.ai/"))
    for name in ("../../secret?x=1#f", "a b", "..", "?deleted=1", "a\r\nX: y"):
        for request in (endpoints.get_revision(name).request, endpoints.revision_history(name, 0).request):
            path = request.url.raw_path.removeprefix("/api/v1/workloads/inferences/revisions/")
            assert re.fullmatch(r"[A-Za-z0-9%]+(/history)?", path), path
            assert set(request.url.query) <= {"offset", "limit"}


@pytest.mark.parametrize(
    ("size", "quoted"), [(300, "x" * 300), (301, "x" * 300 + "…"), (10**6, "x" * 300 + "…")]
)
def test_only_the_start_of_a_long_text_is_quoted(size: int, quoted: str) -> None:
    assert error_of(502, b"x" * size).message == quoted


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://sso.example/login?token=a-secret#a-secret", "https://sso.example/login"),
        ("https://user:a-secret@sso.example/", "https://sso.example/"),
        ("/login?next=a-secret", "https://acme.run.ai/login"),
        ("//sso.example/x?a-secret", "https://sso.example/x"),
        ("http://[a-secret", "an address that is not a URL"),
        ("https://sso.example:a-secret/", "an address that is not a URL"),
        ("", "nowhere"),
        (None, "nowhere"),
    ],
)
def test_a_redirect_is_an_error_that_names_the_target(location: str | None, target: str) -> None:
    headers = {} if location is None else {"location": location}
    body = b'{"code": 302, "message": "the body is ignored"}'
    error = error_for(Response(302, headers, body), REQUEST)
    assert (type(error), error.status, error.code) == (ApiError, 302, None)
    assert error.message.startswith(f"redirects to {target}; redirects are not followed: set base_url")
    assert "a-secret" not in f"{error!s}{error!r}{vars(error)!r}"


def test_an_error_keeps_no_cookie() -> None:
    headers = CIMultiDict([("Set-Cookie", "session=a-secret"), ("set-cookie", "b=a-secret"), ("Via", "x")])
    error = error_for(Response(503, headers), REQUEST)
    assert dict(error.headers) == {"Set-Cookie": "***", "Via": "x"}


@pytest.mark.parametrize("name", ["X-Request-Id", "x-correlation-id", "REQUEST-ID"])
def test_the_request_id_has_several_names(name: str) -> None:
    assert error_for(Response(500, {name: "r-1"}), REQUEST).request_id == "r-1"
    assert error_of(500).request_id is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("-5", None),
        ("1e3", None),
        ("inf", None),
        ("9999999999", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Jan 2025 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(value: str, seconds: float | None) -> None:
    assert error_of(503, Retry_After=value).retry_after == seconds


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000"])
def test_retry_after_counts_down_to_its_date_from_the_date_of_the_response(zone: str) -> None:
    until = f"Wed, 21 Oct 2015 07:28:00 {zone}"
    assert error_of(429, Retry_After=until, Date="Wed, 21 Oct 2015 07:26:30 GMT").retry_after == 90.0


@pytest.mark.parametrize(
    ("date", "now", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:01 GMT", None, 0.0),  # it has passed
        ("Wed, 21 Oct 2015 07:28:00 GMT", None, 0.0),
        ("Wed, 21 Oct 2015 07:27:50 GMT", datetime(2026, 1, 1, tzinfo=UTC), 10.0),  # not by our clock
        ("yesterday", datetime(2015, 10, 21, 7, 27, tzinfo=UTC), 60.0),
        (None, datetime(2015, 10, 21, 7, 27, tzinfo=UTC), 60.0),
        (None, datetime(2026, 1, 1, tzinfo=UTC), 0.0),
        (None, None, None),
    ],
)
def test_a_retry_after_date_needs_another_date(
    date: str | None, now: datetime | None, seconds: float | None
) -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"} | ({} if date is None else {"Date": date})
    assert retry_after(CIMultiDict(headers), now) == seconds


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the machine's time zone nine hours apart from UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_a_date_without_a_zone_is_in_utc_on_any_machine() -> None:
    now = datetime.now(UTC)
    date = (now + timedelta(seconds=90)).ctime()
    assert error_of(429, Retry_After=date, Date=now.ctime()).retry_after == 90.0


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,20} [A-Z][a-z]{2} \d{1,20} [\d:]{0,12} [+-]?\w{0,9}"))
def test_no_retry_after_does_harm(value: str) -> None:
    after = retry_after({"Retry-After": value}, datetime.now(UTC))
    assert after is None or after >= 0


@given(
    st.integers(100, 599),
    st.binary(),
    st.dictionaries(st.sampled_from(["Location", "X-Request-Id"]), st.text()),
)
@example(500, b'{"code": 1, "message": "\\ud800"}', {})
def test_any_response_becomes_an_error_of_its_status(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    error = error_for(Response(status, CIMultiDict(headers), body), REQUEST)
    assert type(error) is ApiError.for_status(status)
    assert str(error).startswith(f"GET https://acme.run.ai/api/v1/workloads: {status}")
    assert len(error.message) < 1000 or "Location" in headers


# --- tokens ------------------------------------------------------------------------------------------------


def test_credentials_are_sent_to_v1_as_json() -> None:
    request = token_endpoint.token_request(ROOT, "my id", "a&b=c+d %41ä", "v1")
    assert (request.method, str(request.url)) == ("POST", "https://acme.run.ai/prefix/api/v1/token")
    assert request.headers == {"Content-Type": "application/json", "Accept": "application/json"}
    assert json.loads(request.body or b"") == {
        "grantType": "client_credentials",
        "clientID": "my id",
        "clientSecret": "a&b=c+d %41ä",
    }
    assert not request.queued


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
@example("my id", "a&b=c+d %41ä;/?#")
def test_credentials_are_sent_to_v2_as_a_form(client_id: str, client_secret: str) -> None:
    request = token_endpoint.token_request(ROOT, client_id, client_secret, "v2")
    assert (request.method, str(request.url)) == ("POST", "https://acme.run.ai/prefix/api/v2/token")
    assert request.headers == {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    assert parse_qsl((request.body or b"").decode("ascii"), keep_blank_values=True, strict_parsing=True) == [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", client_secret),
    ]
    assert not request.queued


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"accessToken": "t"}', Token("t")),
        (b'{"accessToken": "t", "expiresIn": 3600}', Token("t", 3600.0)),
        (b'{"access_token": "t", "expires_in": 0.5, "token_type": "Bearer"}', Token("t", 0.5)),
        (b'{"accessToken": "t", "expiresIn": "3600"}', Token("t")),
        (b'{"accessToken": "t", "expiresIn": true}', Token("t")),
        (b'{"accessToken": "t", "expiresIn": 0}', Token("t")),
        (b'{"accessToken": "t", "expiresIn": -1}', Token("t")),
        (b'{"accessToken": "t", "expiresIn": null}', Token("t")),
    ],
)
def test_a_token_is_read_from_either_version(body: bytes, token: Token) -> None:
    read = token_endpoint.parse_token(Response(200, {}, body), REQUEST)
    assert (read, type(read.expires_in)) == (token, type(token.expires_in))


def test_a_lifetime_too_large_for_a_float_does_no_harm() -> None:
    body = b'{"accessToken": "t", "expiresIn": ' + b"9" * 400 + b"}"
    assert token_endpoint.parse_token(Response(200, {}, body), REQUEST).value == "t"


@pytest.mark.parametrize(
    "value", ['""', "null", "5", '["t"]', '"a-secret b"', '"a-secret\\n"', '"ä-a-secret"', None]
)
@pytest.mark.parametrize(("api", "key"), [("v1", "accessToken"), ("v2", "access_token")])
def test_a_value_that_cannot_be_a_bearer_token_is_rejected_without_quoting_it(
    api: str, key: str, value: str | None
) -> None:
    body = b"{}" if value is None else f'{{"{key}": {value}, "expiresIn": 5}}'.encode()
    request = token_endpoint.token_request(ROOT, "app", "s3cret", api)
    with pytest.raises(DecodeError) as caught:
        token_endpoint.parse_token(Response(200, {}, body), request)
    assert (caught.value.path, caught.value.is_json) == (f"$.{key}", True)
    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("api", "body", "path"),
    [
        ("v1", b"{}", "$.accessToken"),
        ("v2", b"{}", "$.access_token"),
        ("v2", b'{"access_token": null}', "$.access_token"),
        ("v1", b'{"access_token": null}', "$.access_token"),
        ("v2", b'{"accessToken": null}', "$.accessToken"),
    ],
)
def test_the_path_of_a_missing_token_is_that_of_the_requested_version(
    api: str, body: bytes, path: str
) -> None:
    request = token_endpoint.token_request(ROOT, "id", "secret", api)
    with pytest.raises(DecodeError) as caught:
        token_endpoint.parse_token(Response(200, {}, body), request)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("body", "is_json"), [(b"", False), (b"<token>", False), (b"[]", True), (b'"t"', True)]
)
def test_a_token_response_that_is_not_an_object_is_rejected(body: bytes, is_json: bool) -> None:
    with pytest.raises(DecodeError, match="is not a JSON object") as caught:
        token_endpoint.parse_token(Response(200, {}, body), REQUEST)
    assert caught.value.is_json == is_json


def test_a_token_endpoints_error_has_the_class_of_its_status() -> None:
    response = Response(401, {}, b'{"error": "invalid_client", "error_description": "disabled"}')
    with pytest.raises(AuthenticationError) as caught:
        token_endpoint.parse_token(response, REQUEST)
    assert (caught.value.message, caught.value.details) == ("invalid_client", "disabled")
    with pytest.raises(ServerError):
        token_endpoint.parse_token(Response(502, {}, b'{"accessToken": "t"}'), REQUEST)


def test_a_token_is_not_shown() -> None:
    assert repr(Token("a-secret", 5.0)) == "Token(expires_in=5.0)"

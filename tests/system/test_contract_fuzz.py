"""Random responses made from the OpenAPI document: each is read, or gives a clear error."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from support.contract import Maker, Mutant, Schema, format_path, mutant_of, response_schema, schema_of
from yarl import URL

from runai_async import (
    ApiError,
    DecodeError,
    HistoryRecord,
    Pod,
    Revision,
    RevisionLogEvent,
    Workload,
    _codec,
    from_json,
    to_json,
)
from runai_async._api.endpoints import _decode_events
from runai_async._api.statuses import raise_for_status
from runai_async._auth.token_endpoint import Token, parse_token
from runai_async._http.messages import Request, Response

Decode = Callable[[bytes], Any]
REQUEST = Request("POST", URL("https://acme.run.ai/api/v1/token"))
EXAMPLES = pytest.mark.parametrize(
    "seeds",
    [range(200), pytest.param(range(200, 2_700), marks=[pytest.mark.slow, pytest.mark.timeout(120)])],
)


def read_token(body: bytes) -> Token:
    return parse_token(Response(body=body), REQUEST)


def read_token_v2(body: bytes) -> Token:
    return parse_token(Response(body=body), Request("POST", URL("https://acme.run.ai/api/v2/token")))


def read_history(body: bytes) -> object:
    return read_page(body, "records", HistoryRecord)


def read_events(body: bytes) -> object:
    return raise_broken(_decode_events(positive(body)))


def read_pods(body: bytes) -> object:
    return read_page(body, "pods", Pod)


def read_workloads(body: bytes) -> object:
    return read_page(body, "workloads", Workload)


def read_page(body: bytes, key: str, kind: type[Any]) -> object:
    """Decode a page, and raise the error of the first item that cannot be decoded."""
    return raise_broken(_codec.decode_page(positive(body), key, kind))


def positive(body: bytes) -> bytes:
    """Return a page whose `next` is positive: the schema does not say that it must be."""
    return re.sub(rb'"next": -\d+', b'"next": 1', body)


def raise_broken(page: _codec.Page[Any]) -> object:
    if page.broken:
        raise page.broken[0].error
    return page


READ: dict[str, Decode] = {
    "list_revisions": _codec.decode_revisions,
    "count_revisions": _codec.decode_count,
    "get_revision": _codec.decode_revision,
    "revision_history": read_history,
    "revision_events": read_events,
    "revision_pods": read_pods,
    "list_workloads": read_workloads,
    "grant_token": read_token,
    "grant_token_v2": read_token_v2,
}
MODELS: dict[str, type[Any]] = {
    "Revision": Revision,
    "Workload": Workload,
    "HistoryRecord": HistoryRecord,
    "Event": RevisionLogEvent,
    "Pod": Pod,
}


def header_text(random: Random) -> str:
    """Make a text that fits into a header, as a token must."""
    return "".join(chr(random.randint(0x21, 0x7E)) for _ in range(random.randint(1, 40)))


def maker_for(operation: str, seed: int) -> Maker:
    return Maker(seed, header_text if operation.startswith("grant_token") else None)


def outcome(decode: Decode, body: bytes) -> Any:
    """Return what decoding gives: a value or a DecodeError. Nothing else may be raised."""
    try:
        return decode(body)
    except DecodeError as error:
        return error


def mutants(schema: Schema, seed: int, operation: str = "") -> Mutant:
    maker = maker_for(operation, seed)
    return mutant_of(maker.make(schema), maker)


@EXAMPLES
@pytest.mark.parametrize("operation", READ)
def test_a_response_as_documented_is_read(operation: str, seeds: range) -> None:
    decode, schema = READ[operation], response_schema(operation)
    for seed in seeds:
        body = json.dumps(maker_for(operation, seed).make(schema)).encode()
        result = outcome(decode, body)
        assert not isinstance(result, DecodeError), (seed, body, result)


@EXAMPLES
@pytest.mark.parametrize("name", MODELS)
def test_a_model_survives_the_round_trip_through_json(name: str, seeds: range) -> None:
    for seed in seeds:
        model = from_json(json.dumps(Maker(seed).make(schema_of(name))), MODELS[name])
        assert from_json(to_json(model), MODELS[name]) == model, seed


@EXAMPLES
@pytest.mark.parametrize("operation", READ)
def test_one_wrong_value_gives_a_result_or_an_error_that_names_its_path(operation: str, seeds: range) -> None:
    schema, errors = response_schema(operation), 0
    for seed in seeds:
        mutant = mutants(schema, seed, operation)
        error = outcome(READ[operation], mutant.body)
        if isinstance(error, DecodeError):
            errors += 1
            assert names_path(error, mutant), (seed, mutant, error.path, format_path(mutant.path))

    assert len(seeds) / 10 < errors < len(seeds)


def names_path(error: DecodeError, mutant: Mutant) -> bool:
    """Return whether an error names the path that was changed, or one in the new part."""
    path = format_path(mutant.path)
    if not error.is_json:
        return path.startswith(error.path)
    # A list may be JSON around an item that is not; where nesting is too deep, that shows above or below.
    is_around = ": not JSON: " in str(error) or "nested too deeply" in str(error)
    is_item = is_around and path.startswith(error.path)
    return is_item or error.path == path or error.path.startswith((f"{path}.", f"{path}["))


@EXAMPLES
def test_both_paths_of_the_codec_agree(seeds: range) -> None:
    for seed in seeds:
        body = mutants(schema_of("Revision"), seed).body or b"?"
        fast = outcome(lambda body: from_json(body, Revision), body)
        converted = outcome(lambda body: from_json(b"[" + body + b"]", list[Revision])[0], body)
        assert comparable(fast) == comparable(converted), (seed, body)


def comparable(result: Any) -> Any:
    """Return a value as it is, and an error by its path, relative to the list if it is in one."""
    if isinstance(result, DecodeError):
        return result.is_json, result.path.replace("$[0]", "$", 1)
    return result


@EXAMPLES
def test_a_broken_revision_hides_no_other(seeds: range) -> None:
    for seed in seeds:
        mutant = mutants(response_schema("list_revisions"), seed)
        whole = outcome(_codec.decode_revisions, mutant.body)
        pieces = outcome(_codec.split_revisions, mutant.body)
        if isinstance(pieces, DecodeError):
            assert comparable(pieces) == comparable(whole)
            continue
        read = [outcome(_codec.decode_revision, raw) for raw in pieces]
        good = [item for item in read if not isinstance(item, DecodeError)]
        assert good == (list(whole.partial) if isinstance(whole, DecodeError) else whole), (seed, mutant)
        if len(mutant.path) > 1:
            assert len(read) - len(good) <= 1, (seed, mutant)


RETRY_AFTER = (
    "1e9",
    "-1",
    "0",
    "7",
    "9" * 400,
    "soon",
    "Mon, 99 Foo 2026 99:99:99 GMT",
    "Wed, 21 Oct 99999 07:28:00 GMT",
    "Wed, 21 Oct 2026 07:28:00 +9999",
    "Wed, 21 Oct 2026 07:28:00",
    "٣",
    "",
    ",",
    "Wed",
    "0 0 0 0 0",
)
LOCATIONS = (
    "http://[::1",
    "http://a:b:c/",
    "//user:x@host:1/?t=1",
    "http://x:99999/",
    "",
    "?",
    "#",
    "\xff",
    "http://\u2100/",
    "javascript:x",
    "mailto:a@b",
    "/%zz",
    "http:",
    "http://user:pw@",
    "\\\\host",
)


@EXAMPLES
def test_any_error_response_raises_the_class_of_its_status(seeds: range) -> None:
    for seed in seeds:
        random = Random(seed)
        headers = {"Retry-After": random.choice(RETRY_AFTER), "Location": random.choice(LOCATIONS)}
        body = random.choice([mutants(schema_of("Error"), seed).body, random.randbytes(20)])
        response = Response(random.randint(300, 599), headers, body)
        with pytest.raises(ApiError) as caught:
            raise_for_status(response, REQUEST)
        assert type(caught.value) is ApiError.for_status(response.status)
        assert len(str(caught.value)) < 2000, (seed, body)

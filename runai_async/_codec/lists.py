"""From responses to lists of models. An item that cannot be decoded, or is not even JSON, hides no other."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import msgspec

from runai_async._codec.cut import elements, members
from runai_async._codec.decode import decode_model, parse, shape_error
from runai_async._codec.fast import FALLBACK_ERRORS, list_fast_path, page_decoder
from runai_async._values import frozen
from runai_async.errors import DecodeError
from runai_async.models import Revision

T = TypeVar("T")


def decode_revisions(body: bytes) -> list[Revision]:
    """Decode a list of revisions.

    Raises:
        DecodeError: as for `split_revisions`; or a revision cannot be decoded. The error is that of the first
            one, and its `.partial` has the others that can be decoded.
    """
    revisions, broken, _ = _decode_items(body, "revisions", Revision)
    if broken:
        broken[0].error.partial = tuple(revisions)
        raise broken[0].error
    return revisions


@frozen
class BrokenItem:
    """An item of a list that cannot be decoded.

    Attributes:
        raw: its bytes.
        error: why, with the path in the whole body.
        index: its position in the list.
    """

    raw: bytes
    error: DecodeError
    index: int


@frozen
class Page(Generic[T]):
    """One page of a list.

    Attributes:
        items: those that can be decoded.
        broken: the others.
        next_offset: the offset of the next page, if there is one.
    """

    items: list[T]
    broken: list[BrokenItem]
    next_offset: int | None


def decode_page(body: bytes, key: str, kind: type[T]) -> Page[T]:
    """Decode one page of a list.

    Raises:
        DecodeError: *body* is not JSON around the items, not an object with an array under *key*, or its
            `next` is not a whole number.
    """
    items, broken, following = _decode_items(body, key, kind)
    return Page(items, broken, _offset(following))


def decode_array(body: bytes, kind: type[T]) -> Page[T]:
    """Decode a list that is an array by itself.

    Raises:
        DecodeError: *body* is not JSON around the items, or not an array.
    """
    items, broken = _decode_each(_elements(body), "$", kind)
    return Page(items, broken, None)


_LARGEST_OFFSET = 2**63 - 1


def _offset(following: bytes) -> int | None:
    """Return what `next` is: a whole number in any of JSON's forms."""
    value = parse(following)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= _LARGEST_OFFSET:
        raise DecodeError("$.next: expected a whole number", path="$.next")
    return value


def _decode_items(body: bytes, key: str, kind: type[T]) -> tuple[list[T], list[BrokenItem], bytes]:
    """Return the items under *key*, those that cannot be decoded, and what `next` is."""
    model: Any = kind
    decode, build = list_fast_path(model, key)
    try:
        page = decode(body)
        return [build(item) for item in page.items or ()], [], bytes(page.next)
    except FALLBACK_ERRORS:
        raws, following = _split(body, key)  # one by one, so that a broken item does not lose the others
    return *_decode_each(raws, f"$.{key}", kind), following


def _decode_each(raws: list[bytes], path: str, kind: type[T]) -> tuple[list[T], list[BrokenItem]]:
    """Return the items of the array at *path*, and those that cannot be decoded."""
    items: list[T] = []
    broken: list[BrokenItem] = []
    for index, raw in enumerate(raws):
        try:
            items.append(cast(T, decode_model(raw, kind)))
        except DecodeError as error:
            broken.append(BrokenItem(raw, _inside(error, f"{path}[{index}]"), index))
    return items, broken


def split_revisions(body: bytes) -> list[bytes]:
    """Cut a list of revisions into the bytes of each, decoding none.

    What is not JSON in a revision (`NaN`, a raw tab, too deep nesting) concerns that one only.

    Raises:
        DecodeError: *body* is not JSON around the revisions, or not an object with an array `revisions`.
    """
    return _split(body, "revisions")[0]


@frozen
class RawPage:
    """One page of a list, not decoded.

    Attributes:
        items: the bytes of each item.
        next_offset: the offset of the next page, if there is one.
    """

    items: list[bytes]
    next_offset: int | None


def split_page(body: bytes, key: str) -> RawPage:
    """Cut one page of a list into the bytes of each item, decoding none.

    Raises:
        DecodeError: as for `decode_page`.
    """
    items, following = _split(body, key)
    return RawPage(items, _offset(following))


def split_array(body: bytes) -> list[bytes]:
    """Cut an array into the bytes of each item, decoding none.

    Raises:
        DecodeError: *body* is not JSON around the items, or not an array.
    """
    return _elements(body)


def _split(body: bytes, key: str) -> tuple[list[bytes], bytes]:
    """Return the bytes of each item under *key*, and of `next`; null and `{}` are an empty list."""
    try:
        page = _raw_page(key)(body)
    except FALLBACK_ERRORS as error:
        return _split_broken(body, key, error)
    return [bytes(raw) for raw in page.items or ()], bytes(page.next)


def _split_broken(body: bytes, key: str, error: Exception) -> tuple[list[bytes], bytes]:
    """Cut a list whose items are not all JSON. What stands around them has to be."""
    try:
        found = members(body)
        items = elements(found.pop(key))
        for value in found.values():
            parse(value)
    except (KeyError, DecodeError, *FALLBACK_ERRORS):
        if parse(body) == {}:
            return [], _NULL
        raise shape_error(body, key, "an array") from error
    return items, found.get("next", _NULL)


def _elements(body: bytes) -> list[bytes]:
    """Return the bytes of each item of an array; null and `{}` are an empty list."""
    try:
        return [bytes(raw) for raw in _raw_array(body) or ()]
    except FALLBACK_ERRORS:
        pass
    try:
        return elements(body)
    except FALLBACK_ERRORS as error:
        if parse(body) == {}:
            return []
        raise DecodeError("$: expected an array", path="$") from error


_raw_array = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_NULL = b"null"


@functools.cache
def _raw_page(key: str) -> Callable[[bytes], Any]:
    return page_decoder(msgspec.Raw, key)


def _inside(error: DecodeError, path: str) -> DecodeError:
    """Return the error of an item as the error of the whole body, which is JSON around the item."""
    problem = str(error).removeprefix(f"{error.path}: ").removeprefix("the body is ")
    path += error.path[1:]
    outer = DecodeError(f"{path}: {problem}", path=path)
    outer.__cause__ = error
    return outer

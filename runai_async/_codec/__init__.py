"""JSON bytes <-> models and events. cattrs and msgspec are used nowhere else.

Decoding has a fast path and a fallback, and tests hold both to the same results:

- The **fast path** lets msgspec parse JSON and check its types in C, into structs that are derived from the
  models' classes, and then turns the structs into the models. It fails on anything unexpected, such as an
  unknown key.
- The **converter** is the fallback: cattrs with hooks of our own. It checks every type (by itself, cattrs
  would read `"false"` as True and 1.9 as 1), keeps unknown keys in `extra`, and names the path of a mismatch.
  The fast path learns the unknown keys that it finds, so they are slow only once.

Real servers send more than the schema: an optional time that is empty or Go's zero time is missing, a list
that is null or missing in `{}` is empty, ids stand in their canonical spelling, half a surrogate pair reads
as U+FFFD, and an item that is not JSON hides no other.
"""

from runai_async._codec.decode import (
    decode_count,
    decode_object,
    decode_one_revision,
    decode_revision,
    from_json,
    is_json,
    prepare,
)
from runai_async._codec.encode import encode, to_cloudevent, to_json
from runai_async._codec.lists import (
    BrokenItem,
    Page,
    RawPage,
    decode_array,
    decode_page,
    decode_revisions,
    split_array,
    split_page,
    split_revisions,
)
from runai_async._codec.outlines import Outline, deletion_time, identity, label, outline, workload_outline

__all__ = [
    "BrokenItem",
    "Outline",
    "Page",
    "RawPage",
    "decode_array",
    "decode_count",
    "decode_object",
    "decode_one_revision",
    "decode_page",
    "decode_revision",
    "decode_revisions",
    "deletion_time",
    "encode",
    "from_json",
    "identity",
    "is_json",
    "label",
    "outline",
    "prepare",
    "split_array",
    "split_page",
    "split_revisions",
    "to_cloudevent",
    "to_json",
    "workload_outline",
]

"""JSON bytes <-> models and events: the one converter, and the only door to cattrs and msgspec.

Two roads lead from bytes to a model, and tests hold them to the same results:

- The **careful road** is cattrs with hooks of our own: it checks every type (as it comes, cattrs would read
  `"false"` as True and 1.9 as 1), keeps unknown keys in `extra`, and names the place of a mismatch.
- The **fast road** lets msgspec check types in C, into structs derived from the same attrs classes, which are
  then turned into the models; several times faster. It refuses what it does not know: an
  unknown key, a type it does not expect. Then the careful road decides, and explains.
"""

from runai_async._codec.decode import (
    Outline,
    decode_count,
    decode_object,
    decode_page,
    decode_revision,
    decode_revisions,
    deletion_time,
    from_json,
    identity,
    is_json,
    outline,
    prepare,
    split_revisions,
)
from runai_async._codec.encode import encode, event_to_dict, to_cloudevent, to_json

__all__ = [
    "Outline",
    "decode_count",
    "decode_object",
    "decode_page",
    "decode_revision",
    "decode_revisions",
    "deletion_time",
    "encode",
    "event_to_dict",
    "from_json",
    "identity",
    "is_json",
    "outline",
    "prepare",
    "split_revisions",
    "to_cloudevent",
    "to_json",
]

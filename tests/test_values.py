"""A frozen class of ours behaves as one that attrs makes, though it shares methods with the others."""

from typing import Any

import attrs
import pytest

from runai_async._values import frozen


def short(value: object) -> str:
    return f"<{value}>"


def made_by(make: Any) -> Any:
    @make(kw_only=True)
    class Sample:
        shown: int
        secret: str = attrs.field(default="s3cret", repr=False)
        brief: str = attrs.field(default="b", repr=short)
        _aside: float = attrs.field(default=0.0, eq=False, alias="aside")
        unhashed: object = attrs.field(factory=dict, hash=False)
        folded: str = attrs.field(default="X", eq=str.lower)

    return Sample


def test_its_repr_is_that_of_attrs() -> None:
    ours, theirs = made_by(frozen)(shown=1), made_by(attrs.frozen)(shown=1)
    assert repr(ours) == repr(theirs) == "Sample(shown=1, brief=<b>, _aside=0.0, unhashed={}, folded='X')"


def test_its_hash_follows_what_is_compared() -> None:
    sample = made_by(frozen)
    value = sample(shown=1)
    assert hash(value) == hash(sample(shown=1, aside=2.0, unhashed=[], folded="x"))
    assert value == sample(shown=1, aside=2.0, folded="x")
    assert len({value, sample(shown=2), sample(shown=1, secret="t")}) == 3
    with pytest.raises(TypeError, match="unhashable type: 'dict'"):
        hash(sample(shown={}))


def test_what_a_class_defines_is_kept() -> None:
    @frozen
    class Named:
        name: str

        def __repr__(self) -> str:
            return self.name

        def __hash__(self) -> int:
            return 7

    assert (repr(Named("a")), hash(Named("a"))) == ("a", 7)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Named("a").name = "b"  # type: ignore[misc]

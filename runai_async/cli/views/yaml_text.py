"""YAML: the only door to PyYAML, which is imported when it is used."""

from __future__ import annotations

import re
from typing import Any

import yaml

_ODD = re.compile(r"[\d.+~=<-]|(?:y|n|yes|no|on|off)$", re.IGNORECASE)
"""What some reader of YAML 1.1 or 1.2 takes for a number, a time or a truth value, such as 1e3."""
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The one in C, where PyYAML was built with it."""


class _Document(_Dumper):  # type: ignore[misc]
    """Writes JSON's types so that every reader gets them back."""

    def ignore_aliases(self, data: object) -> bool:
        """Write a value that comes twice twice."""
        del data
        return True


def _text(dumper: Any, text: str) -> Any:
    style = "'" if _ODD.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Document.add_representer(str, _text)


def yaml_text(document: Any) -> str:
    """Return a value of JSON's types as YAML; ids and times are quoted, as they are texts."""
    library: Any = yaml  # whose stub is not typed whole
    text: str = library.dump(document, Dumper=_Document, sort_keys=False, allow_unicode=True, width=2**31 - 1)
    return text

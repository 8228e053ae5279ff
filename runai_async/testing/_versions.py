"""What the versions of the control plane have, and what they lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Version = Literal["2.22", "2.24", "3.0"]
VERSIONS: tuple[Version, ...] = get_args(Version)

TOKEN_V1, TOKEN_V2 = "/api/v1/token", "/api/v2/token"
MINIMAL_CLUSTER = "/api/v1/clusters/{clusterId}/minimal"

_LACKING: Mapping[Version, frozenset[str]] = {
    "2.22": frozenset({TOKEN_V2, MINIMAL_CLUSTER}),
    "2.24": frozenset(),
    "3.0": frozenset({TOKEN_V1}),
}


def lacking(version: Version) -> frozenset[str]:
    """Return the paths that a version does not serve, and another one does."""
    return _LACKING[version]

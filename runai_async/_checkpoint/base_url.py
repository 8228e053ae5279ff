"""The normal spelling of a control plane's URL, by which its checkpoints know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yarl import URL

_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_base_url(value: str | URL) -> str:
    """Return a base URL as scheme, host, path prefix, and port unless that is the scheme's own.

    Scheme and host are in lower case; there are no credentials, query, fragment or trailing slash.

    Raises:
        ValueError: it is not a base URL. It is not quoted, since it may hold a password.
    """
    from yarl import URL  # noqa: PLC0415  (who imports a checkpoint need not import this)

    try:
        url = URL(value)
        scheme, host, port, path = url.scheme, url.raw_host, url.port, url.raw_path.rstrip("/")
    except (ValueError, TypeError):
        scheme, host, port, path = "", None, None, ""
    if not host or scheme not in _DEFAULT_PORTS:
        raise ValueError("base_url must be a URL like https://acme.run.ai")
    host = f"[{host}]" if ":" in host else host.lower()
    suffix = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{host}{suffix}{path}"

"""What may go into a URL, and which URLs may get credentials."""

from __future__ import annotations

import ipaddress
import re
from uuid import UUID

from yarl import URL

from runai_async.errors import ConfigurationError

_HEX = "[0-9a-fA-F]"
_NORMAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"


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

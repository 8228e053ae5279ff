"""The base URL and the proxy: what may go into them, and which of them may get credentials."""

from __future__ import annotations

import base64
import ipaddress
from urllib import request as urllib_request

from yarl import URL

from runai_async.errors import ConfigurationError


def check_base_url(value: str | URL, *, allow_http: bool = False) -> URL:
    """Return the control plane's URL in its normal form; a path prefix is kept.

    Raises:
        ConfigurationError: it is not a URL to send credentials to; the message says why.
    """
    if not isinstance(value, str | URL):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"base_url must be a str or yarl.URL, not {type(value).__name__}")
    try:
        url = URL(value) if isinstance(value, str) else value
        port = url.port
    except (ValueError, TypeError):
        # The library's own error may quote a password that was put into the URL.
        raise ConfigurationError("base_url is not a URL; it should look like https://acme.run.ai") from None
    problem = _url_problem(url, port, allow_http=allow_http)
    if problem:
        raise ConfigurationError(f"base_url {problem}")
    return url.with_path(url.raw_path.rstrip("/") + "/", encoded=True)


def is_loopback(url: URL) -> bool:
    """Return whether a URL's host is this machine: `localhost`, or an address that needs no lookup."""
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.raw_host or "").is_loopback
    except ValueError:
        return False


def _url_problem(url: URL, port: int | None, *, allow_http: bool) -> str | None:
    if url.scheme not in {"http", "https"} or not url.host:
        return "must start with https:// and name a host, like https://acme.run.ai"
    if url.user is not None or url.password is not None:
        return "must not contain a user or password; pass credentials as auth"
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


def environment_proxy(base_url: URL) -> URL | None:
    """Return the proxy that the environment names for *base_url* (`HTTPS_PROXY`, `NO_PROXY`, …)."""
    # Read once: with aiohttp's own trust_env, each request would read the whole environment, in a thread.
    proxies = urllib_request.getproxies_environment()
    address = proxies.get(base_url.scheme)
    if not address or urllib_request.proxy_bypass_environment(  # type: ignore[attr-defined]  # since 2.6, in no stub
        f"{base_url.host}:{base_url.port}", proxies
    ):
        return None
    name = f"{base_url.scheme}_proxy in the environment (which trust_env=False ignores)"
    proxy = check_proxy(address, name)
    # Plain http is fine to loopback because it stays on this machine; through a proxy elsewhere it would not.
    leaves = base_url.scheme == "http" and is_loopback(base_url) and not is_loopback(proxy)
    return None if leaves else proxy


def check_proxy(value: str | URL, name: str = "proxy") -> URL:
    """Return a proxy's URL.

    Raises:
        ConfigurationError: aiohttp cannot use it.
    """
    try:
        url = URL(value)
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"{name} is not a URL; it should look like http://proxy.example:3128"
        ) from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(
            f"{name} must be an http:// or https:// URL with a host; other kinds are not supported"
        )
    return url


def proxy_headers(proxy: URL | None) -> dict[str, str] | None:
    """Return the credentials for a proxy; aiohttp sends this Authorization as Proxy-Authorization."""
    if proxy is None or proxy.user is None:
        return None
    pair = f"{proxy.user}:{proxy.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

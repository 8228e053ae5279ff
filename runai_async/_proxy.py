"""The proxy that requests go through: which one, whether it can be used, and what lets us in."""

from __future__ import annotations

import base64
from urllib import request as urllib_request

from yarl import URL

from runai_async._addresses import is_loopback
from runai_async.errors import ConfigurationError


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
    # Plain http may go to loopback because it does not leave the machine; so by no proxy elsewhere, either.
    leaves = base_url.scheme == "http" and is_loopback(base_url) and not is_loopback(proxy)
    return None if leaves else proxy


def check_proxy(value: str | URL, name: str = "proxy") -> URL:
    """Return a proxy's URL. Raises `ConfigurationError` for one that aiohttp cannot use."""
    try:
        url = URL(value)
    except (ValueError, TypeError):
        raise ConfigurationError(f"{name} is no URL; it looks like http://proxy.example:3128") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(
            f"{name} must be an http:// or https:// URL with a host; other kinds are not supported"
        )
    return url


def proxy_headers(proxy: URL | None) -> dict[str, str] | None:
    """Return what lets us through a proxy; aiohttp hands an Authorization on as Proxy-Authorization."""
    if proxy is None or proxy.user is None:
        return None
    pair = f"{proxy.user}:{proxy.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

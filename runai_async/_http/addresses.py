"""The base URL and the proxy: what may go into them, and which of them may get credentials."""

from __future__ import annotations

import base64
import ipaddress
import re
from urllib import request as urllib_request

from yarl import URL

from runai_async.errors import ConfigurationError

_EXAMPLES = {"base_url": "https://acme.run.ai", "token_url": "https://login.acme.example/token"}


def check_base_url(value: str | URL, *, allow_http: bool = False) -> URL:
    """Return the control plane's URL in its normal form; a path prefix is kept.

    Raises:
        ConfigurationError: it is not a URL to send credentials to; the message says why.
    """
    if not isinstance(value, str | URL):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"base_url must be a str or yarl.URL, not {type(value).__name__}")
    url = _parse("base_url", value)
    http = "use https, or pass allow_http=True if that is what you want"
    problem = "must not have a query or fragment" if url.query_string or url.fragment else None
    _check("base_url", url, problem, None if allow_http else http)
    return url.with_path(url.raw_path.rstrip("/") + "/", encoded=True)


def check_token_url(value: str) -> None:
    """Check the URL of a token endpoint elsewhere; it may have a query.

    Raises:
        ConfigurationError: it is not a URL to send credentials to; the message says why.
    """
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"token_url must be a str, not {type(value).__name__}")
    url = _parse("token_url", value)
    _check("token_url", url, "must not have a fragment" if url.fragment else None, "use https")


def _parse(name: str, value: str | URL) -> URL:
    try:
        url = URL(value)
        _ = url.port
    except (ValueError, TypeError):
        # The library's own error may quote a password that was put into the URL.
        raise ConfigurationError(f"{name} is not a URL; it should look like {_EXAMPLES[name]}") from None
    return url


def is_loopback(url: URL) -> bool:
    """Return whether a URL's host is this machine: `localhost`, or an address that needs no lookup."""
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.raw_host or "").is_loopback
    except ValueError:
        return False


def _check(name: str, url: URL, problem: str | None, http: str | None) -> None:
    """Raise `ConfigurationError` for a URL that credentials should not go to.

    Args:
        name: of the argument.
        url: its value.
        problem: what else is wrong with it.
        http: what to do instead of plain http; None if that is allowed.
    """
    problem = _url_problem(url, _EXAMPLES[name]) or problem or _http_problem(url, http)
    if problem:
        raise ConfigurationError(f"{name} {problem}")


def _url_problem(url: URL, example: str) -> str | None:
    if url.scheme not in {"http", "https"} or not url.host:
        return f"must start with https:// and name a host, like {example}"
    if url.user is not None or url.password is not None:
        return "must not contain a user or password; pass credentials as auth"
    if url.port is None or not 0 < url.port < 65536:  # noqa: PLR2004  (TCP's range)
        return "has a port that is out of range"
    return None


def _http_problem(url: URL, advice: str | None) -> str | None:
    if url.scheme == "https" or advice is None or is_loopback(url):
        return None
    return f"is plain http to {url.host}, which would show the token to the network; {advice}"


def environment_proxy(url: URL) -> URL | None:
    """Return the proxy that the environment names for a URL (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, …)."""
    # Read once: with aiohttp's own trust_env, each request would read the whole environment, in a thread.
    proxies = urllib_request.getproxies_environment()
    kind = url.scheme if proxies.get(url.scheme) else "all"
    address = proxies.get(kind)
    if not address or bypasses_proxy(url, proxies.get("no", "")):
        return None
    proxy = check_proxy(address, f"{kind}_proxy in the environment (which trust_env=False ignores)")
    # Plain http is fine to loopback because it stays on this machine; through a proxy elsewhere it would not.
    leaves = url.scheme == "http" and is_loopback(url) and not is_loopback(proxy)
    return None if leaves else proxy


def bypasses_proxy(url: URL, no_proxy: str) -> bool:
    """Return whether `NO_PROXY` has an entry for a URL's host: a name, domain, address or network, or `*`.

    This is what `requests` bypasses (the standard library's own function knows no networks), and also IPv6
    networks, brackets, a trailing dot, and the scheme's own port. As with curl, an entry matches whole
    labels: `un.ai` is not a domain of `acme.run.ai`.
    """
    host, port = (url.host or "").rstrip(".").lower(), str(url.port)
    entries = no_proxy.lower().replace(" ", "").split(",")
    return any(_matches(*_host_and_port(entry), host, port) for entry in entries if entry)


_ENTRY = re.compile(r"(?:\[([^\]]*)\]|([^:]*)):(\d+)")
"""An entry of `NO_PROXY` with a port; without one, the colons are those of an IPv6 address."""


def _host_and_port(entry: str) -> tuple[str, str | None]:
    if with_port := _ENTRY.fullmatch(entry):
        return with_port[1] or with_port[2], with_port[3]
    return entry.replace("[", "").replace("]", ""), None


def _matches(entry: str, port: str | None, host: str, host_port: str) -> bool:
    if port not in {None, host_port}:
        return False
    domain = entry.removeprefix("*").strip(".")
    return entry == "*" or host == domain or _is_within(host, entry, domain)


def _is_within(host: str, entry: str, domain: str) -> bool:
    """Return whether a host belongs to a network or, by its name, to a domain."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(domain) and host.endswith(f".{domain}")
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def check_proxy(value: str | URL, name: str = "proxy") -> URL:
    """Return a proxy's URL; one without a scheme is `http`.

    Raises:
        ConfigurationError: aiohttp cannot use it.
    """
    try:
        if isinstance(value, str) and "://" not in value:
            value = f"http://{value.lstrip('/')}"
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

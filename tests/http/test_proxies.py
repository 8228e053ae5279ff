"""Which proxy of the environment is used, and what bypasses it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.utils import should_bypass_proxies
from yarl import URL

from runai_async import ConfigurationError
from runai_async._http.addresses import bypasses_proxy, check_proxy, environment_proxy

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# The last column is what `requests` says; None where it differs and we follow curl and Go.
BYPASS = [
    # names
    ("https://acme.run.ai", "acme.run.ai", True, True),
    ("https://acme.run.ai", "run.ai", True, True),
    ("https://acme.run.ai", ".run.ai", True, True),
    ("https://run.ai", ".run.ai", True, True),
    ("https://acme.run.ai", "other.example, .run.ai ,", True, True),
    ("https://ACME.run.ai", "acme.RUN.ai", True, None),
    ("https://acme.run.ai", "*", True, True),
    ("https://acme.run.ai", "other.example,*", True, None),
    ("https://acme.run.ai", "*.run.ai", True, None),
    ("https://acme.run.ai", "un.ai", False, None),  # part of a label is another name
    ("https://acme.run.ai", "other.example", False, False),
    ("https://acme.run.ai", "acme.run.ai.example", False, False),
    ("https://acme.run.ai", "", False, False),
    ("https://acme.run.ai", " , ,", False, False),
    ("https://acme.run.ai", "10.0.0.0/8,[::1],fd00::/8", False, False),
    # a trailing dot on either side
    ("https://acme.run.ai", "acme.run.ai.", True, None),
    ("https://acme.run.ai", ".run.ai.", True, None),
    ("https://acme.run.ai.", "acme.run.ai", True, None),
    ("https://acme.run.ai.", "run.ai.", True, True),
    ("https://acme.run.ai.", "other.example.", False, False),
    # ports
    ("https://acme.run.ai:8443", "acme.run.ai:8443", True, True),
    ("https://acme.run.ai:8443", "run.ai:8443", True, True),
    ("https://acme.run.ai:8443", "acme.run.ai.:8443", True, None),
    ("https://acme.run.ai:8443", "acme.run.ai", True, True),
    ("https://acme.run.ai:8443", "acme.run.ai:443", False, False),
    ("https://acme.run.ai", "acme.run.ai:443", True, None),
    ("https://acme.run.ai", "acme.run.ai:", False, False),
    # IPv4
    ("https://10.1.2.3", "10.0.0.0/8", True, True),
    ("https://10.1.2.3:8443", "127.0.0.1,10.1.0.0/16", True, True),
    ("https://10.1.2.3", "10.1.2.3/32", True, True),
    ("https://10.1.2.3", "10.1.2.99/24", True, True),  # host bits are set
    ("https://10.1.2.3", "10.1.2.3", True, True),
    ("https://10.1.2.3:8443", "10.1.2.3:8443", True, None),
    ("https://10.1.2.3:8443", "10.1.2.3:443", False, False),
    ("https://10.1.2.3", "0.0.0.0/0", True, None),
    ("https://11.1.2.3", "10.0.0.0/8", False, False),
    ("https://110.1.2.3", "10.1.2.3", False, False),
    ("https://10.1.2.3", "10.0.0.0/99", False, False),
    ("https://10.1.2.3", "10.0.0.0/8/8", False, False),
    ("https://10.1.2.3", "fd00::/8", False, False),
    # IPv6
    ("https://[::1]", "::1", True, True),
    ("https://[::1]:8443", "[::1]", True, None),
    ("https://[::1]:8443", "[::1]:8443", True, None),
    ("https://[::1]:8443", "[::1]:443", False, False),
    ("https://[::1]", "0:0:0:0:0:0:0:1", True, None),
    ("https://[fd12::1]", "fd00::/8", True, None),
    ("https://[fd12::1]", "[fd00::]/8", True, None),
    ("https://[fe80::1]", "fd00::/8", False, False),
    ("https://[::1]", "[::2", False, False),
]


@pytest.mark.parametrize(("url", "no_proxy", "bypassed", "by_requests"), BYPASS)
def test_no_proxy_names_hosts_domains_networks_and_ports(
    url: str, no_proxy: str, bypassed: bool, by_requests: bool | None
) -> None:
    assert bypasses_proxy(URL(url), no_proxy) is bypassed
    if by_requests is not None:
        assert should_bypass_proxies(url, no_proxy) is bypassed


ADDRESSES = st.builds(lambda low: str(ipaddress.IPv4Address(0x0A000000 + low)), st.integers(0, 1023))
HOSTS = st.sampled_from(["acme.run.ai", "run.ai", "a.b.run.ai", "localhost"]) | ADDRESSES
ENTRIES = (
    st.sampled_from(["acme.run.ai", ".run.ai", "run.ai:8443", "b.run.ai", "localhost", "ai", "", " "])
    | ADDRESSES
    | st.builds("{}/{}".format, ADDRESSES, st.integers(0, 33))
)


@given(HOSTS, st.sampled_from(["", ":443", ":8443"]), st.lists(ENTRIES, max_size=4).map(",".join))
def test_what_requests_bypasses_is_bypassed(host: str, port: str, no_proxy: str) -> None:
    url = f"https://{host}{port}"
    assert bypasses_proxy(URL(url), no_proxy) or not should_bypass_proxies(url, no_proxy)


@given(HOSTS, st.text(st.sampled_from("acme.run:/[]*,0189f% ")))
def test_no_value_of_no_proxy_does_harm(host: str, no_proxy: str) -> None:
    assert bypasses_proxy(URL(f"https://{host}"), no_proxy) in {True, False}


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"ALL_PROXY": "http://all:1"}, "https://acme.run.ai", "http://all:1"),
        ({"all_proxy": "http://all:1"}, "http://acme.local", "http://all:1"),
        ({"ALL_PROXY": "http://all:1", "HTTPS_PROXY": "http://one:2"}, "https://acme.run.ai", "http://one:2"),
        ({"ALL_PROXY": "http://all:1", "HTTP_PROXY": "http://one:2"}, "https://acme.run.ai", "http://all:1"),
        ({"ALL_PROXY": "http://all:1", "NO_PROXY": "run.ai"}, "https://acme.run.ai", None),
        ({"ALL_PROXY": "all:1"}, "http://localhost:8080", None),  # it would take the token off this machine
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://acme.run.ai", "http://proxy.example:3128"),
        ({"HTTPS_PROXY": "//proxy.example:3128"}, "https://acme.run.ai", "http://proxy.example:3128"),
        ({"HTTPS_PROXY": "proxy"}, "https://acme.run.ai", "http://proxy"),
        ({"HTTPS_PROXY": "me:pw@proxy:3128"}, "https://acme.run.ai", "http://me:pw@proxy:3128"),
        ({"HTTPS_PROXY": "10.0.0.1:3128"}, "https://acme.run.ai", "http://10.0.0.1:3128"),
        ({"HTTPS_PROXY": "[::1]:3128"}, "https://acme.run.ai", "http://[::1]:3128"),
        ({"HTTPS_PROXY": "HTTP://proxy:1"}, "https://acme.run.ai", "http://proxy:1"),
    ],
)
def test_the_proxy_of_the_environment_is_the_schemes_or_that_of_all(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(URL(url)) == (proxy and URL(proxy))


def test_an_unusable_proxy_for_all_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:s3cret@proxy:1080")
    with pytest.raises(ConfigurationError, match=r"^all_proxy in the environment .* not supported") as caught:
        environment_proxy(URL("https://acme.run.ai"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "//", "me:s3cret@", ":3128", "ftp://proxy", "socks5://s3cret@host:1"])
def test_what_names_no_host_or_another_kind_is_no_proxy(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^proxy ") as caught:
        check_proxy(value)
    assert "s3cret" not in str(caught.value)

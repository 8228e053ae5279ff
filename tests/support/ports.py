"""TCP ports for servers that are stopped and started again on the same port."""

import random
import socket

_BELOW_EPHEMERAL = range(10_000, 30_000)
"""No system hands these out by itself, as it does those that a server gets for port 0: a port that was let go
of would soon be another test's."""
_GIVEN: set[int] = set()
"""Those of this process, some of which nobody listens on yet."""


def lasting_port() -> int:
    """Return a loopback port that nobody uses, and that nobody else gets by chance later on."""
    while True:
        port = random.SystemRandom().choice(_BELOW_EPHEMERAL)  # several test runs may share one machine
        if port not in _GIVEN and _is_free(port):
            _GIVEN.add(port)
            return port


def _is_free(port: int) -> bool:
    """Return whether nobody is bound to a port, be it only to keep it."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

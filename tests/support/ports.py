"""TCP ports for servers that are stopped and started again on the same port."""

import random
import socket

_BELOW_EPHEMERAL = range(10_000, 30_000)
"""No system hands these out by itself, as it does those that a server gets for port 0: a port that was let go
of would soon be another test's."""


def lasting_port() -> int:
    """Return a loopback port that nobody uses, and that nobody else gets by chance later on."""
    while True:
        port = random.SystemRandom().choice(_BELOW_EPHEMERAL)  # several test runs may share one machine
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port

"""What the errors of aiohttp's client mean, and how much of their words may be told."""

from __future__ import annotations

import re
import ssl

import aiohttp

from runai_async._http.messages import Request
from runai_async.errors import AttemptTimeoutError, DeadlineExceededError, TransportError

AIOHTTP_ERRORS = (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError, AttributeError)
"""What a request of aiohttp's raises, one way or another."""
_TLS_REFUSAL = r"CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED"
"""In OpenSSL's name for what a server says that does not like a client's certificate, or the lack of one."""
_FIXED_WORDS = (
    r"Bad status line|Expected HTTP/|Data after `Connection: close`|Invalid (HTTP header|header token)"
    r"|Invalid character in (chunk size|Content-Length)|Expected LF after chunk data|Got more than \d+ bytes"
    r"|Not enough data (to|for) satisfy [a-z ]+ header( \(received \d+ of \d+ bytes\))?"
)
"""What may be told of errors that else quote the answer: its bytes and headers may hold secrets."""


def map_error(
    error: Exception, request: Request, limit: float, *, cut: bool, session: aiohttp.ClientSession | None
) -> Exception:
    """Turn what aiohttp raised into an error of ours; a defect stays what it is.

    Args:
        error: one of `AIOHTTP_ERRORS`.
        request: what was sent.
        limit: seconds that the attempt had.
        cut: whether the deadline left it no more than that.
        session: over which it was sent; None after the client was closed.
    """
    where = f"{request.method} {request.url.with_query(None)}"
    if isinstance(error, TimeoutError):
        if cut:
            return DeadlineExceededError(f"{where}: the deadline passed with the attempt in flight")
        return AttemptTimeoutError(f"{where}: no complete answer within {limit:g} s")
    if _is_tls(error):
        return TransportError(
            f"{where}: TLS failed: {describe(error)} — for a private CA pass ca_file or ssl_context, "
            "for a client certificate an ssl_context",
            transient=False,
        )
    if isinstance(error, RuntimeError | AttributeError):
        return _unexpected(error, where, session)
    return TransportError(f"{where}: {describe(error)}")


def _unexpected(error: Exception, where: str, session: aiohttp.ClientSession | None) -> Exception:
    """Tell what aiohttp raises of a closed session from a defect, which is raised as it is."""
    if session is not None and not session.closed:
        return error
    if isinstance(error, AttributeError):
        # Before 3.12, aiohttp repeats a request that closing cut, over a connector that is gone.
        return TransportError(f"{where}: the client was closed")
    return RuntimeError("the client's session is closed; make a new client")


def _is_tls(error: Exception) -> bool:
    """Tell whether TLS refuses: the server's certificate here, or ours there, which shows only at a read."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return True
    cause = error.__cause__
    return isinstance(cause, ssl.SSLError) and re.search(_TLS_REFUSAL, cause.reason or "") is not None


def _quotes(error: Exception) -> bool:
    """Tell whether an error of aiohttp's quotes what was sent or answered."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return not isinstance(error.message, str)
    return isinstance(error, aiohttp.ClientResponseError) or (
        isinstance(error, aiohttp.ClientPayloadError) and bool(error.args)
    )


def redacted_cause(error: Exception) -> Exception:
    """Return an error of aiohttp's, or one in its place that quotes nothing."""
    return aiohttp.ClientError(describe(error)) if _quotes(error) else error


def describe(error: Exception) -> str:
    """Describe an error of aiohttp's; some have no text, and some have one that is not to be told."""
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{kind}: the proxy answered {error.status}"
    if _quotes(error):
        known = re.search(_FIXED_WORDS, str(error))
        return f"{kind}: {known[0] if known else 'the response is no whole and proper HTTP'}"
    text = str(error).replace(" ssl:default", "")  # which it says of plain http, too
    return f"{kind}: {text}" if text else kind

"""Maps the errors of aiohttp's client to ours, without quoting what may be secret."""

from __future__ import annotations

import re
import ssl

import aiohttp

from runai_async._http.messages import Request
from runai_async.errors import AttemptTimeoutError, ConfigurationError, DeadlineExceededError, TransportError

AIOHTTP_ERRORS = (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError, AttributeError)
"""Everything that a request may raise in aiohttp."""
_TWO_CREDENTIALS = "Cannot combine AUTHORIZATION header"
_TLS_ALERT = r"CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED"
"""In OpenSSL's names for the alerts of a server that rejects, or misses, a client's certificate."""
_SAFE_TEXT = (
    r"Bad status line|Expected HTTP/|Data after `Connection: close`|Invalid (HTTP header|header token)"
    r"|Invalid character in (chunk size|Content-Length)|Expected LF after chunk data|Got more than \d+ bytes"
    r"|Not enough data (to|for) satisfy [a-z ]+ header( \(received \d+ of \d+ bytes\))?"
)
"""What may be repeated of errors that quote the response, whose bytes and headers may hold secrets."""


def map_error(
    error: Exception, request: Request, limit: float, *, cut: bool, session: aiohttp.ClientSession | None
) -> Exception:
    """Turn an exception of aiohttp's into one of ours; a defect is returned as it is.

    Args:
        error: one of `AIOHTTP_ERRORS`.
        request: what was sent.
        limit: seconds that the attempt had.
        cut: whether *limit* was what the deadline left, less than the attempt's timeout.
        session: what it was sent over; None after the client was closed.
    """
    where = f"{request.method} {request.url.with_query(None)}"
    if isinstance(error, TimeoutError):
        if cut:
            return DeadlineExceededError(f"{where}: the deadline passed with the attempt in flight")
        return AttemptTimeoutError(f"{where}: no complete response within {limit:g} s")
    if _is_tls(error):
        return TransportError(
            f"{where}: TLS failed: {describe(error)} — for a private CA pass ca_file or ssl_context, "
            "for a client certificate an ssl_context",
            transient=False,
        )
    if isinstance(error, ValueError) and _TWO_CREDENTIALS in str(error):
        return credentials_error(request)
    if isinstance(error, RuntimeError | AttributeError):
        return _closed_or_defect(error, request, session)
    return TransportError(f"{where}: {describe(error)}")


def credentials_error(request: Request) -> ConfigurationError:
    """Return the error of a session of the caller's that adds credentials to our requests."""
    return ConfigurationError(
        "the session that was passed adds credentials of its own (its auth=, or with trust_env=True an "
        f"entry for {request.url.host} in the netrc file), so the token cannot be sent: "
        "pass a session without"
    )


def closed_error(request: Request) -> TransportError:
    """Return the error of a request that was in flight when the client was closed."""
    return TransportError(f"{request.method} {request.url.with_query(None)}: the client was closed")


def is_certificate_error(error: BaseException | None) -> bool:
    """Return whether the server's certificate was refused."""
    return isinstance(error, aiohttp.ClientConnectorCertificateError)


def _closed_or_defect(error: Exception, request: Request, session: aiohttp.ClientSession | None) -> Exception:
    """Return what a closed session means; with an open one, the error is a defect and stays as it is."""
    if session is not None and not session.closed:
        return error
    if isinstance(error, AttributeError):
        # Before 3.12, aiohttp repeats a request that closing cut, over a connector that is gone.
        return closed_error(request)
    return RuntimeError("the client's session is closed; make a new client")


def _is_tls(error: Exception) -> bool:
    """Return whether TLS failed: at the server's certificate, or at ours, which shows only at a read."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return True
    cause = error.__cause__
    return isinstance(cause, ssl.SSLError) and re.search(_TLS_ALERT, cause.reason or "") is not None


def _quotes(error: Exception) -> bool:
    """Return whether an error of aiohttp's quotes the request or the response."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return not isinstance(error.message, str)
    return isinstance(error, aiohttp.ClientResponseError) or (
        isinstance(error, aiohttp.ClientPayloadError) and bool(error.args)
    )


def redacted_cause(error: Exception) -> Exception:
    """Return an error of aiohttp's, or a substitute for one that quotes something."""
    return aiohttp.ClientError(describe(error)) if _quotes(error) else error


def describe(error: Exception) -> str:
    """Describe an error of aiohttp's; some have no text, and some have one that may hold secrets."""
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{kind}: the proxy responded with {error.status}"
    if _quotes(error):
        safe = re.search(_SAFE_TEXT, str(error))
        return f"{kind}: {safe[0] if safe else 'the response is not valid HTTP'}"
    text = str(error).replace(" ssl:default", "")  # it says that of plain http, too
    return f"{kind}: {text}" if text else kind

"""Credentials and the base URL from the environment, or else from the vendor CLI's login."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from runai_async._auth.credentials import Auth, CliCredentials, ClientCredentials, FileToken, StaticToken
from runai_async._http.addresses import check_token_url
from runai_async.errors import ConfigurationError


def auth_from(environ: Mapping[str, str]) -> Auth:
    """Return the credentials that an environment names, or else the login of the vendor's command line.

    Raises:
        ConfigurationError: there are none; the message names what is missing.
    """
    token, client_id, client_secret = (
        environ.get(name) for name in ("RUNAI_TOKEN", "RUNAI_CLIENT_ID", "RUNAI_CLIENT_SECRET")
    )
    if token:
        return StaticToken(token)
    if path := environ.get("RUNAI_TOKEN_FILE"):
        return _file_token(path)
    if client_id and client_secret:
        return _client_credentials(environ, client_id, client_secret)
    if client_id or client_secret:
        given, missing = "RUNAI_CLIENT_ID", "RUNAI_CLIENT_SECRET"
        if client_secret:
            given, missing = missing, given
        raise ConfigurationError(f"{missing} is not set, but {given} is: set both")
    try:
        credentials = CliCredentials()
        credentials.read_token()
    except ConfigurationError as error:
        raise ConfigurationError(
            "no credentials: set RUNAI_TOKEN or RUNAI_TOKEN_FILE, or RUNAI_CLIENT_ID and "
            f"RUNAI_CLIENT_SECRET ({error})"
        ) from error
    return credentials


def _file_token(path: str) -> FileToken:
    """Return the token in a file, which must have one by now."""
    auth = FileToken(path)
    try:
        if not auth.path.is_fifo():  # what is read from a pipe is gone
            auth.read_token()
    except ConfigurationError as error:
        raise ConfigurationError(f"RUNAI_TOKEN_FILE: {error}") from None
    return auth


def _client_credentials(environ: Mapping[str, str], client_id: str, client_secret: str) -> ClientCredentials:
    token_url = environ.get("RUNAI_TOKEN_URL") or None
    if token_url is not None:
        try:
            check_token_url(token_url)
        except ConfigurationError as error:
            raise ConfigurationError(f"RUNAI_TOKEN_URL: {error}") from None
    return ClientCredentials(client_id, client_secret, _token_api(environ), token_url)


def _token_api(environ: Mapping[str, str]) -> Literal["auto", "v1", "v2"]:
    match environ.get("RUNAI_TOKEN_API") or "auto":
        case "auto" | "v1" | "v2" as api:
            return api
        case other:
            raise ConfigurationError(f"RUNAI_TOKEN_API must be auto, v1 or v2, not {other!r}")


def base_url_from(environ: Mapping[str, str]) -> str:
    """Return the control plane's URL that an environment names, or else that of the vendor CLI's login.

    Raises:
        ConfigurationError: there is none; the message names what is missing.
    """
    if url := environ.get("RUNAI_BASE_URL"):
        return url
    try:
        return CliCredentials().read_base_url()
    except ConfigurationError as error:
        raise ConfigurationError(
            f"no control plane: set RUNAI_BASE_URL, like https://acme.run.ai ({error})"
        ) from error

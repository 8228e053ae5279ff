"""Removes our secrets from responses: some servers quote what they reject."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from attrs import evolve

from runai_async._http.messages import Response

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
"""As `html.escape` has it, whose module takes longer to import than most of ours."""


def redact(response: Response, *secrets: str) -> Response:
    """Return a response in which `***` stands for each of our secrets."""
    body = _unescaped(response.body)
    headers = dict(response.headers)
    for form in {form for secret in secrets for form in _forms(secret)}:
        body = body.replace(form.encode(), b"***")
        headers = {name: value.replace(form, "***") for name, value in headers.items()}
    return evolve(response, body=body, headers=headers)


def _unescaped(body: bytes) -> bytes:
    """Return JSON with no character escaped that need not be, so that a secret in it can be found."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return body


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as it is written in JSON, in HTML, in a URL and in a form."""
    yield from (secret, secret.translate(_HTML), json.dumps(secret)[1:-1])
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    for form in (quote(secret, safe=""), quote_plus(secret)):
        yield from (form, re.sub("%..", lambda escape: escape[0].lower(), form))

"""Answers without our secrets: some servers quote what they refuse."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from attrs import evolve

from runai_async._http.messages import Response


def redact(response: Response, *secrets: str) -> Response:
    """Return an answer that does not repeat our secrets; some servers quote what they refuse."""
    text = _plainly(response.body)
    headers = dict(response.headers)
    for form in {form for secret in secrets for form in _spellings(secret)}:
        text = text.replace(form.encode(), b"***")
        headers = {name: value.replace(form, "***") for name, value in headers.items()}
    return evolve(response, body=text, headers=headers)


def _plainly(body: bytes) -> bytes:
    """Return JSON with each character written as itself, so that a secret in it can be found."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return body


def _spellings(secret: str) -> Iterator[str]:
    """Return a secret as it is, and as it stands in JSON, in HTML, in a URL and in a form."""
    yield from (secret, html.escape(secret), json.dumps(secret)[1:-1])
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    for form in (quote(secret, safe=""), quote_plus(secret)):
        yield from (form, re.sub("%..", lambda escape: escape[0].lower(), form))

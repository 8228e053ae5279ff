"""Completes the names of workloads, revisions and projects from the control plane, when TAB is pressed.

Whoever presses it waits, so this is small: names are read without the client, whose HTTP library alone takes
longer to import than the rest. It keeps quiet about whatever goes wrong, and has little patience.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from runai_async._auth.environment import auth_from, base_url_from
from runai_async._auth.sources import token_source
from runai_async._auth.transport import Authenticated
from runai_async._clock import SystemClock
from runai_async._http.addresses import check_base_url
from runai_async._http.messages import Request, Response
from runai_async.errors import TransportError
from runai_async.hooks import Hooks

_PATIENCE = 1.5
"""Seconds that a TAB may take."""
_PAGE, _MOST = 500, 4000
"""Workloads in a page, and those that are read at most."""
_OPTIONS = {"base_url": "RUNAI_BASE_URL", "ca_file": "RUNAI_CA_FILE", "token_file": "RUNAI_TOKEN_FILE"}

Params = Mapping[str, Any]
Row = dict[str, Any]


# --- what is completed ------------------------------------------------------------------------------------


def names_for(param: str | None, params: Params, incomplete: str) -> list[str]:
    """Return what the value of a parameter may be; nothing on any error.

    Args:
        param: the name of the parameter.
        params: those that stand before it on the command line.
        incomplete: the beginning of the value.
    """
    find = _FINDERS.get(param or "")
    if find is None:
        return []
    found: list[str] = []

    def work() -> None:
        with contextlib.suppress(Exception):  # a TAB must not print anything else
            found.extend(asyncio.run(find(_Names(params), params, incomplete)))

    thread = threading.Thread(target=work, daemon=True)  # one that hangs does not hold up the end
    thread.start()
    thread.join(_PATIENCE)
    # A name that is not printable cannot be typed, and would be a command to the terminal.
    return sorted({name for name in found if name.startswith(incomplete) and name.isprintable()})


async def _workloads(names: _Names, params: Params, incomplete: str) -> list[str]:
    del incomplete
    return [str(row["name"]) for row in await names.workloads(params.get("project"))]


async def _projects(names: _Names, params: Params, incomplete: str) -> list[str]:
    del params, incomplete
    return [str(row["projectName"]) for row in await names.workloads(None) if row.get("projectName")]


async def _revisions(names: _Names, params: Params, incomplete: str) -> list[str]:
    """Return the revisions of the workloads; without one, of that whose name the text begins with."""
    rows = await names.workloads(params.get("project"))
    if given := params.get("workloads") or [item for item in [params.get("workload")] if item]:
        meant = [row for row in rows if not {*given}.isdisjoint({row["name"], row["id"]})]
    else:
        meant = [row for row in rows if incomplete.startswith(f"{row['name']}-")]
        begun = [row for row in rows if row["name"].startswith(incomplete)]
        meant = meant or (begun if len(begun) == 1 else [])
        if not meant:
            return [f"{row['name']}-" for row in begun]
    return [str(row["name"]) for item in meant for row in await names.revisions(item["id"])]


_Finder = Callable[["_Names", Params, str], Coroutine[Any, Any, list[str]]]
_FINDERS: Mapping[str, _Finder] = {
    "workload": _workloads,
    "workloads": _workloads,
    "project": _projects,
    **dict.fromkeys(("revision", "old", "new", "after"), _revisions),
}
"""By the name of the parameter."""

# --- where it comes from ----------------------------------------------------------------------------------


class _Names:
    """Reads names from the control plane that the environment and the options name."""

    def __init__(self, params: Params) -> None:
        given = {name: params[key] for key, name in _OPTIONS.items() if params.get(key)}
        environ = {**os.environ, **given, **({"RUNAI_TOKEN": ""} if params.get("token_file") else {})}
        self._url = check_base_url(base_url_from(environ), allow_http=bool(params.get("allow_http")))
        self._clock = SystemClock()
        transport = _UrllibTransport(environ.get("RUNAI_CA_FILE") or None)
        source = token_source(
            auth_from(environ), self._url, transport, self._clock, hooks=Hooks(), timeout=_PATIENCE
        )
        self._transport = Authenticated(transport, source, self._clock)

    async def workloads(self, project: str | None) -> list[Row]:
        """Return the rows of the inference workloads of a project."""
        rows: list[Row] = []
        is_full = True
        while is_full and len(rows) < _MOST:
            body = await self._get("/api/v1/workloads", limit=_PAGE, offset=len(rows))
            rows += body["workloads"]
            is_full = len(body["workloads"]) == _PAGE
        return [row for row in rows if _is_meant(row, project)]

    async def revisions(self, workload_id: str) -> list[Row]:
        """Return the rows of the live revisions of a workload."""
        body = await self._get(f"/api/v1/workloads/inferences/{workload_id}/revisions")
        return list(body["revisions"])

    async def _get(self, path: str, **query: int) -> Any:
        url = self._url.with_path(self._url.path.rstrip("/") + path).with_query(query)
        deadline = self._clock.monotonic() + _PATIENCE
        response = await self._transport.send(Request("GET", url), timeout=_PATIENCE, deadline=deadline)
        return json.loads(response.body)


def _is_meant(row: Row, project: str | None) -> bool:
    is_named = all(isinstance(row.get(key), str) for key in ("name", "id"))
    is_there = project is None or project in {row.get("projectName"), row.get("projectId")}
    return is_named and is_there and "inference" in str(row.get("type")).lower()


class _UrllibTransport:
    """A transport over the standard library, for a handful of requests one after the other."""

    def __init__(self, ca_file: str | None) -> None:
        handlers: Iterable[urllib.request.BaseHandler] = (
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)),
            _NoRedirects(),
        )
        self._opener = urllib.request.build_opener(*handlers)

    async def send(self, request: Request, *, timeout: float, deadline: float) -> Response:
        """Send one request; it blocks, as nothing else is to do."""
        del deadline
        asked = urllib.request.Request(  # noqa: S310  (its scheme was checked)
            str(request.url), request.body, dict(request.headers or {}), method=request.method
        )
        try:
            with self._opener.open(asked, timeout=timeout) as response:
                return Response(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, dict(error.headers), error.read())
        except OSError as error:
            raise TransportError(str(error)) from error

    async def aclose(self) -> None:
        """Do nothing: no connection is kept."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none, as the token would go along."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:  # noqa: PLR0917  (as the base class has it)
        """Return no other request."""
        del req, fp, code, msg, headers, newurl

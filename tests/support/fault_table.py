"""The expected outcome of every fault of `faults.py` in every operation.

Run as a script, it prints the table of tests/README.md.
"""

from collections.abc import Mapping
from itertools import groupby

from attrs import frozen

from runai_async import (
    ApiError,
    AttemptTimeoutError,
    AuthenticationError,
    DeadlineExceededError,
    DecodeError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    PhaseChanged,
    PhaseFailedError,
    RateLimitError,
    RevisionAdded,
    RevisionDeleted,
    RolloutFailedError,
    RunaiError,
    ServerError,
    ServiceUnavailableError,
    TransportError,
    WatchOutageError,
)


@frozen
class Failed:
    """A `WorkloadFailed` that holds this error; if that is a `WatchOutageError`, with this one in turn."""

    error: type[RunaiError]
    last_error: type[RunaiError] | None = None


@frozen
class Outage:
    """A `WatchOutageError` whose last poll failed with this error."""

    last_error: type[RunaiError]


BODIES = ("the API's error", "HTML", "nothing", "other JSON")
"""What the body of an error response may be."""
VALUE = "value"
EMPTY = "empty"
DOWN = "down"
Outcome = str | type | Failed | Outage
"""The content of a cell: VALUE, EMPTY, DOWN, the class of an error or event, or one that holds an error."""
Row = Mapping[str, Outcome]

CALLS = (
    "list_revisions",
    "count_revisions",
    "get_revision",
    "revision_history",
    "revision_events",
    "revision_pods",
    "list_workloads",
    "token v1",
    "token v2",
)
OPERATIONS = (
    *CALLS,
    "list_revisions, fault passes",
    "watch, first poll",
    "watch, later poll",
    "watch, fault passes",
    "fleet, first poll",
    "fleet, later poll",
    "fleet, fault passes",
    "wait_for_phase, first poll",
    "wait_for_phase, later poll",
    "wait_for_rollout, first poll",
    "wait_for_rollout, later poll",
    "discovery, first listing",
    "discovery, later listing",
    "exporter",
)


def row(
    call: Outcome,
    passing: Outcome,
    *,
    watch: tuple[Outcome, Outcome, Outcome],
    fleet: tuple[Outcome, Outcome, Outcome],
    phase: tuple[Outcome, Outcome],
    rollout: tuple[Outcome, Outcome],
    discovery: tuple[Outcome, Outcome],
    exporter: Outcome = DOWN,
) -> Row:
    """Return a row of the table: the outcome for each operation."""
    outcomes = (*[call] * len(CALLS), passing, *watch, *fleet, *phase, *rollout, *discovery, exporter)
    return dict(zip(OPERATIONS, outcomes, strict=True))


def harmless() -> Row:
    """Return the row of something that this client does not treat as a fault."""
    events, values = (RevisionAdded, PhaseChanged, PhaseChanged), (VALUE, VALUE)
    return row(
        VALUE,
        VALUE,
        watch=events,
        fleet=events,
        phase=values,
        rollout=values,
        discovery=events[:2],
        exporter=VALUE,
    )


def outage(error: type[RunaiError], *, passing: Outcome = VALUE) -> Row:
    """Return the row of a transient fault: a call is retried, a watch continues until `max_outage`."""
    gone = Outage(error)
    events, waits = (gone, gone, PhaseChanged), (gone, gone)
    return row(
        error,
        passing,
        watch=events,
        fleet=events,
        phase=waits,
        rollout=waits,
        discovery=(gone, PhaseChanged),
    )


def lasting(error: type[RunaiError]) -> Row:
    """Return the row of an outage that a second attempt does not fix, or that is not retried."""
    return outage(error, passing=error)


def other_shape() -> Row:
    """Return the row of JSON of another shape: as the first three responses, waiting does not fix it."""
    error, gone = DecodeError, Outage(DecodeError)
    return row(
        error,
        error,
        watch=(error, gone, PhaseChanged),
        fleet=(Failed(error), Failed(WatchOutageError, error), PhaseChanged),
        phase=(error, gone),
        rollout=(error, gone),
        discovery=(gone, PhaseChanged),
    )


def refused_token() -> Row:
    """Return the row of a 401 of the API: tried again, then final unless the token was accepted before."""
    error = AuthenticationError
    events, ended = (error, error, PhaseChanged), (error, error)
    discovery = (error, PhaseChanged)
    return row(error, VALUE, watch=events, fleet=events, phase=ended, rollout=ended, discovery=discovery)


def denied() -> Row:
    """Return the row of rejected credentials, which end everything at once."""
    error = AuthenticationError
    events, ended = (error, error, error), (error, error)
    return row(
        error, error, watch=events, fleet=events, phase=ended, rollout=ended, discovery=ended, exporter=error
    )


def forbidden() -> Row:
    """Return the row of a refusal, which counts after `missing_grace`."""
    error = PermissionDeniedError
    return row(
        error,
        error,
        watch=(error, error, PhaseChanged),
        fleet=(Failed(error), Failed(error), PhaseChanged),
        phase=(error, error),
        rollout=(error, error),
        discovery=(error, PhaseChanged),
    )


def not_found() -> Row:
    """Return the row of a refusal that means deletion if the workload or revision was seen before."""
    error = NotFoundError
    return row(
        error,
        error,
        watch=(error, RevisionDeleted, PhaseChanged),
        fleet=(Failed(error), RevisionDeleted, PhaseChanged),
        phase=(error, PhaseFailedError),
        rollout=(error, RolloutFailedError),
        discovery=(error, PhaseChanged),
    )


def everywhere(plain: Row) -> Row:
    """Return the row of a fault that hits all requests, even where another one is that of a listing."""
    return {**plain, "discovery, later listing": plain["fleet, later poll"]}


def empty_list() -> Row:
    """Return the row of a list without items, for a few requests: it deletes nothing."""
    calls = dict.fromkeys(
        ("list_revisions", "revision_history", "revision_events", "revision_pods", "list_workloads"), EMPTY
    )
    return {**harmless(), **calls, "list_revisions, fault passes": EMPTY}


def broken_neighbour() -> Row:
    """Return the row of one more item that cannot be decoded: it alone is left out."""
    calls = dict.fromkeys(("list_revisions", "list_revisions, fault passes"), DecodeError)
    return {**harmless(), **calls}


def restarting(error: type[RunaiError]) -> Row:
    """Return the row of a service that restarts within two polls: a call fails, what is followed goes on."""
    calls = dict.fromkeys((*CALLS, "list_revisions, fault passes"), error)
    return {**harmless(), **calls}


def read_model(outcome: Outcome, **first_poll: Outcome) -> Row:
    """Return the row of a server that is without revisions for a while, but not without workloads."""
    counts = dict.fromkeys(("count_revisions", "token v1", "token v2"), EMPTY)
    lists = dict.fromkeys(("list_revisions", "list_revisions, fault passes"), outcome)
    of_one = ("get_revision", "revision_history", "revision_events", "revision_pods")
    missing = dict.fromkeys(of_one, NotFoundError)
    firsts = {f"{name}, first poll": first for name, first in first_poll.items()}
    return {**harmless(), **counts, **lists, **missing, **firsts}


def other_id() -> Row:
    """Return the row of a get that returns another revision."""
    first, later = "wait_for_phase, first poll", "wait_for_phase, later poll"
    return {**harmless(), "get_revision": DecodeError, first: DecodeError, later: Outage(DecodeError)}


def no_next_page() -> Row:
    """Return the row of a workloads list whose next page cannot be found."""
    first = "discovery, first listing"
    return {**harmless(), "list_workloads": DecodeError, first: Outage(DecodeError)}


def as_token(plain: Row, outcome: Outcome) -> Row:
    """Return a row in which the exchange of a token has another outcome."""
    return {**plain, "token v1": outcome, "token v2": outcome}


def status(number: int, plain: Row) -> dict[str, Row]:
    """Return the rows of a status that has the same outcome whatever the body is."""
    return {f"{number} with {body}": plain for body in BODIES}


EXPECTED: dict[str, Row] = {
    "connection refused": everywhere(outage(TransportError)),
    "reset before the headers": outage(TransportError),
    "reset in the headers": outage(TransportError),
    "reset in the body": outage(TransportError),
    "closed before the headers": outage(TransportError),
    "closed in the headers": outage(TransportError),
    "body cut off": outage(TransportError),
    "chunked body cut off": outage(TransportError),
    "body too long, length given": lasting(TransportError),
    "body too long, length not given": lasting(TransportError),
    "body too long, chunked": lasting(TransportError),
    "gzip bomb": lasting(TransportError),
    "endless body": lasting(TransportError),
    "a byte a second, headers too": outage(AttemptTimeoutError),
    "a byte a second in the body": outage(AttemptTimeoutError),
    "hang before the headers": outage(AttemptTimeoutError),
    "hang in the headers": outage(AttemptTimeoutError),
    "hang in the body": outage(AttemptTimeoutError),
    "hang, and the deadline comes first": lasting(DeadlineExceededError),
    "endless interim responses": outage(AttemptTimeoutError),
    "good response, then the connection ends": harmless(),
    "good JSON labelled text/html": harmless(),
    "good JSON without a content type": harmless(),
    "unknown charset": harmless(),
    "unknown content encoding": harmless(),
    "labelled gzip, but is not": outage(TransportError),
    "gzip cut off": outage(TransportError),
    "bytes that are not UTF-8": outage(DecodeError),
    "UTF-16": outage(DecodeError),
    "good JSON with 203": harmless(),
    "header line of 16 KiB": outage(TransportError),
    "a thousand headers": outage(TransportError),
    "endless headers": outage(AttemptTimeoutError),
    "not HTTP at all": outage(TransportError),
    "two lengths that differ": outage(TransportError),
    "length that is not a number": outage(TransportError),
    "chunk size that is not a number": outage(TransportError),
    "interim response first": harmless(),
    "second, unsolicited response": harmless(),
    "301 to another origin": lasting(ApiError),
    "302 to another origin": lasting(ApiError),
    "307 to another origin": lasting(ApiError),
    **status(400, lasting(ApiError)),
    "400 with the API's error": as_token(lasting(ApiError), AuthenticationError),
    **status(401, as_token(outage(AuthenticationError), ApiError)),
    "401 with the API's error": refused_token(),
    **status(403, as_token(lasting(PermissionDeniedError), ApiError)),
    **status(404, as_token(lasting(NotFoundError), ApiError)),
    **status(409, lasting(ApiError)),
    **status(418, lasting(ApiError)),
    **status(429, outage(RateLimitError)),
    **status(500, outage(InternalServerError)),
    **status(502, outage(ServerError)),
    **status(503, outage(ServiceUnavailableError)),
    **status(504, outage(ServerError)),
    "503 with a Retry-After of an hour": lasting(ServiceUnavailableError),
    "403 with the API's error": as_token(forbidden(), AuthenticationError),
    "404 with the API's error": as_token(not_found(), ApiError),
    "200 with HTML": outage(DecodeError),
    "200 with nothing": outage(DecodeError),
    "200 with half of the JSON": outage(DecodeError),
    "200 with other JSON": other_shape(),
    "200 with null": other_shape(),
    "200 with an array": other_shape(),
    "204": outage(DecodeError),
    "zero times": harmless(),
    "empty times": harmless(),
    "times in nanoseconds": harmless(),
    "half of a character": harmless(),
    "ids in capitals": harmless(),
    "ids without dashes": harmless(),
    "null instead of a list": empty_list(),
    "an empty object instead of a list": empty_list(),
    "the next page as text": harmless(),
    "the next page as a fraction": harmless(),
    "the next page is not a number": no_next_page(),
    "a get of another id": other_id(),
    "an item without required fields": broken_neighbour(),
    "an item with NaN": broken_neighbour(),
    "an item with a raw tab": broken_neighbour(),
    "an item nested too deep": broken_neighbour(),
    "a byte order mark": harmless(),
    "gzip with trailing zeros": harmless(),
    "gzip, then identity": harmless(),
    "429 with a Retry-After of five minutes": lasting(RateLimitError),
    "503 with a Retry-After of five minutes": lasting(ServiceUnavailableError),
    "503 with a Retry-After of zero": outage(ServiceUnavailableError),
    "503 with a Retry-After of years ago": outage(ServiceUnavailableError),
    "503 with a Retry-After by a clock ahead": outage(ServiceUnavailableError),
    "token refused, 400": denied(),
    "token refused, 401": everywhere(refused_token()),
    "token endpoint behind a login page, 401": everywhere(lasting(ApiError)),
    "token refused, 403": denied(),
    "token endpoint missing, 404": everywhere(lasting(ApiError)),
    "token response without a token": everywhere(other_shape()),
    "token that fits no header": everywhere(other_shape()),
    "token response that is not JSON": everywhere(lasting(DecodeError)),
    "token endpoint down, 503": everywhere(lasting(ServiceUnavailableError)),
    "token endpoint resets": everywhere(lasting(TransportError)),
    "token endpoint hangs": everywhere(lasting(AttemptTimeoutError)),
    "token expired, the next one is valid": harmless(),
    "the wall clock jumps a day ahead": harmless(),
    "the wall clock jumps a day back": harmless(),
    "identity restarts": restarting(ServiceUnavailableError),
    "authorization restarts": restarting(PermissionDeniedError),
    "read model restarts, empty": read_model(EMPTY, wait_for_phase=NotFoundError),
    "read model restarts, 404": read_model(NotFoundError),
    "starting up: 200 of another shape once": restarting(DecodeError),
    "young tokens refused": harmless(),
}
CELLS = {(name, operation): out for name, outcomes in EXPECTED.items() for operation, out in outcomes.items()}
TOTALS = f"{len(EXPECTED)} faults, {len(OPERATIONS)} situations, {len(CELLS)} cells"


# --- as Markdown --------------------------------------------------------------------------------------------


def markdown() -> str:
    """Return the table, with equal rows and equal columns combined."""
    columns = _equal_columns()
    lines = [
        f"{TOTALS}:",
        "",
        "| fault | " + " | ".join("; ".join(column) for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for outcomes, names in _equal_rows([column[0] for column in columns]).items():
        lines.append("| " + " | ".join([_short(names), *map(_cell, outcomes)]) + " |")
    return "\n".join(lines)


def _equal_rows(operations: list[str]) -> dict[tuple[Outcome, ...], list[str]]:
    """Group the faults that have the same outcomes in these operations."""
    rows: dict[tuple[Outcome, ...], list[str]] = {}
    for name, outcomes in EXPECTED.items():
        rows.setdefault(tuple(outcomes[operation] for operation in operations), []).append(name)
    return rows


def _equal_columns() -> list[list[str]]:
    """Group the operations that have the same outcome for every fault."""
    columns: dict[tuple[Outcome, ...], list[str]] = {}
    for operation in OPERATIONS:
        outcomes = tuple(outcomes[operation] for outcomes in EXPECTED.values())
        columns.setdefault(outcomes, []).append(operation)
    return list(columns.values())


def _short(names: list[str]) -> str:
    """Join names; those of one status with several bodies become one."""
    parts = []
    for start, same in groupby(names, lambda name: name.partition(" with ")[0]):
        ends = [name.partition(" with ")[2] for name in same]
        parts.append(f"{start} with {' / '.join(ends)}" if all(ends) else start)
    return "; ".join(parts)


def _cell(outcome: Outcome) -> str:
    match outcome:
        case Failed(error):
            return f"`WorkloadFailed`: `{error.__name__}`"
        case Outage():
            return "`WatchOutageError`"
        case str():
            return outcome
        case _:
            return f"`{outcome.__name__}`"


if __name__ == "__main__":
    print(markdown())  # noqa: T201

"""What every fault of `faults.py` comes to in every operation; run it to print the table of README.md."""

from collections.abc import Iterator, Mapping
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
)
from support.faults import BODIES


@frozen
class Told:
    """What a `WorkloadFailed` holds."""

    error: type[RunaiError]


@frozen
class Outage:
    """A `WatchOutageError`, and what the last poll failed with."""

    last_error: type[RunaiError]


VALUE = "value"
Outcome = str | type | Told | Outage
"""What a cell holds: VALUE, the class of an error or event, or one that holds another."""
Row = Mapping[str, Outcome]

CALLS = (
    "list_revisions",
    "count_revisions",
    "get_revision",
    "revision_history",
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
    "wait_for_phase, first look",
    "wait_for_phase, later look",
    "wait_for_rollout, first look",
    "wait_for_rollout, later look",
)


def row(
    call: Outcome,
    passing: Outcome,
    *,
    watch: tuple[Outcome, Outcome, Outcome],
    fleet: tuple[Outcome, Outcome, Outcome],
    phase: tuple[Outcome, Outcome],
    rollout: tuple[Outcome, Outcome],
) -> Row:
    """Return a row of the table: the outcome by operation."""
    outcomes = (*[call] * len(CALLS), passing, *watch, *fleet, *phase, *rollout)
    return dict(zip(OPERATIONS, outcomes, strict=True))


def harmless() -> Row:
    """Return the row of what is no fault to this client."""
    events = (RevisionAdded, PhaseChanged, PhaseChanged)
    return row(VALUE, VALUE, watch=events, fleet=events, phase=(VALUE, VALUE), rollout=(VALUE, VALUE))


def outage(error: type[RunaiError], *, passing: Outcome = VALUE) -> Row:
    """Return the row of what may pass: a call is repeated, a watch goes on until its patience ends."""
    gone = Outage(error)
    events = (gone, gone, PhaseChanged)
    return row(error, passing, watch=events, fleet=events, phase=(gone, gone), rollout=(gone, gone))


def lasting(error: type[RunaiError]) -> Row:
    """Return the row of an outage that a second attempt does not mend, or that none is made for."""
    return outage(error, passing=error)


def other_shape() -> Row:
    """Return the row of JSON that is not the API's: as the very first answer, waiting does not mend it."""
    error, gone = DecodeError, Outage(DecodeError)
    return row(
        error,
        error,
        watch=(error, gone, PhaseChanged),
        fleet=(Told(error), gone, PhaseChanged),
        phase=(error, gone),
        rollout=(error, gone),
    )


def denied() -> Row:
    """Return the row of what ends everything at once."""
    error = AuthenticationError
    events = (error, error, error)
    return row(error, error, watch=events, fleet=events, phase=(error, error), rollout=(error, error))


def forbidden() -> Row:
    """Return the row of a refusal, which is believed after a while."""
    error = PermissionDeniedError
    return row(
        error,
        error,
        watch=(error, error, PhaseChanged),
        fleet=(Told(error), Told(error), PhaseChanged),
        phase=(error, error),
        rollout=(error, error),
    )


def not_found() -> Row:
    """Return the row of a refusal that, once the thing was seen, means that it was deleted."""
    error = NotFoundError
    return row(
        error,
        error,
        watch=(error, RevisionDeleted, PhaseChanged),
        fleet=(Told(error), RevisionDeleted, PhaseChanged),
        phase=(error, PhaseFailedError),
        rollout=(error, RolloutFailedError),
    )


def as_token(plain: Row, outcome: Outcome) -> Row:
    """Return a row in which the exchange of a token ends in another way."""
    return {**plain, "token v1": outcome, "token v2": outcome}


def status(number: int, plain: Row) -> dict[str, Row]:
    """Return the rows of a status that means the same whatever the body is."""
    return {f"{number} with {body}": plain for body in BODIES}


EXPECTED: dict[str, Row] = {
    "connection refused": outage(TransportError),
    "reset before the headers": outage(TransportError),
    "reset in the headers": outage(TransportError),
    "reset in the body": outage(TransportError),
    "closed before the headers": outage(TransportError),
    "closed in the headers": outage(TransportError),
    "body cut off": outage(TransportError),
    "chunked body cut off": outage(TransportError),
    "over-long body, its length told": lasting(TransportError),
    "over-long body, its length not told": lasting(TransportError),
    "over-long body, chunked": lasting(TransportError),
    "gzip bomb": lasting(TransportError),
    "body without end": lasting(TransportError),
    "a byte a second, headers too": outage(AttemptTimeoutError),
    "a byte a second in the body": outage(AttemptTimeoutError),
    "hang before the headers": outage(AttemptTimeoutError),
    "hang in the headers": outage(AttemptTimeoutError),
    "hang in the body": outage(AttemptTimeoutError),
    "hang, and the deadline comes first": lasting(DeadlineExceededError),
    "interim answers without end": outage(AttemptTimeoutError),
    "a good answer, then the end": harmless(),
    "good JSON called text/html": harmless(),
    "good JSON of no type": harmless(),
    "a charset that there is not": harmless(),
    "an encoding that there is not": harmless(),
    "called gzip, but is not": outage(TransportError),
    "gzip cut off": outage(TransportError),
    "bytes that are no UTF-8": outage(DecodeError),
    "UTF-16": outage(DecodeError),
    "good JSON with 203": harmless(),
    "a header line of 16 KiB": outage(TransportError),
    "a thousand headers": outage(TransportError),
    "headers without end": outage(AttemptTimeoutError),
    "no HTTP at all": outage(TransportError),
    "two lengths that differ": outage(TransportError),
    "a length that is no number": outage(TransportError),
    "a chunk size that is no number": outage(TransportError),
    "an interim answer first": harmless(),
    "a second answer that nobody asked for": harmless(),
    "301 to another origin": lasting(ApiError),
    "302 to another origin": lasting(ApiError),
    "307 to another origin": lasting(ApiError),
    **status(400, lasting(ApiError)),
    "400 with the API's error": as_token(lasting(ApiError), AuthenticationError),
    **status(401, denied()),
    **status(403, as_token(lasting(PermissionDeniedError), ApiError)),
    **status(404, as_token(lasting(NotFoundError), ApiError)),
    **status(409, lasting(ApiError)),
    **status(418, lasting(ApiError)),
    **status(429, outage(RateLimitError)),
    **status(500, outage(InternalServerError)),
    **status(502, outage(ServerError)),
    **status(503, outage(ServiceUnavailableError)),
    **status(504, outage(ServerError)),
    "503 that asks for an hour": lasting(ServiceUnavailableError),
    "403 with the API's error": as_token(forbidden(), AuthenticationError),
    "404 with the API's error": as_token(not_found(), ApiError),
    "200 with HTML": outage(DecodeError),
    "200 with nothing": outage(DecodeError),
    "200 with half of the JSON": outage(DecodeError),
    "200 with other JSON": other_shape(),
    "200 with null": other_shape(),
    "200 with an array": other_shape(),
    "204": outage(DecodeError),
    "token refused, 400": denied(),
    "token refused, 401": denied(),
    "token refused, 403": denied(),
    "token endpoint missing, 404": lasting(ApiError),
    "token answer without a token": other_shape(),
    "token of characters that no header takes": other_shape(),
    "token answer that is no JSON": lasting(DecodeError),
    "token endpoint down, 503": lasting(ServiceUnavailableError),
    "token endpoint resets": lasting(TransportError),
    "token endpoint hangs": lasting(AttemptTimeoutError),
    "token expired, the next is good": harmless(),
    "the wall clock jumps a day ahead": harmless(),
    "the wall clock jumps a day back": harmless(),
}
CELLS = {(name, operation): out for name, outcomes in EXPECTED.items() for operation, out in outcomes.items()}
SUMS = f"{len(EXPECTED)} faults, {len(OPERATIONS)} situations, {len(CELLS)} cells"


# --- as Markdown --------------------------------------------------------------------------------------------


def markdown() -> str:
    """Return the table, like rows and like columns as one."""
    columns = [list(same) for same in _like_columns()]
    lines = [
        f"{SUMS}:",
        "",
        "| fault | " + " | ".join("; ".join(column) for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for outcomes, names in groupby(EXPECTED, lambda name: [EXPECTED[name][column[0]] for column in columns]):
        cells = [_short(list(names)), *map(_cell, outcomes)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _like_columns() -> Iterator[list[str]]:
    """Group the operations that no fault tells apart."""
    columns: dict[tuple[Outcome, ...], list[str]] = {}
    for operation in OPERATIONS:
        outcomes = tuple(outcomes[operation] for outcomes in EXPECTED.values())
        columns.setdefault(outcomes, []).append(operation)
    yield from columns.values()


def _short(names: list[str]) -> str:
    """Join names, those of one status with several bodies as one."""
    parts = []
    for start, same in groupby(names, lambda name: name.partition(" with ")[0]):
        ends = [name.partition(" with ")[2] for name in same]
        parts.append(f"{start} with {' / '.join(ends)}" if all(ends) else start)
    return "; ".join(parts)


def _cell(outcome: Outcome) -> str:
    match outcome:
        case Told(error):
            return f"`WorkloadFailed`: `{error.__name__}`"
        case Outage():
            return "`WatchOutageError`"
        case str():
            return outcome
        case _:
            return f"`{outcome.__name__}`"


if __name__ == "__main__":
    print(markdown())  # noqa: T201

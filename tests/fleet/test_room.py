"""Which polls of a fleet may begin: the room for those that fail, pauses, and probes."""

from hypothesis import given
from hypothesis import strategies as st

from runai_async._fleet.room import Room, Ticket


def begun(room: Room, *, failing: bool = False) -> Ticket | None:
    """Begin a poll if there is room."""
    return room.begin(is_failing=failing) if room.has_room(is_failing=failing) else None


def test_those_that_fail_have_half_of_the_room() -> None:
    room = Room(4)
    tickets = [begun(room, failing=True) for _ in range(3)]
    assert [ticket is not None for ticket in tickets] == [True, True, False]
    assert [begun(room) is not None for _ in range(3)] == [True, True, False]
    assert tickets[0] is not None
    room.end(tickets[0])
    assert begun(room, failing=True) is not None


def test_a_fleet_with_room_for_one_polls_those_that_fail_too() -> None:
    assert begun(Room(1), failing=True) is not None


def test_while_the_token_is_refused_one_poll_probes_and_those_from_before_do_not_count() -> None:
    room = Room(4)
    before = begun(room)
    room.hold(10.0)
    assert room.blocked_until == 10
    probe = begun(room)
    assert before is not None
    assert probe is not None
    assert begun(room) is None
    room.end(before)
    assert begun(room) is None
    room.end(probe)
    assert begun(room) is not None


def test_a_release_ends_what_began_for_the_token_and_no_other_pause() -> None:
    room = Room(4)
    room.pause(300.0)
    room.hold(10.0)
    room.release()
    assert room.blocked_until == 300
    assert all(begun(room) is not None for _ in range(4))


def test_a_probe_that_ends_after_the_release_makes_no_room_in_the_next_pause() -> None:
    room = Room(4)
    room.hold(10.0)
    late = begun(room)
    room.release()
    room.hold(20.0)
    probe = begun(room)
    assert late is not None
    assert probe is not None
    room.end(late)
    assert begun(room) is None


@given(st.integers(1, 8), st.lists(st.sampled_from(["poll", "failing", "end", "hold", "release", "pause"])))
def test_no_more_polls_are_in_flight_than_allowed(most: int, steps: list[str]) -> None:
    room, tickets = Room(most), list[Ticket]()
    for step in steps:
        match step:
            case "poll" | "failing":
                if (ticket := begun(room, failing=step == "failing")) is not None:
                    tickets.append(ticket)
            case "end":
                if tickets:
                    room.end(tickets.pop(0))
            case "hold":
                room.hold(1.0)
            case "release":
                room.release()
            case _:
                room.pause(1.0)
        assert room.in_flight == len(tickets) <= most
        assert sum(ticket.is_failing for ticket in tickets) <= max(1, most // 2)
    for ticket in tickets:
        room.end(ticket)
    room.release()
    assert room.has_room(is_failing=True)

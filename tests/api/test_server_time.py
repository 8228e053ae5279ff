"""The server's clock, as its `Date` headers show it."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from runai_async._api.server_time import ServerTime, parse_date
from runai_async.testing import FakeClock


def dated(clock: FakeClock, ahead: float) -> dict[str, str]:
    return {"Date": format_datetime(clock.now() + timedelta(seconds=ahead), usegmt=True)}


@pytest.mark.parametrize("ahead", [0.0, 7200.0, -7200.0, 0.4])
async def test_the_offset_is_learnt_to_within_a_second_and_then_better(ahead: float) -> None:
    clock = FakeClock()
    time = ServerTime(clock)
    assert (time.offset, time.is_known) == (0.0, False)
    time.note(dated(clock, ahead))
    assert time.offset == pytest.approx(ahead, abs=1)
    assert time.is_known
    for _ in range(100):
        await clock.advance(10.3)
        time.note(dated(clock, ahead))

    assert time.offset == pytest.approx(ahead, abs=0.3)
    assert (time.now() - clock.now()).total_seconds() == pytest.approx(time.offset)


async def test_a_clock_that_is_set_is_followed_at_once() -> None:
    clock = FakeClock()
    time = ServerTime(clock)
    time.note(dated(clock, 0))
    await clock.advance(11)
    time.note(dated(clock, 90))

    assert time.offset == pytest.approx(90, abs=1)


async def test_it_is_read_once_in_ten_seconds() -> None:
    clock = FakeClock()
    time = ServerTime(clock)
    time.note(dated(clock, 0))
    await clock.advance(9)
    time.note(dated(clock, 90))

    assert time.offset == pytest.approx(0, abs=1)


@pytest.mark.parametrize("value", [None, "", "yesterday", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_what_is_not_a_date_is_ignored(value: str | None) -> None:
    time = ServerTime(FakeClock())
    time.note({} if value is None else {"Date": value})

    assert not time.is_known


def test_a_date_without_a_zone_is_in_utc() -> None:
    date = parse_date("Thu, 01 Jan 2026 00:00:00 -0000")

    assert date is not None
    assert date.utcoffset() == timedelta(0)

"""Roll-ups and rows share out what has ended among them: each instant is told of once, and by what is final."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.rollup import DAY, HOUR, KEPT, MINUTE, SETTLED_AFTER, Level, Progress, counted, floor

NOW = datetime(2026, 3, 31, 14, 27, 33, tzinfo=UTC)
BEGINNING = floor(NOW - 30 * DAY, HOUR)
UP_TO_DATE = Progress(
    minutes=floor(NOW, MINUTE),
    settled=floor(NOW - SETTLED_AFTER, MINUTE),
    hours=floor(NOW, HOUR),
    days=floor(NOW, DAY),
)


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    """Any that there may be, some of them from before the clock was set back."""
    minutes = NOW + timedelta(minutes=draw(st.integers(-40 * 24 * 60, 3 * 60)))
    settled = minutes - timedelta(minutes=draw(st.integers(0, 300)))
    hours = settled - timedelta(hours=draw(st.integers(0, 60)))
    days = hours - timedelta(days=draw(st.integers(0, 40)))
    return Progress(floor(minutes, MINUTE), floor(settled, MINUTE), floor(hours, HOUR), floor(days, DAY))


@given(progresses())
def test_each_instant_is_told_of_once_up_to_the_one_from_which_rows_tell(progress: Progress) -> None:
    pieces, since = counted(progress, BEGINNING, NOW)
    told = BEGINNING
    for piece in pieces:
        assert piece.start == told < piece.end
        assert (floor(piece.start, piece.level.width), floor(piece.end, piece.level.width)) == (piece.start, piece.end)
        told = piece.end
    assert told == since <= max(NOW, BEGINNING)


@given(progresses())
def test_only_what_is_final_is_told_of_by_roll_ups(progress: Progress) -> None:
    final = {Level.MINUTE: progress.settled, Level.HOUR: progress.hours, Level.DAY: progress.days}
    for piece in counted(progress, BEGINNING, NOW)[0]:
        assert piece.end <= min(final[piece.level], NOW)


@given(progresses())
def test_no_minute_is_told_of_by_a_roll_up_that_beat_may_remove_while_it_is_asked_for(progress: Progress) -> None:
    kept_from = NOW + timedelta(minutes=1) - KEPT[Level.MINUTE]
    for piece in counted(progress, BEGINNING, NOW)[0]:
        assert piece.level is not Level.MINUTE or piece.start > kept_from


def test_of_thirty_days_few_roll_ups_are_read() -> None:
    pieces, since = counted(UP_TO_DATE, BEGINNING, NOW)
    assert [piece.level for piece in pieces] == [Level.HOUR, Level.DAY, Level.HOUR, Level.MINUTE]
    assert sum((piece.end - piece.start) // piece.level.width for piece in pieces) == 10 + 29 + 14 + 22
    assert since == floor(NOW - SETTLED_AFTER, MINUTE)


def test_where_nothing_is_rolled_up_rows_tell_all() -> None:
    assert counted(Progress(*[BEGINNING - DAY] * 4), BEGINNING, NOW) == ((), BEGINNING)
    assert counted(Progress.beginning(BEGINNING - 5 * DAY), BEGINNING, NOW) == ((), BEGINNING)

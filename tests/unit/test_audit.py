"""The audit finds nothing in a ledger as beats write it, and each kind of fault in one that was tampered with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.audit import (
    Entry,
    Epoch,
    Fault,
    Finding,
    JobAudit,
    LedgerRow,
    Step,
    View,
    epochs_of,
    path_fault,
    within_history,
)
from shared.domain.execution import State, backfill_execution_id, row_id
from shared.domain.occurrences import upcoming
from shared.domain.overrides import Override
from shared.domain.plan import Mode, Spec
from shared.domain.schedule import parse_schedule
from tests.builders import ORIGIN, at, every, once, spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.domain.schedule import Schedule

UID = "uid"
LATER = at(10**9)
"""After whatever is looked at."""
INSTANT = timedelta(microseconds=1)


def fire(seconds: float, epoch: int = 0, **changes: object) -> LedgerRow:
    """A run that succeeded."""
    first = at(seconds)
    path = (State.PENDING, State.QUEUED, State.RUNNING, State.SUCCEEDED)
    row = LedgerRow(row_id(UID, epoch, first), epoch, path[-1], True, first, first, 1, first, steps(first, *path))
    return replace(row, **changes)  # type: ignore[arg-type]


def gap(first: float, last: float, count: int, epoch: int = 0, state: State = State.SKIPPED) -> LedgerRow:
    """A decision not to run."""
    when = at(last)
    return LedgerRow(
        row_id(UID, epoch, at(first)), epoch, state, False, at(first), when, count, when, steps(when, state)
    )  # fmt: skip


def closing(first: float | None, reached: float, epoch: int = 0) -> LedgerRow:
    stands = None if first is None else at(first)
    return LedgerRow(row_id(UID, epoch, stands), epoch, State.CLOSED, None, stands, at(reached), 0, at(reached), ())


def steps(when: datetime, *states: State) -> tuple[Step, ...]:
    return tuple(Step(number, state, when) for number, state in enumerate(states, start=1))


def one_epoch(followed: Spec | None = None) -> list[Epoch]:
    return epochs_of([Entry(0, ORIGIN, followed or spec())])


def two_epochs(ended: float, second: Spec | None = None) -> list[Epoch]:
    return epochs_of([Entry(0, ORIGIN, spec()), Entry(1, at(ended), second or spec())])


def audited(
    rows: Iterable[LedgerRow],
    epochs: list[Epoch] | None = None,
    *,
    due: float | None = None,
    begins: float | None = None,
    ends: datetime = LATER,
) -> list[Finding]:
    """Audit rows of a job that fires every second; due: until when all has to be decided, of an active job."""
    view = View(None if begins is None else at(begins), ends)
    due_through = None if due is None else at(due)
    judge = JobAudit(UID, epochs or one_epoch(), view, due_through=due_through, read_at=LATER)
    found = [finding for row in sorted(rows, key=lambda row: row.execution_id) for finding in judge.take(row)]
    return found + judge.finish()


def faults(found: list[Finding]) -> list[str]:
    return [finding.fault.value for finding in found]


class TestOverrides:
    followed = Spec(
        every(2),
        Mode.ACTIVE,
        (Override(at(4), None, "alice", "", ORIGIN), Override(at(6), at(9), "alice", "", ORIGIN)),
    )

    def audited(self, *rows: LedgerRow) -> list[Finding]:
        return audited(rows, one_epoch(self.followed), due=9)

    def test_what_is_left_out_and_what_was_moved_are_decided_once_each(self) -> None:
        assert self.audited(fire(2), gap(4, 4, 1), gap(6, 6, 1), fire(8), fire(9)) == []

    def test_a_run_of_what_was_to_be_left_out_is_found(self) -> None:
        for wrong, rows in ((4, [fire(4), gap(6, 6, 1)]), (6, [gap(4, 4, 1), fire(6)])):
            (found,) = self.audited(fire(2), *rows, fire(8), fire(9))
            assert (found.fault, found.first) == (Fault.OVERRIDDEN, at(wrong))

    def test_a_moved_one_that_never_ran_is_found(self) -> None:
        (found,) = self.audited(fire(2), gap(4, 4, 1), gap(6, 6, 1), fire(8))
        assert (found.fault, found.first, found.count) == (Fault.MISSING, at(9), 1)


class TestBackfills:
    def test_the_id_of_an_execution_says_which_time_of_which_backfill_it_runs(self) -> None:
        path = (State.PENDING, State.RUNNING, State.FAILED)
        right = backfill_execution_id(UID, "one", at(5))
        row = LedgerRow(right, None, path[-1], True, at(5), None, 1, at(9), steps(at(9), *path), backfill="one")
        assert audited([row]) == []
        for wrong in (replace(row, first=at(6)), replace(row, backfill="two")):
            (found,) = audited([wrong])
            assert (found.fault, found.execution_id) == (Fault.BROKEN_CHAIN, right)


class TestOccurrences:
    def test_a_ledger_without_holes_is_clean(self) -> None:
        assert audited([fire(1), fire(2), gap(3, 10, 8), fire(11)], due=11) == []

    def test_a_hole_is_one_finding_with_its_first_last_and_count(self) -> None:
        (found,) = audited([fire(1), fire(5)])
        assert (found.fault, found.first, found.last, found.count) == (Fault.MISSING, at(2), at(4), 3)
        assert found.execution_id == ""

    def test_what_is_due_and_not_decided_is_missing_once_it_is_overdue(self) -> None:
        rows = [fire(1), fire(2)]
        assert audited(rows, due=2.9) == []
        (found,) = audited(rows, due=4)
        assert (found.fault, found.first, found.last, found.count) == (Fault.MISSING, at(3), at(4), 2)

    def test_nothing_has_to_be_decided_for_a_job_that_is_set_aside(self) -> None:
        assert audited([fire(1)], due=None) == []

    def test_a_job_without_any_row_lacks_all_that_was_due(self) -> None:
        (found,) = audited([], due=100)
        assert (found.fault, found.first, found.count) == (Fault.MISSING, at(1), 100)

    def test_a_billion_missing_occurrences_are_counted_not_gone_through(self) -> None:
        (found,) = audited([], due=10**9)
        assert found.count == 10**9

    def test_rows_that_overlap_decide_twice(self) -> None:
        (found,) = audited([gap(1, 5, 5), fire(4), gap(6, 7, 2)])
        assert (found.fault, found.execution_id, found.first, found.count) == (
            Fault.DOUBLED, row_id(UID, 0, at(4)), at(4), 1,
        )  # fmt: skip
        (found,) = audited([gap(1, 5, 5), gap(4, 8, 5)])
        assert (found.fault, found.first, found.last, found.count) == (Fault.DOUBLED, at(4), at(5), 2)

    def test_a_second_row_of_one_occurrence_decides_twice(self) -> None:
        again = replace(fire(2), execution_id=row_id(UID, 0, at(2)) + "-again")
        (found,) = audited([fire(1), fire(2), again, fire(3)])
        assert (found.fault, found.execution_id) == (Fault.DOUBLED, again.execution_id)

    def test_a_row_between_two_occurrences_covers_none(self) -> None:
        found = audited([fire(1), fire(1.5), fire(2)])
        assert faults(found) == ["NO_OCCURRENCE"]
        assert at(2).isoformat().replace("+00:00", "Z") in found[0].detail

    def test_a_gap_row_has_to_end_at_an_occurrence_and_to_count_right(self) -> None:
        assert faults(audited([gap(1, 2.5, 2), fire(3)])) == ["NO_OCCURRENCE"]
        assert faults(audited([gap(1, 5, 4)])) == ["WRONG_COUNT"]
        assert faults(audited([replace(fire(1), count=2)])) == ["WRONG_COUNT"]
        assert faults(audited([replace(fire(1), last=at(3), count=3)])) == ["WRONG_COUNT"]

    def test_a_row_that_ends_before_it_begins_covers_nothing(self) -> None:
        assert faults(audited([replace(gap(3, 4, 2), last=at(2))])) == ["NO_OCCURRENCE"]

    def test_what_a_schedule_skips_is_not_missing(self) -> None:
        weekdays = parse_schedule(
            type="cron", config={"expression": "0 8 * * MON-FRI"}, timezone="America/New_York", now=ORIGIN, hash_key=""
        )
        times = upcoming(weekdays, ORIGIN, 300)  # over both changes of the clocks
        rows = [fire((time - ORIGIN).total_seconds()) for time in times]
        assert audited(rows, one_epoch(spec(weekdays)), due=(times[-1] - ORIGIN).total_seconds()) == []
        (found,) = audited(rows[:100] + rows[101:], one_epoch(spec(weekdays)))
        assert (found.fault, found.first, found.count) == (Fault.MISSING, times[100], 1)

    def test_a_once_that_lies_just_before_its_creation_counts(self) -> None:
        when = at(-30)
        epochs = epochs_of([Entry(0, when - timedelta(milliseconds=1), spec(once(when)))])
        assert audited([fire(-30)], epochs, due=100) == []
        assert faults(audited([], epochs, due=100)) == ["MISSING"]

    def test_a_row_whose_id_is_not_its_own_can_be_there_again(self) -> None:
        assert faults(audited([replace(fire(1), execution_id="uid.0.20260302T120001.5Z")])) == ["BROKEN_CHAIN"]


class TestEpochs:
    def test_each_epoch_is_held_against_its_own_schedule(self) -> None:
        rows = [fire(1), fire(2), closing(3, 2.5), fire(5, 1), fire(10, 1), fire(15, 1)]
        assert audited(rows, two_epochs(2.5, spec(every(5))), due=19) == []
        assert faults(audited(rows, two_epochs(2.5, spec(every(10))))) == ["NO_OCCURRENCE", "NO_OCCURRENCE"]

    def test_an_epoch_that_ended_has_its_closing_row_where_the_next_begins(self) -> None:
        assert faults(audited([fire(1), fire(2), fire(3, 1)], two_epochs(2.5))) == ["BROKEN_CHAIN"]
        assert faults(audited([fire(1), fire(2), closing(3, 2.1), fire(3, 1)], two_epochs(2.5))) == ["BROKEN_CHAIN"]
        assert faults(audited([fire(1), fire(2), closing(4, 2.5), fire(3, 1)], two_epochs(2.5))) == ["BROKEN_CHAIN"]

    def test_nothing_stands_behind_a_closing_row(self) -> None:
        rows = [fire(1), fire(2), closing(3, 2.5), fire(4), fire(3, 1)]
        (found,) = audited(rows, two_epochs(2.5))
        assert (found.fault, found.execution_id) == (Fault.BROKEN_CHAIN, row_id(UID, 0, at(4)))

    def test_an_epoch_is_closed_once(self) -> None:
        rows = [fire(1), fire(2), closing(3, 2.5), closing(None, 2.5), fire(3, 1)]
        assert faults(audited(rows, two_epochs(2.5))) == ["BROKEN_CHAIN"]

    def test_a_closing_row_covers_no_less_than_the_rows_before_it(self) -> None:
        assert "BROKEN_CHAIN" in faults(audited([fire(1), gap(2, 4, 3), closing(5, 2.5), fire(3, 1)], two_epochs(2.5)))

    def test_an_occurrence_before_the_cutoff_is_missing_although_the_epoch_is_closed(self) -> None:
        (found,) = audited([fire(1), closing(3, 2.5), fire(3, 1)], two_epochs(2.5))
        assert (found.fault, found.first, found.count) == (Fault.MISSING, at(2), 1)

    def test_an_occurrence_that_two_epochs_decide_is_decided_twice(self) -> None:
        rows = [fire(1), fire(2), closing(3, 2.5), fire(2, 1), fire(3, 1)]
        (found,) = audited(rows, two_epochs(2.5))
        assert (found.fault, found.execution_id) == (Fault.DOUBLED, row_id(UID, 1, at(2)))
        rows = [fire(1), gap(2, 4, 3), closing(3, 2.5), fire(3, 1)]
        assert "DOUBLED" in faults(audited(rows, two_epochs(2.5)))

    def test_the_tenth_epoch_follows_the_ninth(self) -> None:
        """Although the ids of its rows sort before those of the second."""
        entries = [Entry(number, at(number * 10), spec()) for number in range(12)]
        rows = [
            row
            for number in range(12)
            for row in (
                gap(number * 10 + 1, number * 10 + 10, 10, number),
                closing(number * 10 + 11, number * 10 + 10, number),
            )
        ]
        assert audited(rows[:-1], epochs_of(entries), due=120) == []

    def test_the_stretch_of_a_pause_is_decided_when_it_ends(self) -> None:
        epochs = two_epochs(2.5, spec(mode=Mode.PAUSED))
        assert audited([fire(1), fire(2), closing(3, 2.5)], epochs, due=None) == []
        ended = [*epochs[:1], replace(epochs[1], ended=at(9)), Epoch(2, spec(), at(9), None)]
        rows = [fire(1), fire(2), closing(3, 2.5), closing(10, 9, 1), fire(10, 2)]
        (found,) = audited(rows, ended)
        assert (found.fault, found.first, found.count) == (Fault.MISSING, at(3), 7)
        assert audited([*rows, gap(3, 9, 7, 1)], ended) == []

    def test_after_a_deletion_there_is_nothing_to_decide(self) -> None:
        epochs = two_epochs(2.5, spec(mode=Mode.DELETED))
        rows = [fire(1), fire(2), closing(3, 2.5)]
        assert audited(rows, epochs, due=100) == []
        assert faults(audited([*rows, fire(3, 1)], epochs)) == ["NO_OCCURRENCE"]

    def test_a_schedule_that_ends_is_closed_at_its_end(self) -> None:
        ended = [Entry(0, ORIGIN, spec(every(end=at(3)))), Entry(1, at(50), spec())]
        rows = [fire(1), fire(2), fire(3), closing(None, 50), fire(51, 1)]
        assert audited(rows, epochs_of(ended), due=51) == []

    def test_a_change_that_is_being_installed_is_no_fault(self) -> None:
        """The closing row is there before the history's entry; what comes after it is nobody's to miss yet."""
        assert audited([fire(1), fire(2), closing(3, 2.5)], due=2) == []

    def test_but_a_closed_epoch_that_no_change_waits_to_follow_is_one(self) -> None:
        """Beat would take its own copy of the job for an old one, and never fire it again."""

        def judged(closed_at: float) -> list[Finding]:
            judge = JobAudit(UID, one_epoch(), View(None, LATER), due_through=at(9), read_at=at(5), settled=True)
            rows = [fire(1), fire(2), replace(closing(3, 2.5), decided_at=at(closed_at))]
            return [found for row in rows for found in judge.take(row)] + judge.finish()

        (found,) = judged(4)
        assert (found.fault, found.execution_id) == (Fault.BROKEN_CHAIN, row_id(UID, 0, at(3)))
        assert judged(5) == []

    def test_rows_of_an_epoch_that_the_history_does_not_know_are_a_fault(self) -> None:
        found = audited([fire(1), fire(2, 7)])
        assert (faults(found), found[0].execution_id) == (["NO_HISTORY"], row_id(UID, 7, at(2)))

    def test_but_not_those_decided_after_the_history_was_read(self) -> None:
        judge = JobAudit(UID, one_epoch(), View(None, LATER), due_through=None, read_at=at(2))
        assert judge.take(fire(1)) == []
        assert judge.take(fire(3, 1, decided_at=at(3))) == []
        assert judge.finish() == []

    def test_a_schedule_that_cannot_be_read_is_said_once_not_passed_over(self) -> None:
        epochs = epochs_of([Entry(0, ORIGIN, None, "no such zone"), Entry(1, at(5), spec())])
        (found,) = audited([fire(1), fire(2), closing(6, 5), fire(6, 1)], epochs)
        assert (found.fault, "no such zone" in found.detail) == (Fault.UNREADABLE, True)


class TestMaxRuns:
    """Of a job that fires every second, three times."""

    limited = spec(replace(every(), max_runs=3))

    def audited(self, *rows: LedgerRow, fired: int = 0, begins: float | None = None) -> list[str]:
        epochs = epochs_of([Entry(0, ORIGIN, self.limited, fired=fired)])
        return faults(audited(rows, epochs, due=100, begins=begins))

    def test_after_the_last_run_nothing_is_missing(self) -> None:
        assert self.audited(fire(1), gap(2, 3, 2), fire(4), fire(5)) == []
        assert self.audited(fire(1), fired=2) == []

    def test_before_it_everything_has_to_be_decided(self) -> None:
        assert self.audited(fire(1), gap(2, 3, 2), fire(4)) == ["MISSING"]

    def test_one_run_too_many_is_no_occurrence(self) -> None:
        assert self.audited(fire(1), fire(2), fire(3), fire(4)) == ["NO_OCCURRENCE"]

    def test_an_epoch_that_ran_out_is_closed_at_its_end(self) -> None:
        epochs = epochs_of([Entry(0, ORIGIN, self.limited), Entry(1, at(50), spec(mode=Mode.PAUSED))])
        rows = [fire(1), fire(2), fire(3)]
        assert audited([*rows, closing(None, 50)], epochs) == []
        assert faults(audited([*rows, closing(51, 50)], epochs)) == ["BROKEN_CHAIN"]

    def test_runs_that_were_removed_are_not_taken_for_missing(self) -> None:
        assert self.audited(fire(4), begins=3) == []


class TestView:
    def test_what_was_removed_is_not_missing(self) -> None:
        rows = [fire(4), fire(5)]
        assert faults(audited(rows)) == ["MISSING"]
        assert audited(rows, begins=3) == []
        (found,) = audited(rows, begins=2)
        assert (found.first, found.last, found.count) == (at(3), at(3), 1)

    def test_old_rows_that_are_still_there_are_judged(self) -> None:
        """A long run of last week may have outlived its neighbours."""
        assert audited([fire(2), fire(5)], begins=4) == []
        assert faults(audited([fire(2), fire(2.5), fire(5)], begins=4)) == ["NO_OCCURRENCE"]

    def test_a_closing_row_that_was_removed_is_not_asked_for(self) -> None:
        assert audited([fire(3, 1)], two_epochs(2.5), begins=2.5) == []
        assert faults(audited([fire(2), fire(3, 1)], two_epochs(2.5), begins=1)) == ["BROKEN_CHAIN"]

    def test_a_row_across_the_beginning_of_the_view_covers_what_it_says(self) -> None:
        assert audited([gap(1, 10, 10), fire(11)], begins=5) == []

    def test_what_lies_behind_the_end_of_the_view_is_not_judged(self) -> None:
        rows = [fire(1), fire(2), fire(9)]
        assert audited(rows, ends=at(2)) == []
        (found,) = audited(rows, ends=at(4), due=100)
        assert (found.first, found.last) == (at(3), at(4))
        assert audited([fire(1), fire(2)], two_epochs(5), ends=at(2)) == []

    def test_findings_that_a_removal_meanwhile_explains_are_dropped(self) -> None:
        found = audited([fire(1), fire(1.5), fire(5)])
        assert sorted(faults(found)) == ["MISSING", "NO_OCCURRENCE"]
        assert faults(within_history(found, at(4))) == ["NO_OCCURRENCE"]
        assert within_history(found, at(1.9)) == within_history(found, None) == found


class TestPaths:
    def test_every_path_that_the_table_allows_is_legal(self) -> None:
        legal = [
            (State.PENDING,),
            (State.PENDING, State.RUNNING, State.PENDING, State.QUEUED, State.RUNNING, State.FAILED),
            (State.PENDING, State.QUEUED, State.PENDING, State.CANCELLED),
        ]
        for path in legal:
            assert path_fault(fire(1, state=path[-1], steps=steps(at(1), *path))) is None

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"steps": ()}, "no transitions"),
            ({"steps": steps(at(1), State.RUNNING, State.SUCCEEDED)}, "began as RUNNING"),
            ({"steps": steps(at(1), State.PENDING, State.SUCCEEDED)}, "PENDING became SUCCEEDED in transition 2"),
            (
                {"steps": steps(at(1), State.PENDING, State.CANCELLED, State.RUNNING, State.SUCCEEDED)},
                "CANCELLED became RUNNING in transition 3",
            ),
            ({"state": State.FAILED}, "it is FAILED, but its last transition led to SUCCEEDED"),
            ({"steps": fire(1).steps[:2] + fire(1).steps[3:]}, "transition 3 has the number 4"),
            (
                {"steps": (*fire(1).steps[:3], Step(4, State.SUCCEEDED, at(0)))},
                "transition 4 is older than the one before it",
            ),
            ({"run": None}, "neither a run nor a decision"),
        ],
    )
    def test_a_path_that_it_does_not_allow_is_found(self, changes: dict[str, Any], said: str) -> None:
        (found,) = audited([fire(1, **changes), fire(2)])
        assert (found.fault, found.execution_id) == (Fault.ILLEGAL_PATH, row_id(UID, 0, at(1)))
        assert said in found.detail

    def test_a_decision_not_to_run_has_one_step(self) -> None:
        wrong = replace(gap(1, 2, 2), steps=steps(at(2), State.SKIPPED, State.COALESCED), state=State.COALESCED)
        assert faults(audited([wrong])) == ["ILLEGAL_PATH"]

    def test_runs_by_hand_are_no_part_of_the_chain_but_have_a_path(self) -> None:
        by_hand = fire(1.3, epoch=None, execution_id="uid.m.1", last=None)  # type: ignore[arg-type]
        assert audited([fire(1), by_hand, fire(2)]) == []
        assert faults(audited([fire(1), replace(by_hand, steps=by_hand.steps[1:])])) == ["ILLEGAL_PATH"]


# Any ledger that follows the rules is clean, and none of it can be changed unnoticed:


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[list[Epoch], list[LedgerRow], float]:
    """A job's epochs and rows, as some beats might have written them, and until when all is decided."""
    schedules: list[Schedule] = [every(1), every(7), every(60)]
    began = 0.0
    rows: list[LedgerRow] = []
    entries: list[Entry] = []
    numbers = range(draw(st.integers(1, 12)))
    for number in numbers:
        schedule = draw(st.sampled_from(schedules))
        mode = draw(st.sampled_from([Mode.ACTIVE, Mode.PAUSED])) if number < numbers[-1] else Mode.ACTIVE
        entries.append(Entry(number, at(began), spec(schedule, mode)))
        reached = began + draw(st.integers(0, 120_000)) / 1000
        covered = at(began)
        while (first := schedule.next_after(covered)) is not None and first <= at(reached):
            span = at(reached) if mode is Mode.PAUSED else first + timedelta(seconds=draw(st.integers(0, 90)))
            last = schedule.last_between(covered, min(span, at(reached))) or first
            count = schedule.count_between(covered, last)
            fires = count == 1 and mode is Mode.ACTIVE and draw(st.booleans())
            seconds, until = ((instant - ORIGIN).total_seconds() for instant in (first, last))
            rows.append(fire(seconds, number) if fires else gap(seconds, until, count, number))
            covered = last
        if number < numbers[-1]:
            following = schedule.next_after(at(reached))
            rows.append(closing(None if following is None else (following - ORIGIN).total_seconds(), reached, number))
        began = reached
    return epochs_of(entries), rows, began


@given(ledgers())
def test_a_ledger_by_the_rules_is_clean_wherever_the_view_begins(
    ledger: tuple[list[Epoch], list[LedgerRow], float],
) -> None:
    epochs, rows, reached = ledger
    assert audited(rows, epochs, due=reached) == []
    for begins in (0.5, reached / 2, reached):
        left = [row for row in rows if row.last is not None and row.last > at(begins)]
        assert audited(left, epochs, due=reached, begins=begins) == []


@given(ledgers(), st.data())
def test_a_row_that_is_taken_away_is_noticed(
    ledger: tuple[list[Epoch], list[LedgerRow], float], data: st.DataObject
) -> None:
    epochs, rows, reached = ledger
    if not rows:
        return
    gone = data.draw(st.sampled_from(rows))
    found = audited([row for row in rows if row is not gone], epochs, due=reached)
    if gone.state is State.CLOSED:
        # Unless it closed an epoch that began and ended at the same instant, and so held nothing.
        assert "BROKEN_CHAIN" in faults(found)
    else:
        missing = [finding for finding in found if finding.fault is Fault.MISSING]
        assert sum(finding.count for finding in missing) == gone.count
        assert missing[0].first == gone.first


@given(ledgers(), st.data())
def test_a_row_that_is_shifted_or_counts_wrong_is_noticed(
    ledger: tuple[list[Epoch], list[LedgerRow], float], data: st.DataObject
) -> None:
    epochs, rows, reached = ledger
    if not rows:
        return
    index = data.draw(st.integers(0, len(rows) - 1))
    row = rows[index]
    if row.first is None or row.last is None:
        return
    milliseconds = data.draw(st.integers(1, 200_000))
    span = timedelta(milliseconds=milliseconds)
    shifted = replace(row, last=row.last + span)
    counted = replace(row, count=row.count + 1)
    for changed in (shifted, counted) if row.state is not State.CLOSED else (shifted,):
        assert audited([*rows[:index], changed, *rows[index + 1 :]], epochs, due=reached)

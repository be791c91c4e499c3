"""Single occurrences that are left out or moved: what an epoch decides and runs, and what the next one takes over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.execution import State
from shared.domain.occurrences import names, upcoming
from shared.domain.overrides import Overridden, Override, Running
from shared.domain.plan import Chain, Change, Mode, Plan, Row, Spec, plan
from shared.domain.policies import Misfire, Overlap, Policies
from tests.builders import at, every, once

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from shared.domain.schedule import IntervalSchedule

END = 60


def skip(nominal: float, reason: str = "") -> Override:
    return Override(at(nominal), None, "alice", reason, at(0))


def move(nominal: float, to: float) -> Override:
    return Override(at(nominal), at(to), "alice", "", at(0))


def chain(spec: Spec, *changes: Change, covered: float = 0) -> Chain:
    return Chain("uid", 0, at(covered), spec.occurrences.next_after(at(covered)), spec, changes)


def decide(
    spec: Spec,
    now: float,
    *changes: Change,
    covered: float = 0,
    standing: Iterable[Row] = (),
    policies: Policies | None = None,
) -> Plan:
    rows = {row.first: row for row in standing}
    return plan(chain(spec, *changes, covered=covered), rows, [], at(now), policies or Policies())


def spec(*overrides: Override, schedule: IntervalSchedule | None = None, mode: Mode = Mode.ACTIVE) -> Spec:
    return Spec(schedule or every(10), mode, overrides)


def changed(
    override: Override | None = None,
    *,
    cutoff: float = 0,
    restored: float | None = None,
    schedule: IntervalSchedule | None = None,
    mode: Mode = Mode.ACTIVE,
) -> Change:
    back = None if restored is None else at(restored)
    return Change(Spec(schedule or every(10), mode), at(cutoff), "alice", "", override=override, restored=back)


def shown(rows: Iterable[Row]) -> list[tuple[str, float, float]]:
    return [
        (row.state.value, (row.first - at(0)).total_seconds(), (row.last - at(0)).total_seconds())
        for row in rows
        if row.first is not None
    ]


class TestWhatIsDecided:
    def test_a_skipped_occurrence_does_not_run_and_says_who_asked_and_why(self) -> None:
        (row,) = decide(spec(skip(10, "shop closed")), 10).rows
        assert (row.state, row.first, row.reason) == (State.SKIPPED, at(10), "skipped by alice: shop closed")

    def test_a_moved_one_runs_at_its_new_time_for_the_occurrence_that_it_is(self) -> None:
        away, here = decide(spec(move(10, 13)), 13).rows
        assert (away.state, away.first, away.reason) == (
            State.SKIPPED, at(10), "moved to 2026-03-02T12:00:13Z by alice",
        )  # fmt: skip
        assert (here.state, here.first, here.moved_from) == (State.PENDING, at(13), at(10))
        assert here.reason == "moved from 2026-03-02T12:00:10Z by alice"

    def test_moved_to_an_earlier_time_it_runs_then_and_not_again(self) -> None:
        decided = decide(spec(move(20, 13)), 13)
        assert shown(decided.rows) == [("PENDING", 10, 10), ("SKIPPED", 13, 13)]  # the one before is in flight
        decided = decide(spec(move(20, 13)), 20, covered=10)
        assert shown(decided.rows) == [("PENDING", 13, 13), ("SKIPPED", 20, 20)]
        assert decided.pointer == at(30)

    def test_the_new_time_is_kept_to_the_second_whatever_jitter_the_schedule_has(self) -> None:
        schedule = replace(every(10), jitter=timedelta(seconds=9))
        (row,) = decide(spec(move(20, 13), schedule=schedule), 13, covered=10).rows
        assert row.due_at == at(13)

    def test_a_single_run_that_is_moved_still_runs(self) -> None:
        moved = Spec(once(at(10)), Mode.ACTIVE, (move(10, 15),))
        early = decide(moved, 12)
        assert (shown(early.rows), early.pointer) == ([("SKIPPED", 10, 10)], at(15))
        late = decide(moved, 15, covered=10)
        assert (shown(late.rows), late.pointer) == ([("PENDING", 15, 15)], None)

    def test_a_run_that_is_moved_counts_for_max_runs_and_one_that_is_skipped_does_not(self) -> None:
        limited = replace(every(10), max_runs=1)
        assert decide(spec(skip(10), schedule=limited), 15).fired == 0
        assert decide(spec(move(20, 13), schedule=limited), 13, covered=10).pointer is None

    def test_what_is_left_out_has_a_row_of_its_own_in_the_middle_of_an_outage(self) -> None:
        decided = decide(spec(skip(30), skip(50)), 105)
        assert shown(decided.rows) == [
            ("COALESCED", 10, 20), ("SKIPPED", 30, 30), ("COALESCED", 40, 40), ("SKIPPED", 50, 50),
            ("COALESCED", 60, 90), ("PENDING", 100, 100),
        ]  # fmt: skip

    def test_the_latest_of_an_outage_is_the_latest_that_runs(self) -> None:
        decided = decide(spec(skip(90), skip(100)), 105)
        assert shown(decided.rows)[-3:] == [("PENDING", 80, 80), ("SKIPPED", 90, 90), ("SKIPPED", 100, 100)]

    def test_what_is_left_out_makes_nothing_late(self) -> None:
        decided = decide(spec(skip(10)), 85, policies=Policies(overlap=Overlap.ALLOW, max_concurrent=9))
        assert shown(decided.rows)[:2] == [("SKIPPED", 10, 10), ("COALESCED", 20, 70)]
        decided = decide(spec(skip(10)), 75, policies=Policies(overlap=Overlap.ALLOW, max_concurrent=9))
        assert shown(decided.rows)[:2] == [("SKIPPED", 10, 10), ("PENDING", 20, 20)]

    def test_while_the_job_is_paused_neither_time_of_a_moved_one_runs(self) -> None:
        decided = decide(spec(move(10, 13), mode=Mode.PAUSED), 30, changed(cutoff=30))
        assert shown(decided.rows)[:-1] == [("SKIPPED", 10, 30)]
        assert decided.rows[0].count == 4

    def test_a_time_that_the_schedule_comes_to_name_stands_for_what_was_moved_there(self) -> None:
        followed = spec(move(10, 13), schedule=every(1))
        assert shown(decide(followed, 13, covered=12).rows) == [("PENDING", 13, 13)]


class TestWhatTheNextEpochTakesOver:
    def test_overrides_outlive_a_pause_and_a_new_schedule_that_names_the_occurrence(self) -> None:
        for change in (changed(mode=Mode.PAUSED), changed(schedule=every(5))):
            install = decide(spec(skip(30), move(40, 33)), 0, change).install
            assert install is not None
            assert install.spec.overrides == (skip(30), move(40, 33))

    def test_those_of_occurrences_that_a_new_schedule_does_not_name_are_void(self) -> None:
        install = decide(spec(skip(30), move(40, 33)), 0, changed(schedule=every(20))).install
        assert install is not None
        assert install.spec.overrides == (move(40, 33),)

    def test_what_was_moved_away_already_still_runs_whatever_the_new_schedule_names(self) -> None:
        install = decide(spec(move(10, 15)), 12, changed(schedule=every(7), cutoff=12)).install
        assert install is not None
        assert install.spec.overrides == (move(10, 15),)
        assert install.pointer == at(14)
        assert install.spec.occurrences.next_after(at(14)) == at(15)

    def test_what_has_run_early_does_not_run_again_after_an_edit(self) -> None:
        followed = spec(move(20, 13))
        first = decide(followed, 14, changed(cutoff=14), covered=10)
        assert shown(first.rows)[:-1] == [("PENDING", 13, 13)]
        assert first.install is not None
        after = Chain("uid", 1, first.covered, first.pointer, first.install.spec)
        assert shown(plan(after, {}, [], at(20), Policies()).rows) == [("SKIPPED", 20, 20)]

    def test_what_is_over_is_forgotten(self) -> None:
        install = decide(spec(skip(10), move(10, 15)), 20, changed(cutoff=20)).install
        assert install is not None
        assert install.spec.overrides == ()

    def test_one_taken_back_goes_as_the_schedule_says(self) -> None:
        install = decide(spec(skip(30), move(40, 33)), 0, changed(restored=40)).install
        assert install is not None
        assert install.spec.overrides == (skip(30),)

    def test_a_later_change_of_the_same_occurrence_takes_the_place_of_the_earlier(self) -> None:
        install = decide(spec(move(40, 33)), 0, changed(skip(40))).install
        assert install is not None
        assert install.spec.overrides == (skip(40),)

    @pytest.mark.parametrize("late", [changed(skip(10)), changed(move(10, 15)), changed(restored=20)])
    def test_what_the_chain_has_reached_stands_even_if_a_clock_was_set_back(self, late: Change) -> None:
        ran = [Row(State.PENDING, at(10), at(10)), Row(State.PENDING, at(13), at(13))]
        install = decide(spec(move(20, 13)), 5, late, standing=ran).install
        assert install is not None
        assert install.reached == at(13)
        assert install.spec.overrides == (move(20, 13),)


# Properties, against a slow reading.

instants = st.integers(0, END)
overrides = st.lists(
    st.builds(lambda n, to: move(n, to) if to is not None and to != n else skip(n), instants, st.none() | instants),
    max_size=6,
    unique_by=lambda each: each.nominal,
).map(tuple)
policies = st.builds(
    Policies,
    misfire=st.sampled_from(Misfire),
    misfire_grace=st.integers(0, END).map(lambda seconds: timedelta(seconds=seconds)),
    misfire_limit=st.integers(1, 5),
    overlap=st.sampled_from(Overlap),
    buffer_limit=st.integers(1, 4),
    max_concurrent=st.integers(1, 4),
)


def slowly(period: int, given: tuple[Override, ...]) -> tuple[list[datetime], set[datetime]]:
    """Return what is decided through END, and what of it runs."""
    named = {at(second) for second in range(1, 2 * END) if second % period == 0}
    moved = {each.moved_to for each in given if each.moved_to is not None}
    left_out = {each.nominal for each in given} - moved
    every_one = sorted(each for each in named | moved if at(0) < each)
    return every_one, set(every_one) - (left_out & named)


@given(period=st.integers(1, 9), given_=overrides, after=instants, through=instants)
def test_the_instants_are_those_of_a_slow_reading(
    period: int, given_: tuple[Override, ...], after: int, through: int
) -> None:
    every_one, run = slowly(period, given_)
    both = Overridden(every(period), given_)
    for occurrences, expected in ((both, every_one), (Running(both), sorted(run))):
        inside = [each for each in expected if at(after) < each <= at(through)]
        assert occurrences.next_after(at(after)) == next(each for each in expected if each > at(after))
        assert occurrences.last_between(at(after), at(through)) == (inside[-1] if inside else None)
        assert occurrences.count_between(at(after), at(through)) == len(inside)
        assert [e for e in upcoming(occurrences, at(after), 99) if e <= at(through)] == inside
        assert all(names(occurrences, each) for each in inside)


@given(period=st.integers(1, 9), given_=overrides, covered=instants, now=instants, policies=policies)
def test_each_instant_is_decided_once_and_only_what_is_to_run_runs(
    period: int, given_: tuple[Override, ...], covered: int, now: int, policies: Policies
) -> None:
    every_one, run = slowly(period, given_)
    decided = decide(spec(*given_, schedule=every(period)), now, covered=covered, policies=policies)
    due = [each for each in every_one if at(covered) < each <= at(now)]
    covered_by = [
        [each for each in due if row.first is not None and row.first <= each <= row.last] for row in decided.rows
    ]
    assert [each for stretch in covered_by for each in stretch] == due
    assert [len(stretch) for stretch in covered_by] == [row.count for row in decided.rows]
    assert decided.pointer == next(each for each in every_one if each > max(at(covered), *due, at(covered)))
    for row, stretch in zip(decided.rows, covered_by, strict=True):
        if row.state is State.PENDING:
            assert row.first in run
        if set(stretch) - run:
            assert (row.state, row.count) == (State.SKIPPED, 1)
            assert "by alice" in row.reason

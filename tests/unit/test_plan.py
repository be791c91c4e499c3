"""What becomes of the occurrences of a job: each decided exactly once, in order, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.execution import State
from shared.domain.occurrences import upcoming
from shared.domain.plan import MOST_ROWS, Chain, Change, InFlight, Mode, Plan, Row, Spec, must_follow, plan
from shared.domain.policies import Misfire, Overlap, Policies
from shared.domain.schedule import CronSchedule
from tests.builders import at, every, once, spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from shared.domain.schedule import Schedule

POLICIES = Policies()
END = 60
"""Seconds after the origin; all that these tests do happens before."""

_EVERY_SEVENTH_SECOND = CronSchedule(
    terms=(("hour", "*"), ("minute", "*"), ("second", "*/7")), end_time=at(END)
)  # not evenly spread: 56, 0, 7


def chain(following: Spec | None = None, *changes: Change, covered: float = 0, epoch: int = 0) -> Chain:
    followed = following or spec()
    pointer = None if followed.mode is Mode.DELETED else followed.schedule.next_after(at(covered))
    return Chain("uid", epoch, at(covered), pointer, followed, changes)


def change(to: Spec | None = None, cutoff: float = 0) -> Change:
    return Change(to or spec(), at(cutoff), "someone", "because")


def decide(
    job: Chain,
    now: float,
    standing: Iterable[Row] = (),
    blocker: str | None = None,
    policies: Policies = POLICIES,
    in_flight: Sequence[InFlight] = (),
) -> Plan:
    blockers = (InFlight(blocker),) if blocker else ()
    return plan(job, by_first(standing), [*blockers, *in_flight], at(now), policies)


def by_first(rows: Iterable[Row]) -> Mapping[datetime | None, Row]:
    return {row.first: row for row in rows}


def shown(rows: Iterable[Row]) -> list[tuple[str, float | None, float]]:
    """Return rows as (state, first, last), in seconds after the origin."""
    origin = at(0)
    return [
        (r.state.value, (r.first - origin).total_seconds() if r.first else None, (r.last - origin).total_seconds())
        for r in rows
    ]


class TestFiring:
    def test_an_occurrence_that_is_due_fires(self) -> None:
        decided = decide(chain(), 1)
        assert shown(decided.rows) == [("PENDING", 1, 1)]
        assert (decided.covered, decided.pointer, decided.install) == (at(1), at(2), None)

    def test_before_its_time_nothing_is_decided(self) -> None:
        assert decide(chain(), 0.999) == Plan((), at(0), at(1))

    def test_late_within_the_grace_it_still_fires(self) -> None:
        assert shown(decide(chain(spec(every(60))), 120).rows) == [("PENDING", 60, 60), ("SKIPPED", 120, 120)]

    def test_beyond_the_grace_only_the_latest_fires_and_stands_for_the_rest(self) -> None:
        decided = decide(chain(spec(every(60))), 300.5)
        assert shown(decided.rows) == [("COALESCED", 60, 240), ("PENDING", 300, 300)]
        assert decided.rows[0].count == 4
        assert "2026-03-02T12:05:00Z" in decided.rows[0].reason

    def test_exactly_at_the_grace_it_is_on_time(self) -> None:
        assert shown(decide(chain(spec(once(at(1)))), 61).rows) == [("PENDING", 1, 1)]

    def test_a_lone_late_occurrence_fires_however_late(self) -> None:
        assert shown(decide(chain(spec(once(at(1)))), 1e7).rows) == [("PENDING", 1, 1)]

    def test_the_execution_that_is_in_flight_is_named_where_it_makes_others_skip(self) -> None:
        decided = decide(chain(), 3, blocker="uid.0.20260302T120000Z")
        assert shown(decided.rows) == [("SKIPPED", 1, 3)]
        assert "uid.0.20260302T120000Z is still in flight" in decided.rows[0].reason
        assert decided.rows[0].count == 3

    def test_rows_of_one_plan_count_each_other_for_the_overlap(self) -> None:
        assert shown(decide(chain(), 3).rows) == [("PENDING", 1, 1), ("SKIPPED", 2, 3)]

    def test_late_with_one_in_flight_the_latest_is_skipped_too(self) -> None:
        decided = decide(chain(spec(every(60))), 300, blocker="uid.0.x")
        assert shown(decided.rows) == [("COALESCED", 60, 240), ("SKIPPED", 300, 300)]

    def test_a_day_of_outage_of_a_job_of_every_second_is_two_rows(self) -> None:
        decided = decide(chain(), 86_400)
        assert [row.count for row in decided.rows] == [86_399, 1]

    def test_after_the_last_occurrence_there_is_no_pointer(self) -> None:
        decided = decide(chain(spec(every(1, end=at(2)))), 100)
        assert (shown(decided.rows)[-1], decided.pointer) == (("PENDING", 2, 2), None)
        assert decide(chain(spec(every(1, end=at(2))), covered=2), 200) == Plan((), at(2), None)


class TestMisfire:
    """Of a job that fires every minute, found ten minutes late."""

    job = chain(spec(every(60)))

    def test_skip_leaves_out_what_is_late_and_fires_what_is_not(self) -> None:
        decided = decide(self.job, 601, policies=Policies(Misfire.SKIP))
        assert shown(decided.rows) == [("SKIPPED", 60, 540), ("PENDING", 600, 600)]
        assert decided.rows[0].reason == "found late by more than the grace of 60 s"

    def test_skip_leaves_out_everything_when_everything_is_late(self) -> None:
        decided = decide(self.job, 601, policies=Policies(Misfire.SKIP, misfire_grace=timedelta(0)))
        assert (shown(decided.rows), decided.pointer) == ([("SKIPPED", 60, 600)], at(660))

    def test_fire_all_fires_the_latest_so_many(self) -> None:
        policies = Policies(Misfire.FIRE_ALL, misfire_limit=2, overlap=Overlap.BUFFER_ALL)
        decided = decide(self.job, 601, policies=policies)
        assert shown(decided.rows) == [
            ("COALESCED", 60, 420),
            ("PENDING", 480, 480),
            ("PENDING", 540, 540),
            ("PENDING", 600, 600),  # not late
        ]
        assert [row.held for row in decided.rows] == [False, False, True, True]
        assert "2026-03-02T12:08:00Z" in decided.rows[0].reason

    def test_fire_all_makes_the_others_skip_where_nothing_may_overlap(self) -> None:
        decided = decide(self.job, 601, policies=Policies(Misfire.FIRE_ALL))
        assert shown(decided.rows) == [("PENDING", 60, 60), ("SKIPPED", 120, 600)]

    def test_more_rows_than_one_plan_takes_are_left_to_the_next(self) -> None:
        policies = Policies(Misfire.FIRE_ALL, misfire_limit=1000, overlap=Overlap.BUFFER_ALL, buffer_limit=1000)
        decided = decide(chain(None, change(cutoff=300)), 1000, policies=policies)
        assert (len(decided.rows), decided.pointer, decided.install) == (MOST_ROWS, at(MOST_ROWS + 1), None)
        rest = replace(chain(None, change(cutoff=300)), covered=decided.covered, pointer=decided.pointer)
        assert shown(decide(rest, 1000, policies=policies).rows)[-1] == ("CLOSED", 301, 300)


class TestOverlap:
    def test_buffer_one_holds_one_and_skips_the_others(self) -> None:
        decided = decide(chain(), 4, policies=Policies(overlap=Overlap.BUFFER_ONE), blocker="uid.0.x")
        assert shown(decided.rows) == [("PENDING", 1, 1), ("SKIPPED", 2, 4)]
        assert (decided.rows[0].held, decided.rows[0].reason) == (True, "waits for the execution uid.0.x to end")
        assert decided.rows[1].reason == "1 already wait for the execution uid.0.x to end"

    def test_buffer_all_holds_up_to_its_limit(self) -> None:
        policies = Policies(overlap=Overlap.BUFFER_ALL, buffer_limit=3)
        waiting = InFlight("uid.0.y", held=True)
        decided = decide(chain(), 9, policies=policies, blocker="uid.0.x", in_flight=[waiting])
        assert shown(decided.rows) == [("PENDING", 1, 1), ("PENDING", 2, 2), ("SKIPPED", 3, 9)]
        assert [row.held for row in decided.rows] == [True, True, False]

    def test_what_waits_goes_before_what_comes(self) -> None:
        """Also when what it waited for has just ended, and the relay has not let it go yet."""
        waiting = InFlight("uid.0.y", held=True)
        assert decide(chain(), 1, policies=Policies(overlap=Overlap.BUFFER_ALL), in_flight=[waiting]).rows[0].held

    def test_cancel_previous_waits_for_those_that_it_cancels(self) -> None:
        policies = Policies(overlap=Overlap.CANCEL_PREVIOUS)
        decided = decide(chain(), 3, policies=policies, blocker="uid.0.x")
        assert shown(decided.rows) == [("SKIPPED", 1, 2), ("PENDING", 3, 3)]
        assert decided.rows[1].held
        assert not decide(chain(), 1, policies=policies).rows[0].held

    def test_allow_fires_up_to_so_many_at_a_time(self) -> None:
        policies = Policies(overlap=Overlap.ALLOW, max_concurrent=3)
        decided = decide(chain(), 9, policies=policies, blocker="uid.0.x")
        assert shown(decided.rows) == [("PENDING", 1, 1), ("PENDING", 2, 2), ("SKIPPED", 3, 9)]
        assert decided.rows[2].reason == "3 executions are in flight already"


class TestMaxRuns:
    limited = Spec(replace(every(), max_runs=2), Mode.ACTIVE)

    def test_after_the_last_run_there_is_no_occurrence(self) -> None:
        decided = decide(replace(chain(self.limited), fired=1), 5)
        assert (shown(decided.rows), decided.pointer, decided.fired) == ([("PENDING", 1, 1)], None, 2)

    def test_what_did_not_fire_is_no_run(self) -> None:
        decided = decide(chain(self.limited), 3)
        assert (decided.fired, decided.pointer) == (1, at(4))

    def test_runs_that_stand_and_were_not_counted_yet_count(self) -> None:
        decided = decide(chain(self.limited), 5, [Row(State.PENDING, at(1), at(1)), Row(State.PENDING, at(2), at(2))])
        assert (decided.rows, decided.pointer, decided.fired) == ((), None, 2)

    def test_a_pause_keeps_the_count_and_a_new_schedule_begins_it_anew(self) -> None:
        pause = Change(Spec(self.limited.schedule, Mode.PAUSED), at(0), "", "")
        kept = decide(replace(chain(self.limited, pause), fired=1), 0).install
        anew = decide(replace(chain(self.limited, replace(pause, counts_anew=True)), fired=1), 0).install
        assert kept is not None
        assert anew is not None
        assert (kept.fired, anew.fired) == (1, 0)


class TestFollowing:
    def test_what_stands_is_not_decided_again(self) -> None:
        standing = [Row(State.PENDING, at(1), at(1)), Row(State.SKIPPED, at(2), at(4), 3)]
        decided = decide(chain(), 5, standing)
        assert shown(decided.rows) == [("PENDING", 5, 5)]

    def test_rows_behind_a_hole_do_not_count(self) -> None:
        assert shown(decide(chain(), 3, [Row(State.PENDING, at(3), at(3))], policies=POLICIES).rows)[0][1] == 1

    def test_the_pointer_goes_to_the_end_of_the_chain_also_when_nothing_is_due(self) -> None:
        decided = decide(chain(), 2, [Row(State.SKIPPED, at(1), at(9), 9)])
        assert decided == Plan((), at(9), at(10))

    def test_the_rows_have_to_be_read_when_more_than_one_occurrence_is_due(self) -> None:
        assert not must_follow(chain(), at(1))
        assert not must_follow(chain(), at(1.999))
        assert must_follow(chain(), at(2))

    def test_the_rows_have_to_be_read_when_a_change_waits(self) -> None:
        assert must_follow(chain(None, change()), at(0))

    def test_the_rows_need_not_be_read_of_a_schedule_that_is_at_its_end(self) -> None:
        assert not must_follow(chain(spec(once(at(1)))), at(100))
        assert not must_follow(chain(spec(once(at(1))), covered=1), at(100))


class TestInstalling:
    def test_a_change_closes_the_chain_at_the_first_occurrence_that_it_does_not_cover(self) -> None:
        decided = decide(chain(None, change(spec(every(10)), cutoff=2.5)), 3)
        assert shown(decided.rows) == [("PENDING", 1, 1), ("SKIPPED", 2, 2), ("CLOSED", 3, 2.5)]
        assert decided.install is not None
        assert (decided.install.epoch, decided.install.reached, decided.install.pointer) == (1, at(2.5), at(10))
        assert decided.rows[-1].count == 0

    def test_an_occurrence_at_the_very_cutoff_belongs_to_the_old_schedule_only(self) -> None:
        decided = decide(chain(None, change(spec(every(2)), cutoff=2)), 2, [Row(State.PENDING, at(1), at(1))])
        assert shown(decided.rows) == [("PENDING", 2, 2), ("CLOSED", 3, 2)]
        assert decided.pointer == at(4)

    def test_what_stands_beyond_the_cutoff_keeps_its_decision(self) -> None:
        decided = decide(chain(None, change(cutoff=2)), 9, [Row(State.SKIPPED, at(1), at(5), 5)])
        assert shown(decided.rows) == [("CLOSED", 6, 5)]
        assert decided.install is not None
        assert (decided.install.reached, decided.pointer) == (at(5), at(6))

    def test_without_a_further_occurrence_the_closing_row_stands_at_the_end(self) -> None:
        decided = decide(chain(spec(once(at(1))), change(cutoff=3)), 3)
        assert shown(decided.rows) == [("PENDING", 1, 1), ("CLOSED", None, 3)]

    def test_a_closing_row_at_the_end_is_adopted(self) -> None:
        job = chain(spec(once(at(1))), change(cutoff=3), covered=1)
        decided = decide(job, 9, [Row(State.CLOSED, None, at(3), 0)])
        assert (decided.rows, decided.covered) == ((), at(3))

    def test_a_paused_stretch_becomes_one_row_when_the_resume_is_installed(self) -> None:
        decided = decide(chain(spec(mode=Mode.PAUSED), change(cutoff=86_400)), 90_000)
        assert shown(decided.rows) == [("SKIPPED", 1, 86_400), ("CLOSED", 86_401, 86_400)]
        assert (decided.rows[0].count, decided.rows[0].reason) == (86_400, "the job was paused")
        assert decided.pointer == at(86_401)

    def test_a_pause_without_an_occurrence_leaves_no_row(self) -> None:
        decided = decide(chain(spec(every(10), Mode.PAUSED), change(spec(every(10)), cutoff=5)), 6)
        assert shown(decided.rows) == [("CLOSED", 10, 5)]

    def test_a_deleted_job_has_no_further_occurrence(self) -> None:
        decided = decide(chain(None, change(spec(mode=Mode.DELETED), cutoff=1)), 5)
        assert shown(decided.rows) == [("PENDING", 1, 1), ("CLOSED", 2, 1)]
        assert decided.pointer is None
        assert decide(chain(spec(mode=Mode.DELETED)), 100) == Plan((), at(0), None)

    def test_a_deleted_job_that_is_changed_again_ends_with_the_row_end(self) -> None:
        decided = decide(chain(spec(mode=Mode.DELETED), change(cutoff=50)), 60)
        assert shown(decided.rows) == [("CLOSED", None, 50)]
        assert decided.pointer == at(51)

    def test_changes_are_installed_one_after_another(self) -> None:
        first, second = change(spec(every(10)), cutoff=2), change(spec(mode=Mode.PAUSED), cutoff=25)
        decided = decide(chain(None, first, second, covered=2), 100)
        assert decided.install is not None
        assert (shown(decided.rows), decided.install.change) == ([("CLOSED", 3, 2)], first)
        decided = decide(chain(first.spec, second, covered=2, epoch=1), 100)
        assert shown(decided.rows) == [("COALESCED", 10, 10), ("PENDING", 20, 20), ("CLOSED", 30, 25)]
        assert decided.install is not None
        assert decided.install.epoch == 2

    def test_two_changes_at_the_same_instant_leave_an_epoch_without_rows(self) -> None:
        decided = decide(chain(spec(every(10)), change(cutoff=2), covered=2, epoch=1), 2)
        assert shown(decided.rows) == [("CLOSED", 10, 2)]

    def test_a_snapshot_that_does_not_know_why_its_chain_is_closed_does_nothing(self) -> None:
        decided = decide(chain(), 50, [Row(State.PENDING, at(1), at(1)), Row(State.CLOSED, at(2), at(1.5), 0)])
        assert decided.stale
        assert (decided.rows, decided.install) == ((), None)


# Properties, over schedules of every kind and instants at, before and after occurrences.

instants = st.integers(0, 2 * END).map(lambda halves: halves / 2)
schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(every, st.integers(1, 20)),
    st.builds(every, st.integers(1, 9), end=st.integers(1, END).map(at)),
    st.builds(lambda seconds: once(at(seconds)), instants),
    st.just(_EVERY_SEVENTH_SECOND),
)
specs = st.builds(Spec, schedules, st.sampled_from(Mode))
policies = st.builds(
    Policies,
    misfire=st.sampled_from(Misfire),
    misfire_grace=st.integers(0, END).map(lambda seconds: timedelta(seconds=seconds)),
    misfire_limit=st.integers(1, 5),
    overlap=st.sampled_from(Overlap),
    buffer_limit=st.integers(1, 4),
    max_concurrent=st.integers(1, 4),
)
blockers = st.sampled_from([None, "uid.0.x"])
in_flight = st.integers(0, 3)


@st.composite
def chains(draw: st.DrawFn, *, most_changes: int = 3) -> Chain:
    covered = draw(instants)
    cutoffs = sorted(draw(st.lists(instants.map(lambda s: max(s, covered)), max_size=most_changes)))
    return chain(draw(specs), *[change(draw(specs), cutoff) for cutoff in cutoffs], covered=covered)


def occurrences(of: Spec, after: datetime, through: datetime) -> list[datetime]:
    if of.mode is Mode.DELETED:
        return []
    return [o for o in upcoming(of.schedule, after, 4 * END) if o <= through]


def decided_by(rows: Iterable[Row], of: Spec) -> list[datetime]:
    """Return the occurrences that rows cover, in the rows' order."""
    covered = []
    for row in rows:
        if row.state is not State.CLOSED:
            assert row.first is not None
            inside = occurrences(of, row.first - timedelta(microseconds=1), row.last)
            assert (inside[0], inside[-1], len(inside)) == (row.first, row.last, row.count), "a row is a stretch"
            covered += inside
    return covered


@given(job=chains(), now=instants, blocker=blockers, policies=policies)
def test_every_due_occurrence_is_covered_by_exactly_one_row_in_order(
    job: Chain, now: float, blocker: str | None, policies: Policies
) -> None:
    decided = decide(job, now, (), blocker, policies)
    horizon = job.changes[0].cutoff if job.changes else at(now)
    assert decided_by(decided.rows, job.spec) == occurrences(job.spec, job.covered, horizon)
    at_once = [row for row in decided.rows if row.state is State.PENDING and not row.held]
    assert len(at_once) <= (policies.most_running if blocker is None else policies.most_running - 1)
    after = job.changes[0].spec if job.changes else job.spec
    assert decided.pointer == (None if after.mode is Mode.DELETED else after.schedule.next_after(decided.covered))
    assert decided.covered >= job.covered
    assert (decided.install is not None) == bool(job.changes) == any(r.state is State.CLOSED for r in decided.rows)


@given(
    job=chains(most_changes=0), now=instants, running=st.integers(0, 3), waiting=st.integers(0, 3), policies=policies
)
def test_the_policies_decide_as_a_slow_reading_of_them_does(
    job: Chain, now: float, running: int, waiting: int, policies: Policies
) -> None:
    open_rows = [InFlight(f"uid.0.{n}", held=n >= running) for n in range(running + waiting)]
    rows = decide(job, now, policies=policies, in_flight=open_rows).rows
    found = {o: (row.state, row.held) for row in rows for o in decided_by([row], job.spec)}
    due = occurrences(job.spec, job.covered, at(now))
    if job.spec.mode is Mode.PAUSED:
        assert found == dict.fromkeys(due, (State.SKIPPED, False))
    else:
        assert found == slowly(due, at(now), policies, running, waiting)


def slowly(
    due: list[datetime], now: datetime, policies: Policies, running: int, waiting: int
) -> dict[datetime, tuple[State, bool]]:
    """Return what becomes of each occurrence that is due, and whether it waits, one at a time."""
    expected = {}
    late = [o for o in due if now - o > policies.misfire_grace]
    if late and policies.misfire is Misfire.FIRE_LATEST:
        expected, due = dict.fromkeys(due[:-1], (State.COALESCED, False)), due[-1:]
    elif policies.misfire is Misfire.SKIP:
        expected, due = dict.fromkeys(late, (State.SKIPPED, False)), due[len(late) :]
    elif policies.misfire is Misfire.FIRE_ALL:
        too_many = late[: -policies.misfire_limit]
        expected, due = dict.fromkeys(too_many, (State.COALESCED, False)), due[len(too_many) :]
    for occurrence in due:
        if policies.overlap is Overlap.CANCEL_PREVIOUS:
            fires = occurrence == due[-1]
            held = fires and bool(running or waiting)
            expected[occurrence] = (State.PENDING if fires else State.SKIPPED, held)
        elif running < policies.most_running and not waiting:
            running += 1
            expected[occurrence] = (State.PENDING, False)
        elif waiting < policies.most_waiting:
            waiting += 1
            expected[occurrence] = (State.PENDING, True)
        else:
            expected[occurrence] = (State.SKIPPED, False)
    return expected


@given(job=chains(most_changes=0), most=st.integers(1, 5), now=instants, policies=policies)
def test_no_more_runs_fire_than_max_runs_allows_and_then_the_chain_ends(
    job: Chain, most: int, now: float, policies: Policies
) -> None:
    limited = replace(job, spec=replace(job.spec, schedule=replace(job.spec.schedule, max_runs=most)))
    fired = 0
    for instant in (now / 3, now / 2, now):
        decided = decide(limited, instant, policies=policies)
        fired += sum(row.state is State.PENDING for row in decided.rows)
        assert decided.fired == fired <= most
        if fired == most:
            assert decided.pointer is None
        limited = replace(limited, covered=decided.covered, pointer=decided.pointer, fired=decided.fired)


@given(
    job=chains(),
    now=instants,
    later=instants,
    crashed_after=st.integers(0, 4),
    blockers=st.tuples(blockers, blockers),
    policies=policies,
)
def test_whoever_finishes_a_plan_that_a_crash_cut_short_decides_only_the_rest(
    job: Chain,
    now: float,
    later: float,
    crashed_after: int,
    blockers: tuple[str | None, str | None],
    policies: Policies,
) -> None:
    standing = decide(job, now, (), blockers[0], policies).rows[:crashed_after]
    resumed = decide(job, max(now, later), standing, blockers[1], policies)
    covered = decided_by([*standing, *resumed.rows], job.spec)
    horizon = job.changes[0].cutoff if job.changes else at(max(now, later))
    assert covered == occurrences(job.spec, job.covered, horizon)


@given(job=chains(), now=instants, later=instants, blocker=blockers, data=st.data())
def test_a_second_installer_adopts_what_the_first_one_closed(
    job: Chain, now: float, later: float, blocker: str | None, data: st.DataObject
) -> None:
    """The second one may know of more changes, be later, and have its pointer anywhere in the chain."""
    if not job.changes:
        job = replace(job, changes=(change(cutoff=END),))
    first = decide(job, now, (), blocker)
    known = data.draw(st.integers(1, len(job.changes)))
    second = decide(replace(job, changes=job.changes[:known]), later, first.rows, blocker)
    assert (second.rows, second.install, second.covered, second.pointer) == (
        (),
        first.install,
        first.covered,
        first.pointer,
    )
    assert decide(replace(job, changes=()), later, first.rows, blocker).stale


@pytest.mark.parametrize("mode", Mode)
@given(schedule=schedules, now=instants)
def test_planning_again_after_the_advance_decides_nothing(mode: Mode, schedule: Schedule, now: float) -> None:
    done = decide(chain(Spec(schedule, mode)), now)
    again = replace(chain(Spec(schedule, mode)), covered=done.covered, pointer=done.pointer)
    assert decide(again, now) == Plan((), done.covered, done.pointer)

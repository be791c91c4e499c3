"""Why an occurrence did or did not run: every verdict and every kind of fact, from facts that are handed in."""

# ruff: noqa: ISC004 - a sentence may take two lines
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.evidence import Absence, Era, Job, Known, Record, Step, Stop, ask_instant, ask_wall
from shared.domain.exclusions import ExclusionTerms
from shared.domain.execution import Failure, State, Trigger
from shared.domain.explanation import Explanation, Kind, Verdict, explain, schedule_text, span_text
from shared.domain.job import JobState
from shared.domain.overrides import Override
from shared.domain.plan import Chain, InFlight, Mode, Spec, plan
from shared.domain.policies import Misfire, Overlap, Policies
from shared.domain.schedule import parse_schedule
from tests.builders import ORIGIN, at, every, once

if TYPE_CHECKING:
    from shared.domain.schedule import Schedule

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NEW_YORK = "America/New_York"


def cron(expression: str, timezone: str = "UTC", **terms: Any) -> Schedule:
    early = datetime.fromisoformat("2020-01-01T00:00:00Z")
    config = {"expression": expression}
    return parse_schedule(type="cron", config=config, timezone=timezone, now=early, hash_key="", **terms)


NOON = cron("0 12 * * *")
"""ORIGIN is noon."""
CREATED = ORIGIN - 10 * DAY


def era(
    schedule: Schedule = NOON,
    number: int = 0,
    began: datetime = CREATED,
    mode: Mode = Mode.ACTIVE,
    by: str = "anna",
    reason: str = "created",
) -> Era:
    return Era(number, Spec(schedule, mode), began, by, reason)


def job(*eras: Era, **changes: Any) -> Job:
    eras = eras or (era(),)
    last = eras[-1]
    usual = Job("job-1", "uid", JobState.ACTIVE, "", CREATED, "anna", last.spec.schedule, last.number, ORIGIN, eras)
    return replace(usual, **changes)


def row(state: State, **changes: Any) -> Record:
    usual = Record(
        "uid.0.x", Trigger.SCHEDULE, state, ORIGIN, ORIGIN, "", ORIGIN, due_at=ORIGIN, attempt=1, max_attempts=4,
        queue="scraping", worker="worker@a:1", started_at=at(1), finished_at=at(13),
    )  # fmt: skip
    return replace(usual, **changes)


def waiting(**changes: Any) -> Record:
    return row(State.PENDING, **{"attempt": 0, "worker": "", "started_at": None, "finished_at": None, **changes})


def known(record: Record | None = None, *, of: Job | None = None, instant: datetime = ORIGIN, **changes: Any) -> Known:
    whose = of or job()
    schedule = next((each for each in reversed(whose.eras) if each.began < instant), whose.eras[0]).spec.schedule
    usual = Known(at(60), whose, ask_instant(instant, schedule), record, no_worker={"scraping": ()})
    return replace(usual, **changes)


def kinds(said: Explanation) -> list[Kind]:
    return [fact.kind for fact in said.facts]


QUEUED = row(
    State.QUEUED, execution_id="uid.0.w", nominal_time=at(-60), decided_at=at(-60), due_at=at(-60),
    attempt=0, worker="", started_at=None, finished_at=None,
    steps=(Step(State.PENDING, at(-60), "beat", "due"), Step(State.QUEUED, at(-59), "beat", "confirmed")),
)  # fmt: skip
"""An execution of a minute before that waits in its queue."""
TAKEN = replace(
    QUEUED, state=State.SUCCEEDED, attempt=1, worker="worker@a:1", started_at=at(30), finished_at=at(31),
    steps=(*QUEUED.steps, Step(State.RUNNING, at(30), "worker@a:1", ""), Step(State.SUCCEEDED, at(31), "", "")),
)  # fmt: skip
"""The same, when a worker has taken it at last."""
FAILURE = Failure("UNAVAILABLE", "no route to host", retryable=True)
WHEN = "2026-03-02 12:00"
THE = f"The occurrence of {WHEN} (UTC)"


@pytest.mark.parametrize(
    ("facts", "verdict", "sentence", "expected"),
    [
        # It ran.
        (known(row(State.SUCCEEDED)), Verdict.SUCCEEDED, f"{THE} ran and succeeded.", [Kind.RAN]),
        (
            known(row(State.SUCCEEDED, attempt=2)), Verdict.SUCCEEDED,
            f"{THE} ran and succeeded in attempt 2 of 4.", [Kind.RAN],
        ),
        (
            known(row(State.SUCCEEDED, started_at=at(90), finished_at=at(95))), Verdict.SUCCEEDED,
            f"{THE} ran and succeeded, started 1 min 30 s after it was due.", [Kind.RAN],
        ),
        (
            known(row(State.SUCCEEDED, decided_at=at(2580)), no_beat=(Absence(at(-60), at(2580)),)), Verdict.SUCCEEDED,
            f"{THE} ran and succeeded, 43 min late, as no beat was alive from about 2026-03-02 11:59 to 2026-03-02"
            " 12:43.", [Kind.RAN, Kind.DECIDED_LATE, Kind.BEAT_DOWN],
        ),
        (
            # That no beat was alive is not claimed where nothing says so.
            known(row(State.SUCCEEDED, decided_at=at(2580))), Verdict.SUCCEEDED,
            f"{THE} ran and succeeded, 43 min late.", [Kind.RAN, Kind.DECIDED_LATE],
        ),
        (
            known(row(State.FAILED, attempt=4, error=FAILURE)), Verdict.FAILED,
            f"{THE} ran and failed in attempt 4 of 4: UNAVAILABLE: no route to host.", [Kind.FAILED],
        ),
        (
            known(row(State.FAILED, error=Failure("WORKER_LOST", "worker a fell silent", retryable=False))),
            Verdict.FAILED, f"{THE} ran and failed in attempt 1 of 4: WORKER_LOST: worker a fell silent.",
            [Kind.WORKER_LOST],
        ),
        (
            known(row(State.CANCELLED, steps=(Step(State.CANCELLED, at(5), "worker@a:1", "cancelled by bob: stop"),),
                      stop=Stop("bob", "stop", at(4)))), Verdict.CANCELLED,
            f"{THE} was cancelled while it ran by bob at 2026-03-02 12:00:05: stop.", [Kind.CANCELLED],
        ),
        (
            known(row(State.CANCELLED, started_at=None, expired=True,
                      steps=(Step(State.CANCELLED, at(5), "beat", "it expired at X, before it was started"),))),
            Verdict.CANCELLED, f"{THE} was cancelled, as it expired at X, before it was started.", [Kind.EXPIRED],
        ),
        # It runs, or waits.
        (
            known(row(State.RUNNING, finished_at=None)), Verdict.RUNNING,
            f"{THE} is running since 2026-03-02 12:00:01 (attempt 1 of 4 runs on worker@a:1).", [Kind.RUNNING],
        ),
        (
            known(row(State.WAITING, finished_at=None)), Verdict.RUNNING,
            f"{THE} was started and waits for its parts to end.", [Kind.PARTS],
        ),
        (
            known(waiting(attempt=1, error=FAILURE, due_at=at(120))), Verdict.WAITING,
            f"{THE} waits for its next attempt at 2026-03-02 12:02, as attempt 1 failed: UNAVAILABLE: no route to"
            " host.",
            [Kind.RETRYING],
        ),
        (
            known(waiting(due_at=at(300))), Verdict.WAITING,
            f"{THE} is put off by its jitter to 2026-03-02 12:05.", [Kind.JITTER],
        ),
        (
            known(waiting()), Verdict.WAITING,
            f"{THE} waits to be sent to the queue scraping since {WHEN}.", [Kind.IN_QUEUE],
        ),
        (
            known(row(State.QUEUED, attempt=0, started_at=None, finished_at=None,
                      steps=(Step(State.PENDING, ORIGIN, "beat", "due"), Step(State.QUEUED, at(2), "beat", ""))),
                  no_worker={"scraping": (Absence(at(-300), None),)}), Verdict.WAITING,
            f"{THE} waits in the queue scraping since 2026-03-02 12:00:02, and no worker that serves it has been alive"
            " since about 2026-03-02 11:55.", [Kind.NO_WORKER, Kind.IN_QUEUE],
        ),
        (
            known(waiting(), no_worker={}), Verdict.WAITING,
            f"{THE} waits to be sent to the queue scraping since {WHEN}, and no worker that serves it is known.",
            [Kind.NO_WORKER, Kind.IN_QUEUE],
        ),
        (
            known(waiting(held=True, reason="waits for the execution x to end"),
                  before=(row(State.RUNNING, execution_id="uid.0.w", nominal_time=at(-60), decided_at=at(-60),
                              started_at=at(-59), finished_at=None),)),
            Verdict.WAITING,
            f"{THE} waits until what the job ran before has ended: that of 2026-03-02 11:59 was going since 2026-03-02"
            " 11:59:01.", [Kind.OVERLAP],
        ),
        # It was decided not to run.
        (
            known(row(State.SKIPPED, reason="the execution uid.0.w is still in flight"),
                  before=(row(State.SUCCEEDED, nominal_time=at(-60), decided_at=at(-60), started_at=at(30),
                              finished_at=at(31)),)),
            Verdict.SKIPPED,
            f"{THE} was skipped, as an earlier execution of the job had not ended: that of 2026-03-02 11:59 waited to"
            " be started until 2026-03-02 12:00:30.", [Kind.OVERLAP],
        ),
        (
            known(row(State.SKIPPED, reason="the execution uid.0.w is still in flight"),
                  before=(row(State.SUCCEEDED, attempt=2, nominal_time=at(-60), decided_at=at(-60), started_at=at(30),
                              finished_at=at(31)),)),
            Verdict.SKIPPED,
            f"{THE} was skipped, as an earlier execution of the job had not ended: that of 2026-03-02 11:59 began"
            " its latest attempt at 2026-03-02 12:00:30.", [Kind.OVERLAP],
        ),
        (
            known(row(State.SKIPPED, reason="the execution uid.0.w is still in flight"),
                  before=(row(State.SUCCEEDED, nominal_time=at(-60), decided_at=at(-60), started_at=at(-59),
                              finished_at=at(20)),)),
            Verdict.SKIPPED,
            f"{THE} was skipped, as an earlier execution of the job had not ended: that of 2026-03-02 11:59 was going"
            " since 2026-03-02 11:59:01.", [Kind.OVERLAP],
        ),
        (
            # It waited for a worker, of which none was alive.
            known(row(State.SKIPPED, reason="the execution uid.0.w is still in flight"), before=(QUEUED,),
                  no_worker={"scraping": (Absence(at(-100), None),)}),
            Verdict.SKIPPED,
            f"{THE} was skipped, as an earlier execution of the job had not ended: that of 2026-03-02 11:59 was in the"
            " queue scraping since 2026-03-02 11:59:01, and no worker that serves it has been alive since about"
            " 2026-03-02 11:58:20.", [Kind.OVERLAP, Kind.IN_QUEUE, Kind.NO_WORKER],
        ),
        (
            known(row(State.SKIPPED, reason="the execution uid.0.w is still in flight"), before=(TAKEN,),
                  no_worker={"scraping": (Absence(at(-100), at(25)),)}),
            Verdict.SKIPPED,
            f"{THE} was skipped, as an earlier execution of the job had not ended: that of 2026-03-02 11:59 waited to"
            " be started until 2026-03-02 12:00:30.", [Kind.OVERLAP, Kind.IN_QUEUE, Kind.NO_WORKER],
        ),
        (
            # A worker was there: that it was busy, or frozen, is not known.
            known(row(State.SKIPPED, reason="the execution uid.0.w is still in flight"), before=(QUEUED,)),
            Verdict.SKIPPED,
            f"{THE} was skipped, as an earlier execution of the job had not ended: that of 2026-03-02 11:59 was in the"
            " queue scraping since 2026-03-02 11:59:01.", [Kind.OVERLAP, Kind.IN_QUEUE],
        ),
        (
            # What was in the way is gone by now: what the decision said is all that is known.
            known(row(State.SKIPPED, reason="the execution uid.0.w is still in flight")), Verdict.SKIPPED,
            f"{THE} was skipped, as the execution uid.0.w is still in flight.", [Kind.OVERLAP],
        ),
        (
            known(row(State.COALESCED, decided_at=at(3600)), instead=row(State.SUCCEEDED, nominal_time=at(3540))),
            Verdict.COALESCED,
            f"{THE} did not run by itself: it was found 1 h late, and that of 2026-03-02 12:59 did its work.",
            [Kind.MISFIRE, Kind.DECIDED_LATE],
        ),
        # There is no decision yet.
        (
            known(of=job(covered=at(-60)), instant=ORIGIN + DAY), Verdict.UPCOMING,
            "The occurrence of 2026-03-03 12:00 (UTC) is still to come.", [],
        ),
        (
            known(of=job(era(cron("0 12 * * *", max_runs=5))), instant=ORIGIN + DAY), Verdict.UPCOMING,
            "The occurrence of 2026-03-03 12:00 (UTC) is still to come, unless max_runs ends the job before.",
            [Kind.BOUNDS],
        ),
        (
            known(of=job(covered=at(-60)), no_beat=(Absence(at(-300), None),)), Verdict.OVERDUE,
            f"{THE} was due 1 min ago and no beat has decided it yet; no beat has been alive since about 2026-03-02"
            " 11:55.", [Kind.DECIDED_LATE, Kind.BEAT_DOWN],
        ),
        (
            known(removed_through=ORIGIN), Verdict.UNKNOWN,
            f"What became of the occurrence of {WHEN} (UTC) is not known any more: records of what ended before {WHEN}"
            " have been removed.", [Kind.RETENTION],
        ),
        (
            known(), Verdict.UNKNOWN,
            f"What became of the occurrence of {WHEN} (UTC) is not known: the ledger has no record of it, though it"
            " should; an audit will tell more.", [Kind.UNRECORDED],
        ),
        # The job was not active.
        (
            known(instant=CREATED - DAY), Verdict.NOT_ACTIVE,
            "The occurrence of 2026-02-19 12:00 (UTC) did not run, as the job was created only at 2026-02-20 12:00.",
            [Kind.NOT_CREATED],
        ),
        (
            known(of=job(era(cron("0 12 * * *", start_time=CREATED))), instant=CREATED - DAY), Verdict.NOT_ACTIVE,
            "The occurrence of 2026-02-19 12:00 (UTC) did not run, as the job was created only at 2026-02-20 12:00.",
            [Kind.NOT_CREATED],
        ),
        (
            # There is no such occurrence, and there was no such job.
            known(instant=CREATED - HOUR), Verdict.NO_OCCURRENCE,
            "The job did not fire at 2026-02-20 11:00 (UTC), as the schedule, `0 12 * * *` (UTC), does not name that"
            " time; nor was there the job then, which was created only at 2026-02-20 12:00.",
            [Kind.NOT_NAMED, Kind.NOT_CREATED],
        ),
        (
            known(row(State.SKIPPED, reason="the job was paused"), of=job(
                era(), era(NOON, 1, at(-3600), Mode.PAUSED, "bob", "stock-taking"),
                era(NOON, 2, at(3600), Mode.ACTIVE, "bob", "resumed"))),
            Verdict.NOT_ACTIVE, f"{THE} did not run, as the job was paused by bob at 2026-03-02 11:00: stock-taking.",
            [Kind.PAUSED],
        ),
        (
            known(of=job(era(), era(NOON, 1, at(-3600), Mode.PAUSED, "bob", "paused"), state=JobState.PAUSED),
                  instant=ORIGIN + DAY), Verdict.NOT_ACTIVE,
            "The occurrence of 2026-03-03 12:00 (UTC) will not run unless the job is resumed before: it is paused by"
            " bob at 2026-03-02 11:00.", [Kind.PAUSED],
        ),
        (
            known(of=job(era(), era(NOON, 1, at(-3600), Mode.DELETED, "bob", "gone"), state=JobState.DELETED)),
            Verdict.NOT_ACTIVE, f"{THE} did not run, as the job was deleted by bob at 2026-03-02 11:00: gone.",
            [Kind.DELETED],
        ),
        (
            known(of=job(covered=at(-60), state=JobState.ERROR, status_message="it can't be planned")),
            Verdict.NOT_ACTIVE, f"{THE} did not run, as the job is set aside (ERROR): it can't be planned.",
            [Kind.PARKED],
        ),
        (
            known(of=job(era(cron("0 12 * * *", max_runs=3)), covered=at(-60), state=JobState.COMPLETED)),
            Verdict.NOT_ACTIVE,
            f"{THE} did not run, as the job was completed after the 3 runs that max_runs allows.", [Kind.COMPLETED],
        ),
        # It was no occurrence.
        (
            known(instant=at(300), now=at(600)), Verdict.NO_OCCURRENCE,
            "The job did not fire at 2026-03-02 12:05 (UTC), as the schedule, `0 12 * * *` (UTC), does not name that"
            " time.", [Kind.NOT_NAMED],
        ),
        (
            known(of=job(era(cron("0 12 * * *", exclusions=ExclusionTerms(dates=("2026-03-02",)))))),
            Verdict.NO_OCCURRENCE,
            "The job did not fire at 2026-03-02 12:00 (UTC), as its schedule leaves out 2026-03-02 (one of the excluded"
            " dates).", [Kind.EXCLUDED],
        ),
        (
            known(of=job(era(cron("0 12 * * *", exclusions=ExclusionTerms(
                dates=("2026-03-02",), on_excluded="NEXT_BUSINESS_DAY"))), schedule=NOON)),
            Verdict.NO_OCCURRENCE, None, [Kind.EXCLUDED, Kind.SCHEDULE_CHANGED],
        ),
        (
            known(of=job(era(cron("0 12 * * *", end_time=ORIGIN - DAY)))), Verdict.NO_OCCURRENCE,
            f"The job did not fire at {WHEN} (UTC), which is after its end_time, 2026-03-01 12:00.", [Kind.BOUNDS],
        ),
    ],
)  # fmt: skip
def test_an_answer_says_what_is_known_and_no_more(
    facts: Known, verdict: Verdict, sentence: str | None, expected: list[Kind]
) -> None:
    said = explain(facts)
    assert (said.verdict, kinds(said)) == (verdict, expected)
    assert sentence is None or said.sentence == sentence


@pytest.mark.parametrize("state", sorted(set(State) - {State.CLOSED}))
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("job_state", JobState)
def test_there_is_an_answer_to_everything_in_one_sentence(state: State, mode: Mode, job_state: JobState) -> None:
    bare = Record("uid.0.x", Trigger.SCHEDULE, state, ORIGIN, ORIGIN, "", ORIGIN)
    rows = None, bare, row(state, error=FAILURE, held=True, expired=True, stop=Stop("bob", "a\nb.", ORIGIN))
    its = job(era(mode=mode), state=job_state, status_message="two\nlines.", covered=at(-60))
    for record in rows:
        for now in (at(-60), at(60)):
            said = explain(known(record, of=its, now=now))
            assert said.sentence.startswith(("The ", "What "))
            assert said.sentence.endswith(".")
            assert not said.sentence.endswith("..")
            assert "\n" not in said.sentence


def test_a_history_that_does_not_reach_back_is_said() -> None:
    said = explain(known(of=job(era(NOON, 30, at(3600)))))
    assert (said.verdict, kinds(said)) == (Verdict.UNKNOWN, [Kind.UNRECORDED])


def test_the_attempts_before_are_told_the_latest_few() -> None:
    steps = [Step(State.PENDING, ORIGIN, "beat", "due")]
    for n in range(8):
        steps += [
            Step(State.QUEUED, at(60 * n), "beat", ""),
            Step(State.RUNNING, at(60 * n + (20 if n == 7 else 1)), "worker@a:1", f"attempt {n + 1}"),
            Step(State.PENDING, at(60 * n + 30), "worker@a:1", f"UNAVAILABLE in attempt {n + 1}"),
        ]
    said = explain(known(row(State.SUCCEEDED, attempt=9, steps=tuple(steps))))
    failed = [fact.detail for fact in said.facts if fact.kind is Kind.ATTEMPT_FAILED]
    assert failed == [f"UNAVAILABLE in attempt {n}" for n in range(4, 9)]
    waited = [fact.detail for fact in said.facts if fact.kind is Kind.IN_QUEUE]
    assert waited == ["its message waited 20 s in the queue scraping, until worker@a:1 took it"]


def test_what_was_in_the_way_is_told_with_how_long_it_waited_in_its_queue() -> None:
    skipped = row(State.SKIPPED, reason="the execution uid.0.w is still in flight")
    absent = {"scraping": (Absence(at(-100), at(25)),)}
    of = "the message of the execution of 2026-03-02 11:59"

    def told(*before: Record) -> list[tuple[Kind, str, datetime | None, datetime | None, str]]:
        facts = explain(known(skipped, before=before, no_worker=absent)).facts
        return [
            (each.kind, each.detail, each.since, each.until, each.execution_id)
            for each in facts
            if each.kind is not Kind.OVERLAP
        ]

    nobody = "no worker that serves the queue scraping was alive from about 2026-03-02 11:58:20 to 2026-03-02 12:00:25"
    none = (Kind.NO_WORKER, nobody, at(-100), at(25), "")
    took = f"{of} waited 1 min 29 s in the queue scraping, until worker@a:1 took it"
    assert told(TAKEN) == [(Kind.IN_QUEUE, took, at(-59), at(30), "uid.0.w"), none]
    waits = (Kind.IN_QUEUE, f"{of} waits in the queue scraping", at(-59), None, "uid.0.w")
    assert told(QUEUED) == [waits, none]
    # Two waited while nobody was there: that is said once.
    assert [each[0] for each in told(replace(TAKEN, execution_id="uid.0.v"), QUEUED)].count(Kind.NO_WORKER) == 1
    stopped = (*QUEUED.steps, Step(State.CANCELLED, at(40), "bob", "stop"))
    ended = told(replace(QUEUED, state=State.CANCELLED, finished_at=at(40), steps=stopped))
    assert ended[0] == (
        Kind.IN_QUEUE, f"{of} waited 1 min 39 s in the queue scraping", at(-59), at(40), "uid.0.w"
    )  # fmt: skip
    # What waited only since is no reason.
    later = Step(State.RUNNING, at(-58), "worker@a:1", ""), Step(State.QUEUED, at(1), "relay", "once more")
    assert told(replace(QUEUED, started_at=at(-58), steps=(*QUEUED.steps, *later))) == []


def test_who_paused_a_job_is_not_claimed_when_that_lies_further_back_than_was_read() -> None:
    paused = era(NOON, 30, at(-3600), Mode.PAUSED, "carol", "updated")
    said = explain(known(of=job(paused, state=JobState.PAUSED), instant=ORIGIN + DAY))
    assert (said.facts[0].kind, said.facts[0].by) == (Kind.PAUSED, "")
    assert "paused, since 2026-03-02 11:00 or before" in said.sentence


def test_an_edit_of_a_paused_job_does_not_hide_who_paused_it() -> None:
    eras = (
        era(),
        era(NOON, 1, at(-3600), Mode.PAUSED, "bob", "paused"),
        era(NOON, 2, at(-60), Mode.PAUSED, "carol", "updated"),
    )
    said = explain(known(of=job(*eras, state=JobState.PAUSED), instant=ORIGIN + DAY))
    assert (said.facts[0].by, said.facts[0].since, said.facts[0].until) == ("bob", at(-3600), None)


def test_the_schedule_in_force_then_answers_not_the_present_one() -> None:
    eras = era(), era(cron("0 9 * * *"), 1, at(3600), by="dora")
    said = explain(known(row(State.SUCCEEDED), of=job(*eras)))
    assert said.verdict is Verdict.SUCCEEDED
    changed = said.facts[-1]
    assert (changed.kind, changed.by, changed.since) == (Kind.SCHEDULE_CHANGED, "dora", at(3600))
    assert "was `0 12 * * *` (UTC) then, and is `0 9 * * *` (UTC) now" in changed.detail


@pytest.mark.parametrize(
    ("instant", "before", "after"),
    [
        # Noon until the day after's, and nine o'clock since then.
        (ORIGIN, ORIGIN - DAY, ORIGIN + DAY),
        (ORIGIN + DAY, ORIGIN, ORIGIN + 2 * DAY - 3 * HOUR),
        (ORIGIN + DAY + MINUTE, ORIGIN + DAY, ORIGIN + 2 * DAY - 3 * HOUR),
        (ORIGIN + 2 * DAY - 3 * HOUR, ORIGIN + DAY, ORIGIN + 3 * DAY - 3 * HOUR),
        # Nothing is before its creation, and nothing after its deletion.
        (CREATED - DAY, None, CREATED + DAY),
        (CREATED + DAY, None, CREATED + 2 * DAY),
        (ORIGIN + 4 * DAY - 3 * HOUR, ORIGIN + 3 * DAY - 3 * HOUR, None),
        (ORIGIN + 9 * DAY, ORIGIN + 4 * DAY - 3 * HOUR, None),
    ],
)
def test_the_times_around_it_are_those_of_the_schedules_that_were_in_force_at_them(
    instant: datetime, before: datetime | None, after: datetime | None
) -> None:
    nine = cron("0 9 * * *")
    its = job(
        era(),
        era(nine, 1, ORIGIN + DAY + MINUTE),
        era(nine, 2, ORIGIN + 4 * DAY, Mode.DELETED),
    )
    said = explain(known(of=its, instant=instant, now=ORIGIN + 10 * DAY))
    assert [fire and fire.time for fire in (said.previous, said.next)] == [before, after]


def test_a_time_after_it_is_not_claimed_of_a_schedule_of_which_it_is_not_known_how_long_it_lasted() -> None:
    said = explain(known(of=job(era(), era(NOON, 1, at(60)), epoch=30), instant=ORIGIN))
    assert (said.previous is not None, said.next) == (True, None)
    said = explain(known(of=job(era(), era(NOON, 30, ORIGIN + 9 * DAY)), instant=ORIGIN))
    assert said.next is not None
    assert said.next.time == ORIGIN + 10 * DAY


def test_an_occurrence_that_was_moved_is_told_at_both_of_its_times() -> None:
    moved = Override(ORIGIN, at(7200), "bob", "window", at(-3600))
    its = job(Era(0, Spec(NOON, Mode.ACTIVE, (moved,)), CREATED, "anna", "created"))
    ran = row(State.SUCCEEDED, nominal_time=at(7200), decided_at=at(7200), due_at=at(7200), started_at=at(7201))
    said = explain(known(row(State.SKIPPED, reason=moved.left_out), of=its, others=(ran,), now=at(9000)))
    assert (said.verdict, kinds(said)) == (Verdict.SKIPPED, [Kind.OVERRIDE, Kind.RUN_AGAIN])
    assert said.facts[1].detail.startswith("run at the time that it was moved to")
    said = explain(known(ran, of=its, instant=at(7200), now=at(9000)))
    assert (said.verdict, kinds(said)) == (Verdict.SUCCEEDED, [Kind.RAN, Kind.OVERRIDE])
    assert said.facts[1].by == "bob"


def test_further_executions_of_the_same_time_are_told() -> None:
    retry = row(State.SUCCEEDED, execution_id="uid.r.y", trigger=Trigger.RETRY)
    said = explain(known(row(State.FAILED, error=FAILURE), others=(retry,)))
    assert (said.facts[-1].kind, said.facts[-1].execution_id) == (Kind.RUN_AGAIN, "uid.r.y")
    assert said.facts[-1].detail == "retried by hand, as an execution of its own, which is SUCCEEDED"


@pytest.mark.parametrize(
    ("expression", "wall", "instant", "missing", "stands"),
    [
        ("30 2 * * *", "2026-03-08T02:30", "2026-03-08T07:00:00Z", True, True),
        ("30 2 * * *", "2026-03-08T02:31", "2026-03-08T07:00:00Z", True, False),
        ("*/30 * * * *", "2026-03-08T02:30", "2026-03-08T07:00:00Z", True, False),
        ("30 1 * * *", "2026-11-01T01:30", "2026-11-01T05:30:00Z", False, False),
        ("0 12 * * *", "2026-11-01T01:30", "2026-11-01T05:30:00Z", False, False),
        ("30 8 * * *", "2026-06-01T08:30", "2026-06-01T12:30:00Z", False, False),
    ],
)
def test_a_wall_clock_time_is_found_by_the_clock_of_the_schedule(
    expression: str, wall: str, instant: str, missing: bool, stands: bool
) -> None:
    seconds = int(datetime.fromisoformat(wall + "Z").timestamp())
    question = ask_wall(seconds, cron(expression, NEW_YORK))
    assert question.instant == datetime.fromisoformat(instant)
    assert (bool(question.missing), question.stands) == (missing, stands)


def test_the_second_of_two_passes_is_meant_where_only_that_fires() -> None:
    second = parse_schedule(
        type="cron", config={"expression": "30 1 * * *", "repeat": "SECOND"}, timezone=NEW_YORK, now=ORIGIN, hash_key=""
    )
    wall = int(datetime.fromisoformat("2026-11-01T01:30Z").timestamp())
    assert ask_wall(wall, second).instant == datetime.fromisoformat("2026-11-01T06:30:00Z")
    first = datetime.fromisoformat("2026-11-01T05:30:00Z")
    said = explain(known(of=job(era(second), covered=first), instant=first, now=first))
    assert said.verdict is Verdict.NO_OCCURRENCE
    assert "01:30 comes twice, and the schedule fires the second time only" in said.sentence


def test_an_instant_to_the_second_means_the_occurrence_within_it() -> None:
    odd = every(3600, anchor=ORIGIN + timedelta(milliseconds=250))
    assert ask_instant(at(3600), odd).instant == at(3600.25)
    assert ask_instant(at(3599), odd).instant == at(3599)


POLICIES = {
    "misfire_skip": Policies(misfire=Misfire.SKIP),
    "misfire_latest": Policies(misfire=Misfire.FIRE_LATEST),
    "misfire_all": Policies(misfire=Misfire.FIRE_ALL, misfire_limit=1, overlap=Overlap.ALLOW),
    "overlap_skip": Policies(overlap=Overlap.SKIP),
    "overlap_buffer": Policies(overlap=Overlap.BUFFER_ONE),
    "overlap_allow": Policies(overlap=Overlap.ALLOW, max_concurrent=1),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("mode", [Mode.ACTIVE, Mode.PAUSED])
@pytest.mark.parametrize("late", [0, 7200])
@pytest.mark.parametrize(
    "in_flight", [(), (InFlight("uid.0.w"),), (InFlight("uid.0.w"), InFlight("uid.0.v", held=True))]
)
def test_whatever_the_planner_decides_is_explained_as_what_it_is(
    name: str, mode: Mode, late: int, in_flight: tuple[InFlight, ...]
) -> None:
    hourly = every(1800)
    spec = Spec(hourly, mode)
    now = at(1800 + late)
    chain = Chain("uid", 0, ORIGIN, at(1800), spec)
    for decided in plan(chain, {}, in_flight, now, POLICIES[name]).rows:
        assert decided.first is not None
        record = row(
            decided.state, nominal_time=decided.first, last=decided.last, reason=decided.reason, held=decided.held,
            decided_at=now, due_at=decided.due_at, attempt=0, started_at=None, finished_at=None,
        )  # fmt: skip
        its = job(era(hourly, mode=mode), covered=decided.last)
        said = explain(known(record, of=its, instant=decided.first, now=now))
        if mode is Mode.PAUSED:
            assert (said.verdict, said.facts[0].kind) == (Verdict.NOT_ACTIVE, Kind.PAUSED)
        elif decided.state is State.PENDING:
            assert said.verdict is Verdict.WAITING
            assert (said.facts[0].kind is Kind.OVERLAP) == decided.held
        elif decided.state is State.COALESCED:
            assert (said.verdict, said.facts[0].kind) == (Verdict.COALESCED, Kind.MISFIRE)
        else:
            misfire = name == "misfire_skip" and late > 0 and decided.first <= now - MINUTE
            assert (said.verdict, said.facts[0].kind) == (Verdict.SKIPPED, Kind.MISFIRE if misfire else Kind.OVERLAP)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (NOON, "`0 12 * * *` (UTC)"),
        (every(5400), "every 1 h 30 min"),
        (once(ORIGIN), "once at 2026-03-02T12:00:00+00:00"),
        (
            parse_schedule(type="cron", config={"hour": "8", "minute": "0"}, now=ORIGIN, hash_key=""),
            "`0 8 * * *` (UTC)",
        ),
        (
            parse_schedule(type="cron", config={}, expressions=("0 8 * * *", "0 9 * * *"), now=ORIGIN, hash_key=""),
            "`0 8 * * *` or `0 9 * * *` (UTC)",
        ),
    ],
)
def test_a_schedule_is_told_in_short(schedule: Schedule, text: str) -> None:
    assert schedule_text(schedule) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.25, "0.2 s"), (12.34, "12.3 s"), (59.94, "59.9 s"), (60, "1 min"), (2580, "43 min"),
     (3665, "1 h 1 min"), (90_000, "1 d 1 h"), (-3, "0 s")],
)  # fmt: skip
def test_a_span_is_told_in_the_units_that_matter(seconds: float, text: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == text

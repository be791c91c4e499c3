"""Two planners and an editor, interleaved in every way, with snapshots and clock readings of any age, and crashes.

The protocol of beat's fire over the real plan(), against a ledger in memory.
Checked in every state that can be reached: no occurrence is decided twice, none is passed undecided. Each rule of the
protocol can be switched off, and is then missed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest

from shared.domain.execution import State
from shared.domain.plan import Chain, Change, InFlight, Mode, Row, Spec, must_follow, plan
from shared.domain.policies import Misfire, Overlap, Policies
from tests.builders import ORIGIN, at, every

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

GRACE = timedelta(seconds=1)
POLICIES = {
    "default": Policies(misfire_grace=GRACE),
    "fire all, buffer": Policies(Misfire.FIRE_ALL, GRACE, misfire_limit=2, overlap=Overlap.BUFFER_ALL, buffer_limit=2),
    "skip, allow": Policies(Misfire.SKIP, GRACE, overlap=Overlap.ALLOW, max_concurrent=2),
    "cancel previous": Policies(misfire_grace=GRACE, overlap=Overlap.CANCEL_PREVIOUS),
}

SPECS = {
    "every": Spec(every(1), Mode.ACTIVE),
    "odd": Spec(every(2, anchor=at(-1)), Mode.ACTIVE),
    "until 2": Spec(every(1, end=at(2)), Mode.ACTIVE),
    "two runs": Spec(replace(every(1), max_runs=2), Mode.ACTIVE),
    "paused": Spec(every(1), Mode.PAUSED),
    "deleted": Spec(every(1), Mode.DELETED),
}


class Job(NamedTuple):
    """A job's document; instants are seconds."""

    revision: int
    epoch: int
    covered: int
    pointer: int | None
    spec: str
    changes: tuple[tuple[str, int], ...]
    past: tuple[tuple[str, int], ...]
    """What each ended epoch followed, and reached; only the check looks at it."""
    fired: int = 0


class Stored(NamedTuple):
    """A row; its id is (epoch, first)."""

    epoch: int
    first: int | None
    last: int
    state: State
    held: bool = False


class Snapshot(NamedTuple):
    """What a beat holds between reading the job and reading the rows."""

    job: Job
    now: int
    follow: bool


class Carrying(NamedTuple):
    """A beat that carries out a plan; `done` of its rows are in."""

    seen: Snapshot
    becomes: Job
    rows: tuple[Stored, ...]
    done: int


class Editing(NamedTuple):
    to: str
    time: int
    revision: int


Actor: TypeAlias = Snapshot | Carrying | Editing | None


class World(NamedTuple):
    now: int
    job: Job
    rows: frozenset[Stored]
    beats: tuple[Actor, Actor]
    editor: Editing | None


START = World(1, Job(0, 0, 0, 1, "every", (), ()), frozenset(), (None, None), None)


def seconds(instant: datetime | None) -> int | None:
    return None if instant is None else int((instant - ORIGIN).total_seconds())


def surely(instant: datetime) -> int:
    return int((instant - ORIGIN).total_seconds())


@cache
def pointer_after(spec: str, covered: int) -> int | None:
    of = SPECS[spec]
    return None if of.mode is Mode.DELETED else seconds(of.schedule.next_after(at(covered)))


@cache
def to_chain(job: Job) -> Chain:
    changes = tuple(Change(SPECS[spec], at(cutoff), "", "", counts_anew=True) for spec, cutoff in job.changes)
    pointer = None if job.pointer is None else at(job.pointer)
    return Chain("uid", job.epoch, at(job.covered), pointer, SPECS[job.spec], changes, job.fired)


@cache
def decide(
    job: Job, standing: frozenset[Stored], blocker: str | None, now: int, policies: str
) -> tuple[tuple[Stored, ...], Job] | None:
    """Return the rows to insert and the job as it is to become; None for a snapshot that is stale."""
    rows = dict(map(_to_row, standing))
    in_flight = (InFlight(blocker),) if blocker else ()
    decided = plan(to_chain(job), rows, in_flight, at(now), POLICIES[policies])
    if decided.stale:
        return None
    new = tuple(Stored(job.epoch, seconds(r.first), surely(r.last), r.state, r.held) for r in decided.rows)
    covered, pointer = surely(decided.covered), seconds(decided.pointer)
    if decided.install is None:
        return new, job._replace(covered=covered, pointer=pointer, fired=decided.fired)
    installed = Job(
        job.revision + 1,
        decided.install.epoch,
        covered,
        pointer,
        job.changes[0][0],
        job.changes[1:],
        (*job.past, (job.spec, surely(decided.install.reached))),
        decided.fired,
    )
    return new, installed


def _to_row(row: Stored) -> tuple[datetime | None, Row]:
    first = None if row.first is None else at(row.first)
    return first, Row(row.state, first, at(row.last), held=row.held)


def from_pointer(world: World, job: Job) -> frozenset[Stored]:
    return frozenset(
        row
        for row in world.rows
        if row.epoch == job.epoch and (row.first is None or (job.pointer is not None and row.first >= job.pointer))
    )


class Bounds(NamedTuple):
    """How far a check goes, and the rule that is switched off in it."""

    ends: int
    edits: int
    edit_to: tuple[str, ...] = tuple(SPECS)
    broken: str = ""
    policies: str = "default"


def steps(world: World, bounds: Bounds) -> Iterator[World]:
    """All that may happen next."""
    if world.now < bounds.ends:
        yield world._replace(now=world.now + 1)
    yield from edit_steps(world, bounds)
    for number in (0, 1):
        for after, actor in beat_steps(world, world.beats[number], bounds):
            yield after._replace(beats=(actor, after.beats[1]) if number == 0 else (after.beats[0], actor))


def edit_steps(world: World, bounds: Bounds) -> Iterator[World]:
    job, editing = world.job, world.editor
    if editing is None:
        if len(job.past) + len(job.changes) < bounds.edits:
            standing = job.changes[-1][0] if job.changes else job.spec
            for to in bounds.edit_to:
                if to != standing:
                    yield world._replace(editor=Editing(to, world.now, job.revision))
        return
    yield world._replace(editor=None)  # refused, as the job has changed, or crashed
    if editing.revision == job.revision:
        cutoff = max(editing.time, job.covered, *(cutoff for _, cutoff in job.changes))
        edited = job._replace(revision=job.revision + 1, changes=(*job.changes, (editing.to, cutoff)))
        if bounds.broken == "edits take effect at once":
            edited = Job(
                job.revision + 1,
                job.epoch + 1,
                cutoff,
                pointer_after(editing.to, cutoff),
                editing.to,
                (),
                (*job.past, (job.spec, cutoff)),
            )
        yield world._replace(editor=None, job=edited)


def beat_steps(world: World, beat: Actor, bounds: Bounds) -> Iterator[tuple[World, Actor]]:
    job = world.job
    if beat is None:
        if job.changes or (
            SPECS[job.spec].mode is Mode.ACTIVE and job.pointer is not None and job.pointer <= world.now
        ):
            yield world, Snapshot(job, world.now, follow=False)
        return
    yield world, None  # crashes
    if isinstance(beat, Snapshot):
        follow = beat.follow or must_follow(to_chain(beat.job), at(beat.now))
        standing = from_pointer(world, beat.job) if follow else frozenset()
        # An execution may be in flight or have ended, whatever the rows say.
        for blocker in (None, "in flight"):
            decided = decide(beat.job, standing, blocker, beat.now, bounds.policies)
            if decided is not None:
                rows, becomes = decided
                if bounds.broken == "no closing row":
                    rows = tuple(row for row in rows if row.state is not State.CLOSED)
                yield world, Carrying(beat, becomes, rows, 0)
    elif isinstance(beat, Carrying):
        yield carry_on(world, beat, bounds.broken)


def carry_on(world: World, beat: Carrying, broken: str) -> tuple[World, Actor]:
    seen = beat.seen
    if beat.done < len(beat.rows):
        row, inserted = beat.rows[beat.done], beat._replace(done=beat.done + 1)
        there = next((r for r in world.rows if r[:2] == row[:2]), None)
        if there is None:
            return world._replace(rows=world.rows | {row}), inserted
        if there == row or broken == "duplicates are ignored":
            return world, inserted
        if broken == "later rows are loose" and inserted.done < len(beat.rows):
            return world, inserted
        return world, None if seen.follow else seen._replace(follow=True)
    if (world.job.revision, world.job.pointer) == (seen.job.revision, seen.job.pointer):
        return world._replace(job=beat.becomes), None
    return world, None


def fault(job: Job, rows: frozenset[Stored]) -> str:
    specs = [*job.past, (job.spec, job.covered)]
    decided = set()
    for row in rows:
        if row.state is State.CLOSED:
            continue
        assert row.first is not None
        for instant in range(row.first, row.last + 1):
            if is_occurrence(specs[row.epoch][0], instant):
                if instant in decided:
                    return "decided twice"
                decided.add(instant)
    begin = 1
    for epoch, (spec, reached) in enumerate(specs):
        fired = sorted(row.last for row in rows if row.epoch == epoch and row.state is State.PENDING)
        most = SPECS[spec].schedule.max_runs
        if most is not None and len(fired) > most:
            return "more runs than are allowed"
        last = reached if most is None or len(fired) < most else fired[-1]
        for instant in range(begin, last + 1):
            if is_occurrence(spec, instant) and instant not in decided:
                return "passed undecided"
        begin = reached + 1
    return ""


@cache
def is_occurrence(spec: str, instant: int) -> bool:
    return pointer_after(spec, instant - 1) == instant


def explore(bounds: Bounds) -> tuple[str, int]:
    """Go through all states; return the first fault and how many states there were."""
    seen, frontier = {START}, [START]
    checked = {(START.job, START.rows)}
    while frontier:
        for after in steps(frontier.pop(), bounds):
            if after in seen:
                continue
            seen.add(after)
            frontier.append(after)
            if (after.job, after.rows) not in checked:
                checked.add((after.job, after.rows))
                if wrong := fault(after.job, after.rows):
                    return wrong, len(seen)
    return "", len(seen)


@pytest.mark.parametrize(
    "bounds",
    [Bounds(ends=2, edits=1), *[Bounds(ends=3, edits=0, policies=policies) for policies in POLICIES]],
)
def test_no_occurrence_is_decided_twice_or_lost_however_planners_and_edits_interleave(bounds: Bounds) -> None:
    wrong, states = explore(bounds)
    assert not wrong
    assert states > 5_000


@pytest.mark.parametrize("seed", range(4))
def test_nor_on_long_random_walks_with_many_edits(seed: int) -> None:
    chance, bounds = Random(seed), Bounds(ends=12, edits=6, policies=list(POLICIES)[seed % len(POLICIES)])
    for _ in range(150):
        world = START
        for _ in range(150):
            if not (possible := list(steps(world, bounds))):
                break
            world = chance.choice(possible)
            assert not fault(world.job, world.rows), sorted(map(str, world.rows))


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(ends=4, edits=0, broken="duplicates are ignored"),
        Bounds(ends=4, edits=0, broken="later rows are loose"),
        Bounds(ends=4, edits=1, broken="edits take effect at once"),
        Bounds(ends=3, edits=1, broken="no closing row", edit_to=("odd",)),
    ],
    ids=lambda bounds: bounds.broken,
)
def test_each_rule_is_needed(bounds: Bounds) -> None:
    wrong, _ = explore(bounds)
    assert wrong

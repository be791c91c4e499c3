"""The firing of one job: beats that plan from stale snapshots, edits, and the runs that may not overlap.

Time runs from 1 to `ends`; the schedule names every instant, or some; single ones may be left out, or moved. Beats,
which may crash between any two operations on the store, and act on what it read, the clock too, at any later time; any
number of relays, likewise. It shares no code with the product; docs/decisions/0006 and 0015 say what the rules are for.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tests.model.explore import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRED, CLOSED = "fired", "closed"
OPEN = frozenset({"held", "due", "running", "waiting", "last"})
"""What a run that has not ended may be: waiting for its retry; last is one that runs and will not be tried again."""
CLAIMABLE = OPEN - {"held"}


class Size(NamedTuple):
    """How far an exploration goes, and the rule that is switched off in it."""

    ends: int
    edits: int = 0
    edit_to: tuple[str, ...] = ("odd", "until 2", "paused", "deleted")
    """Schedules and modes; overlap policies; changes of single occurrences, as `skip 3`, `move 3 2`, `restore 3`.

    With `every` among them, a deleted job may live again.
    """
    misfire: str = "FIRE_LATEST"
    overlap: str = ""
    """Empty: runs end as soon as they are decided, and are not followed."""
    spec: str = "every"
    beats: int = 2
    lag: int = 0
    """How much older than the job, as it is read, the time may be that goes with it: in a burst it is asked once."""
    replicas: bool = False
    """Whether all read what a majority has, which may lack the last edit, whatever the time is; then it is answered."""
    broken: str = ""


class Rule(NamedTuple):
    """What the protocol relies on, and the size at which something goes wrong without it."""

    says: str
    missed_at: Size


OVERLAPS: Final = ("SKIP", "BUFFER_ONE", "BUFFER_ALL", "CANCEL_PREVIOUS", "ALLOW")
MOST_FIRED_LATE = 2
MOST_CONCURRENT = 2


REVIVED: Final = ("deleted", "every")


MOVED: Final = ("move 3 4", "until 2")
MOVED_EARLY: Final = ("move 3 2", "restore 3")


def edited(ends: int, to: str = "odd", spec: str = "every") -> Size:
    return Size(ends, edits=1, edit_to=(to,), spec=spec, overlap="SKIP" if to == "deleted" else "")


RULES: Final = {
    "abandon": Rule("a plan that meets another decision is abandoned", Size(4)),
    "in order": Rule("a plan's later row is inserted only after the one before it", Size(4)),
    "queue": Rule("an edit is queued for a beat to install, instead of taking effect at once", edited(3)),
    "close": Rule("a change is installed behind a closing row at the end of the old chain", edited(4)),
    "revision": Rule("the pointer advances only if nobody edited the job meanwhile", edited(2, spec="until 2")),
    "wake": Rule("an edit wakes the job", edited(2, spec="until 2")),
    "open rows last": Rule("what is in flight is read after the job and its chain", Size(2, overlap="SKIP")),
    "own rows": Rule("the rows of one plan count each other", Size(2, overlap="SKIP", misfire="FIRE_ALL")),
    "retries": Rule("what waits for its retry is in flight", Size(2, overlap="SKIP")),
    "held rows": Rule("what is held is in flight", Size(3, overlap="BUFFER_ALL")),
    "release in order": Rule("a held row is released when nothing earlier is open", Size(2, overlap="BUFFER_ALL")),
    "release once": Rule("a held row is released by a compare-and-set", Size(2, overlap="BUFFER_ALL")),
    "earlier only": Rule("CANCEL_PREVIOUS ends only what is earlier", Size(3, overlap="CANCEL_PREVIOUS")),
    "end behind": Rule("what a deleted job has in flight is ended when its chain is closed", edited(2, "deleted")),
    "end before": Rule("that is ended before the deletion is in force", edited(2, "deleted")),
    "last attempt": Rule("an attempt that runs when its job is deleted is the last", edited(2, "deleted")),
    "this life": Rule(
        "a deletion ends what the job has in flight of the life that it ends, and nothing of a later one",
        Size(2, edits=2, edit_to=REVIVED, overlap="SKIP"),
    ),
    "in time": Rule(
        "an occurrence is skipped, moved or restored only if it comes after the cutoff", edited(2, "skip 2")
    ),
    "answered in time": Rule(
        "that a change of an occurrence holds is answered only if what it concerns is still to come by then",
        edited(2, "skip 2")._replace(replicas=True),
    ),
    "reached": Rule("what the chain has reached is not changed any more", edited(4, "move 3 4", "odd")),
    "taken over": Rule(
        "an epoch takes the overrides of the one before over", Size(3, edits=2, edit_to=("skip 3", "odd"), beats=1)
    ),
    "half decided": Rule(
        "what was moved away has still to run, whatever the schedule names now",
        Size(4, edits=2, edit_to=MOVED, spec="odd", beats=1),
    ),
}


Overrides: TypeAlias = "tuple[tuple[int, int], ...]"
"""(nominal, the instant that it is moved to; 0: it is skipped)"""


class Job(NamedTuple):
    """A job's document."""

    revision: int = 0
    epoch: int = 0
    covered: int = 0
    wake: int | None = 1
    spec: str = "every"
    overlap: str = ""
    changes: tuple[tuple[str, int], ...] = ()
    """(spec, or change of an occurrence; cutoff)"""
    overrides: Overrides = ()
    past: tuple[tuple[str, Overrides, int], ...] = ()
    """What each ended epoch followed, and reached; only the check looks at it, as at the rest."""
    promised: Overrides = ()
    """What clients were told to hold, when the clock was right."""
    taken_back: tuple[int, ...] = ()
    """Instants of moves that were; so promised."""
    moves: tuple[tuple[int, int], ...] = ()
    """All that were accepted, by whatever clock."""


class Row(NamedTuple):
    """A decision; (epoch, first) is its id. run: how far a fired one got. most: how many may run, it included.

    A closing row has in `last` what its epoch reached.
    """

    epoch: int
    first: int | None
    last: int
    kind: str
    run: str = ""
    most: int = 1


class Read(NamedTuple):
    """A beat that has read the job. open_rows: what is in flight, if it has read that before the chain."""

    job: Job
    now: int
    follow: bool = False
    open_rows: tuple[Row, ...] | None = None


class Followed(NamedTuple):
    """A beat that has read the chain, too."""

    read: Read
    chain: frozenset[Row]


class Carrying(NamedTuple):
    """A beat that carries out its plan: `done` of the rows are in. ended: so is what a deletion or the policy ends."""

    read: Read
    rows: tuple[Row, ...]
    covered: int
    install: bool
    done: int = 0
    ended: bool = False


Beat: TypeAlias = Read | Followed | Carrying | None


class World(NamedTuple):
    now: int
    job: Job
    rows: frozenset[Row]
    beats: tuple[Beat, ...]
    releases: frozenset[tuple[int, int | None]] = frozenset()
    """Held rows that some relay, at some time, has found to be free."""
    majority: Job | None = None
    """The job as a majority has it, where it lacks an edit."""
    promise: tuple[int, Job] | None = None
    """The first instant that this edit concerns, and the job with what its client is told by then."""


@cache
def next_after(spec: str, instant: int, overrides: Overrides = ()) -> int | None:
    """The first occurrence after an instant, with those that were moved there."""
    if spec == "deleted":
        return None
    moved = [to for _, to in overrides if to > instant]
    if spec == "until 2" and instant >= 2:
        return min(moved, default=None)
    return min([instant + 2 if spec == "odd" and instant % 2 else instant + 1, *moved])


def occurrences(spec: str, after: int, through: int, overrides: Overrides = ()) -> list[int]:
    found = []
    while (following := next_after(spec, after, overrides)) is not None and following <= through:
        found.append(after := following)
    return found


def named(spec: str, instant: int) -> bool:
    return next_after(spec, instant - 1) == instant


def left_out(spec: str, overrides: Overrides) -> frozenset[int]:
    """What does not run of what the schedule names."""
    return frozenset(nominal for nominal, _ in overrides if named(spec, nominal)) - {to for _, to in overrides}


# Changes of single occurrences:


def is_override(change: str) -> bool:
    return change.split(maxsplit=1)[0] in {"skip", "move", "restore"}


def changed_override(overrides: Overrides, change: str) -> Overrides:
    what, nominal, *to = change.split()
    others = tuple(each for each in overrides if each[0] != int(nominal))
    return others if what == "restore" else (*others, (int(nominal), int(to[0]) if to else 0))


def concerned(overrides: Overrides, change: str) -> int:
    """The first instant of those that a change concerns; when that is decided it comes too late."""
    nominal = int(change.split()[1])
    both = (*overrides, *changed_override((), change))
    return min(instant for each in both if each[0] == nominal for instant in (*each, nominal) if instant)


def standing(spec: str, overrides: Overrides, reached: int, broken: str = "") -> Overrides:
    """The overrides that an epoch takes over."""
    if broken == "taken over":
        return ()
    half = broken != "half decided"
    return tuple(
        each
        for each in overrides
        if max(each) > reached
        and (named(spec, each[0]) or (half and min(instant for instant in each if instant) <= reached))
    )


# Planning:


def must_follow(job: Job, now: int) -> bool:
    """Whether the chain has to be read: not where a single occurrence is due."""
    return bool(job.changes) or len(occurrences(job.spec, job.covered, now, job.overrides)) > 1


def plan(read: Read, chain: frozenset[Row], open_rows: tuple[Row, ...], size: Size) -> Carrying | None:
    """Decide what is due; None when the snapshot is stale: the chain is closed, and it does not know why."""
    job = read.job
    there = {row.first: row for row in chain if row.epoch == job.epoch}
    end, closing = job.covered, None
    while (row := there.get(next_after(job.spec, end, job.overrides))) is not None:
        if row.kind == CLOSED:
            closing = row
            break
        end = row.last
    if closing is not None:
        return Carrying(read, (), closing.last, install=True) if job.changes else None
    through = job.changes[0][1] if job.changes else read.now
    rows = decide(read, end, through, open_rows, size)
    end = rows[-1].last if rows else end
    if not job.changes:
        return Carrying(read, tuple(rows), end, install=False)
    end = max(end, through)
    if size.broken != "close":
        rows.append(Row(job.epoch, next_after(job.spec, end, job.overrides), end, CLOSED))
    return Carrying(read, tuple(rows), end, install=True)


def decide(read: Read, after: int, through: int, open_rows: tuple[Row, ...], size: Size) -> list[Row]:
    job = read.job
    every = occurrences(job.spec, after, through, job.overrides)
    if job.spec == "paused":
        return gap(job, every, "paused")
    out = left_out(job.spec, job.overrides)
    rows = decide_runs(read, [instant for instant in every if instant not in out], open_rows, size)
    return with_left_out(job, rows, [instant for instant in every if instant in out])


def with_left_out(job: Job, rows: list[Row], out: list[int]) -> list[Row]:
    """Put a row of its own for each instant that is left out among the others; those that span one fall apart."""
    for instant in out:
        rows = [
            part
            for row in rows
            for part in (
                [row]
                if not (row.first or 0) < instant < row.last
                else [
                    row._replace(last=occurrences(job.spec, 0, instant - 1, job.overrides)[-1]),
                    row._replace(first=next_after(job.spec, instant, job.overrides)),
                ]
            )
        ]
    single = [Row(job.epoch, instant, instant, "left out") for instant in out]
    return sorted([*rows, *single], key=lambda row: row.first or 0)


def decide_runs(read: Read, due: list[int], open_rows: tuple[Row, ...], size: Size) -> list[Row]:
    job = read.job
    late = [instant for instant in due if instant < read.now]
    if size.misfire == "SKIP":
        dropped = late
    elif size.misfire == "FIRE_ALL":
        dropped = late[:-MOST_FIRED_LATE]
    else:
        dropped = due[:-1] if late else []
    rows = gap(job, dropped, "misfired")
    to_fire = due[len(dropped) :]
    if job.overlap == "CANCEL_PREVIOUS":
        rows += gap(job, to_fire[:-1], "would be cancelled")
        to_fire = to_fire[-1:]
    in_flight = [row.run for row in open_rows]
    for number, instant in enumerate(to_fire):
        run = fire(job.overlap, in_flight)
        if not run:
            # One row stands for all that come to the same.
            return [*rows, *gap(job, to_fire[number:], "overlaps")]
        rows.append(Row(job.epoch, instant, instant, FIRED, run, MOST_CONCURRENT if job.overlap == "ALLOW" else 1))
        if size.broken != "own rows":
            in_flight.append(run)
    return rows


def fire(overlap: str, in_flight: list[str]) -> str:
    """How an occurrence fires, or empty if it does not."""
    if not overlap:
        return "done"
    held = in_flight.count("held")
    if not held and len(in_flight) < (MOST_CONCURRENT if overlap == "ALLOW" else 1):
        return "due"
    return "held" if overlap in {"BUFFER_ALL", "CANCEL_PREVIOUS"} or (overlap == "BUFFER_ONE" and not held) else ""


def gap(job: Job, instants: list[int], kind: str) -> list[Row]:
    return [Row(job.epoch, instants[0], instants[-1], kind)] if instants else []


# What may happen:


class Firing:
    """The model; see tests.model.explore.Model."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self.start = World(1, Job(spec=size.spec, overlap=size.overlap), frozenset(), (None,) * size.beats)

    def steps(self, world: World) -> Iterator[Step[World]]:
        if world.now < self._size.ends:
            yield Step("time passes", world._replace(now=world.now + 1))
        if world.majority is None:
            yield from self._edits(world)
        else:
            yield Step("a majority has the edit", answered(world, self._size.broken))
        for number, beat in enumerate(world.beats):
            others = world.beats[:number] + world.beats[number + 1 :]
            if beat in others[:number]:
                continue  # they are alike
            for what, after, becomes in self._beat(world, beat):
                beats = tuple(sorted((*others, becomes), key=hash))
                yield Step(f"a beat {what}", after._replace(beats=beats), what == "crashes")
        if self._size.overlap:
            yield from self._runs(world)

    def _edits(self, world: World) -> Iterator[Step[World]]:
        """The server: one compare-and-set, with the reading of a clock that may be late."""
        job, size = world.job, self._size
        specs = [job.spec, *(to for to, _ in job.changes if not is_override(to))]
        if job.revision >= size.edits * 2 or len(job.past) + len(job.changes) >= size.edits:
            return
        for to in size.edit_to:
            if specs[-1] == "deleted" and to != "every":
                continue
            if is_override(to):
                yield from self._overrides(world, specs[-1], to)
                continue
            if to in OVERLAPS:
                if to != job.overlap and job.revision < size.edits:
                    after = job._replace(revision=job.revision + 1, overlap=to)
                    yield Step(f"the overlap policy becomes {to}", world._replace(job=after), fault=True)
                continue
            if to == specs[-1]:
                continue
            for time in range(1, world.now + 1):
                cutoff = max(time, job.covered, *(cutoff for _, cutoff in job.changes))
                after = job._replace(
                    revision=job.revision + 1,
                    wake=job.wake if size.broken == "wake" else 0,
                    changes=(*job.changes, (to, cutoff)),
                    promised=standing(to, job.promised, cutoff),
                )
                if size.broken == "queue":
                    after = install(job._replace(changes=((to, cutoff),)), cutoff, "")
                stored = world._replace(job=after, majority=job if size.replicas else None)
                yield Step(f"an edit to '{to}' reads the time {time}", stored, fault=True)

    def _overrides(self, world: World, spec: str, change: str) -> Iterator[Step[World]]:
        """A skip, move or restore, accepted only if what it concerns comes after its cutoff.

        A promise is only what was accepted by a clock that is right: a late one may accept what is decided already.
        """
        job, nominal = world.job, int(change.split()[1])
        known = [to for n, to in job.promised if n == nominal]
        if not named(spec, nominal) or (change.startswith("restore") != bool(known)):
            return
        for time in range(1, world.now + 1):
            cutoff = max(time, job.covered, *(cutoff for _, cutoff in job.changes))
            if concerned(job.promised, change) <= cutoff and self._size.broken != "in time":
                continue
            after = job._replace(revision=job.revision + 1, wake=0, changes=(*job.changes, (change, cutoff)))
            new = changed_override((), change)
            in_time = time == world.now
            # What was promised before holds no more in any case.
            promised = changed_override(job.promised, change if in_time else f"restore {nominal}")
            taken_back = job.taken_back if new or not in_time else (*job.taken_back, *known)
            told = after._replace(promised=promised, taken_back=taken_back)
            told = told._replace(moves=(*job.moves, *(each for each in new if each[1])))
            stored = world._replace(job=told)
            if self._size.replicas:
                untold = told._replace(
                    promised=changed_override(job.promised, f"restore {nominal}"), taken_back=job.taken_back
                )
                stored = world._replace(job=untold, majority=job, promise=(concerned(job.promised, change), told))
            yield Step(f"'{change}' is asked for, and reads the time {time}", stored, fault=True)

    def _beat(self, world: World, beat: Beat) -> Iterator[tuple[str, World, Beat]]:
        size = self._size
        if beat is None:
            job = world.majority or world.job
            for now in range(max(1, world.now - size.lag), world.now + 1):
                if job.wake is not None and job.wake <= now:
                    early = open_rows(world, size) if size.broken == "open rows last" else None
                    yield f"reads the job, by the time {now}", world, Read(job, now, open_rows=early)
            return
        yield "crashes", world, None
        if isinstance(beat, Read):
            chain = world.rows if beat.follow or must_follow(beat.job, beat.now) else frozenset()
            followed = Followed(beat, frozenset(row for row in chain if row.epoch == beat.job.epoch))
            if beat.job.overlap:
                yield "reads the chain", world, followed._replace(chain=frozenset(map(decision, followed.chain)))
            else:
                yield self._planned(world, followed)
        elif isinstance(beat, Followed):
            yield self._planned(world, beat)
        else:
            yield from self._carry_on(world, beat)

    def _planned(self, world: World, beat: Followed) -> tuple[str, World, Beat]:
        early = beat.read.open_rows
        planned = plan(beat.read, beat.chain, open_rows(world, self._size) if early is None else early, self._size)
        if planned is None:
            return "finds its snapshot stale", world, None
        return f"plans {show(planned.rows)}", world, planned

    def _carry_on(self, world: World, beat: Carrying) -> Iterator[tuple[str, World, Beat]]:
        broken, job = self._size.broken, world.job
        deletes = beat.install and beat.read.job.changes[0][0] == "deleted"
        all_in = beat.done == len(beat.rows)
        if deletes and not beat.ended and (all_in or broken == "end behind") and broken != "end before":
            rows = self._ended(world.rows, beat.read.job.epoch)
            yield "ends what is in flight", world._replace(rows=rows), beat._replace(ended=True)
        elif not all_in:
            yield self._insert(world, beat)
        elif (newest := superseding(beat)) and not beat.ended:
            rows = frozenset(self._superseded(row, newest) for row in world.rows)
            yield f"cancels what is earlier than {newest.first}", world._replace(rows=rows), beat._replace(ended=True)
        elif (pointer(job) == pointer(beat.read.job)) and (
            job.revision == beat.read.job.revision or (broken == "revision" and not beat.install)
        ):
            after = install(job, beat.covered, broken) if beat.install else advance(job, beat.covered)
            becomes = beat._replace(ended=True, install=False, rows=(), done=-1) if deletes and not beat.ended else None
            yield f"advances to {after.covered}", world._replace(job=after), becomes
        elif beat.done < 0:
            rows = self._ended(world.rows, beat.read.job.epoch)
            yield "ends what is in flight", world._replace(rows=rows), None
        else:
            yield "lost the race to advance", world, None

    def _insert(self, world: World, beat: Carrying) -> tuple[str, World, Beat]:
        broken = self._size.broken
        row, inserted = beat.rows[beat.done], beat._replace(done=beat.done + 1)
        there = next((r for r in world.rows if r[:2] == row[:2]), None)
        if there is None:
            return f"inserts {show((row,))}", world._replace(rows=world.rows | {row}), inserted
        same = decision(there) == decision(row) and (there.run == "held") == (row.run == "held")
        loose = broken == "in order" and inserted.done < len(beat.rows)
        if same or loose or broken == "abandon":
            return f"finds {show((there,))}", world, inserted
        return f"meets {show((there,))}", world, None if beat.read.follow else beat.read._replace(follow=True)

    def _ended(self, rows: frozenset[Row], epoch: int) -> frozenset[Row]:
        """What a deletion makes of the rows; epoch: the last of the life that it ends."""
        every = self._size.broken == "this life"
        return frozenset(self._deleted(row) if every or row.epoch <= epoch else row for row in rows)

    def _deleted(self, row: Row) -> Row:
        if row.run == "running" and self._size.broken != "last attempt":
            return row._replace(run="last")
        return row._replace(run="cancelled") if row.run in {"held", "due", "waiting"} else row

    def _superseded(self, row: Row, newest: Row) -> Row:
        earlier = (row.epoch, row.first or 0) < (newest.epoch, newest.first or 0)
        other = row[:2] != newest[:2] and self._size.broken == "earlier only"
        return row._replace(run="superseded") if row.run in OPEN and (earlier or other) else row

    def _runs(self, world: World) -> Iterator[Step[World]]:
        """Workers and relays."""
        in_order = self._size.broken != "release in order"
        for row in world.rows:
            becomes = {"due": ("running",), "waiting": ("running",), "running": ("done", "waiting"), "last": ("done",)}
            for run in becomes.get(row.run, ()):
                yield Step(f"the run of {row.first} is {run}", changed(world, row, run))
            free = not in_order or not any(r.run in OPEN and before(r, row) for r in world.rows)
            if row.run == "held" and free and row[:2] not in world.releases:
                seen = world._replace(releases=world.releases | {row[:2]})
                yield Step(f"a relay finds {row.first} to be free", seen)
            if row[:2] in world.releases and (row.run == "held" or self._size.broken == "release once"):
                released = changed(world, row, "due")
                yield Step(f"a relay releases {row.first}", released)

    # What must not be:

    def wrong(self, old: World, new: World) -> str:
        if old.rows is new.rows and old.job is new.job:
            return ""
        return decided_wrongly(new.job, new.rows) or ran_wrongly(new, old) or overridden_wrongly(new.job, new.rows)

    def done(self, world: World) -> bool:
        job = world.job
        idle = job.wake is None or job.wake > world.now
        due = job.spec != "paused" and occurrences(job.spec, job.covered, world.now, job.overrides)
        ended = not any(row.run in OPEN for row in world.rows)
        kept = job.spec in {"paused", "deleted"} or not lost_moves(job, world.rows, world.now)
        return world.now == self._size.ends and idle and not job.changes and not due and ended and kept


def answered(world: World, broken: str) -> World:
    """The world when a majority has an edit, and its client is told what came of it."""
    after = world._replace(majority=None, promise=None)
    if world.promise is None:
        return after
    first, told = world.promise
    in_time = world.now < first or broken == "answered in time"
    return after._replace(job=told) if in_time else after


def open_rows(world: World, size: Size) -> tuple[Row, ...]:
    """What a beat reads of what is in flight."""
    unseen = {"retries": "waiting", "held rows": "held"}.get(size.broken)
    return tuple(sorted(row for row in world.rows if row.run in OPEN and row.run != unseen))


def decision(row: Row) -> Row:
    """A row without how far its run got."""
    return row._replace(run="", most=1)


def pointer(job: Job) -> int | None:
    return next_after(job.spec, job.covered, job.overrides)


def advance(job: Job, covered: int) -> Job:
    wake = None if job.spec == "paused" else next_after(job.spec, covered, job.overrides)
    return job._replace(covered=covered, wake=wake)


def install(job: Job, reached: int, broken: str) -> Job:
    (change, _), *more = job.changes
    spec, overrides = change, job.overrides
    if is_override(change):
        spec = job.spec
        if concerned(overrides, change) > reached or broken in {"reached", "in time"}:
            overrides = changed_override(overrides, change)
    after = job._replace(
        revision=job.revision + 1,
        epoch=job.epoch + 1,
        spec=spec,
        overrides=standing(spec, overrides, reached, "" if is_override(change) else broken),
        changes=tuple(more),
        past=(*job.past, (job.spec, job.overrides, reached)),
    )
    after = advance(after, reached)
    return after._replace(wake=0) if more else after


def superseding(beat: Carrying) -> Row | None:
    """The row of a plan before which CANCEL_PREVIOUS ends everything."""
    held = [row for row in beat.rows if row.run == "held"]
    return held[-1] if held and beat.read.job.overlap == "CANCEL_PREVIOUS" else None


def before(one: Row, other: Row) -> bool:
    return (one.epoch, one.first or 0) < (other.epoch, other.first or 0)


def changed(world: World, row: Row, run: str) -> World:
    return world._replace(rows=world.rows - {row} | {row._replace(run=run)})


def show(rows: tuple[Row, ...]) -> str:
    return ", ".join(f"{row.epoch}.{row.first}-{row.last} {row.kind} {row.run}".rstrip() for row in rows) or "nothing"


@cache
def decided_wrongly(job: Job, rows: frozenset[Row]) -> str:
    """Each occurrence has one decision at most; and one at least, if it is behind the pointer."""
    epochs = [*job.past, (job.spec, job.overrides, job.covered)]
    decided: set[int] = set()
    for row in rows:
        if row.kind != CLOSED and row.first is not None:
            spec, overrides, _ = epochs[row.epoch]
            for instant in occurrences(spec, row.first - 1, row.last, overrides):
                if instant in decided:
                    return f"{instant} is decided twice"
                decided.add(instant)
    begin = 0
    for spec, overrides, reached in epochs:
        for instant in occurrences(spec, begin, reached, overrides):
            if instant not in decided:
                return f"{instant} was passed undecided"
        begin = max(begin, reached)
    return ""


def lost_moves(job: Job, rows: frozenset[Row], through: int) -> list[int]:
    """What was promised to run by then at another time, and has no decision for that."""
    decisions = [row for row in rows if row.kind != CLOSED]
    return [
        nominal
        for nominal, to in job.promised
        if 0 < to <= through and not any((row.first or 0) <= to <= row.last for row in decisions)
    ]


@cache
def overridden_wrongly(job: Job, rows: frozenset[Row]) -> str:
    """What clients were promised of single occurrences holds, and none that was moved runs at both of its times."""
    fired = {row.first for row in rows if row.kind == FIRED}
    for nominal, _ in job.promised:
        if nominal in fired:
            return f"{nominal} was to be left out, and fired"
    if (lost := lost_moves(job, rows, job.covered)) and "deleted" not in {job.spec, *(past[0] for past in job.past)}:
        return f"{lost} were moved, and their new times were passed undecided"
    for nominal, to in job.moves:
        if {nominal, to} <= fired:
            return f"{nominal} ran, and ran again at {to}"
    if run := fired & set(job.taken_back):
        return f"a move to {run} was taken back, and it ran"
    return ""


def ran_wrongly(world: World, old: World) -> str:
    fired = sorted((row for row in world.rows if row.kind == FIRED), key=lambda row: (row.epoch, row.first or 0))
    at_once = 0
    for row in fired:
        if row.run in CLAIMABLE:
            if at_once >= row.most:
                return f"the runs of {row.first} and of {at_once} before it overlap"
            at_once += 1
    if fired and fired[-1].run == "superseded":
        return f"{fired[-1].first} was cancelled for one that is not later"
    if world.job.spec == "deleted" and any(row.run in {"held", "due", "waiting"} for row in fired):
        return "the job is deleted, and something waits to run"
    epochs = [*(past[0] for past in world.job.past), world.job.spec, *(spec for spec, _ in world.job.changes)]
    for row in fired:
        if row.run in {"cancelled", "last"} and "deleted" not in epochs[row.epoch + 1 :]:
            return f"{row.first} was ended, and its job was not deleted since"
    for row in old.rows - world.rows:
        if row.run not in OPEN:
            return f"the row {show((row,))} was ended, and changed"
    return ""


MODEL: Final = Firing

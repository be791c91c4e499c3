"""A backfill: beats with snapshots of any age that start its times in windows; crashes between any two writes; workers;
and a client that pauses, resumes and cancels it.

It shares no code with the product; docs/backfill.md says what it promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.model.explore import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

NONE, PENDING, RUNNING, DONE, CANCELLED = "no row", "PENDING", "RUNNING", "DONE", "CANCELLED"
OPEN: Final = {PENDING, RUNNING}
INSERT, SWEEP, TOLD = "insert what is decided", "cancel what is in flight", "told"
GOES_ON, PAUSED, COMPLETED = "goes on", "paused", "completed"


class Size(NamedTuple):
    """How far an exploration goes, and the rule that is switched off in it."""

    times: int = 3
    parallel: int = 2
    beats: int = 2
    crashes: int = 1
    cancels: int = 1
    pauses: int = 0
    broken: str = ""


class Rule(NamedTuple):
    """What the protocol relies on, and the size at which something goes wrong without it."""

    says: str
    missed_at: Size


RULES: Final = {
    "decide first": Rule("what a window starts is decided and stored before any of it is inserted", Size(crashes=0)),
    "revision": Rule("a window is decided only if nothing has changed since", Size(crashes=0)),
    "one id": Rule("a time has one id, so that a second insert finds it there", Size(cancels=0, crashes=0)),
    "rows before": Rule("a window is closed when all of its rows are in", Size(beats=1, cancels=0)),
    "count after": Rule("what is in flight is counted after the backfill is read", Size(cancels=0, crashes=0)),
    "close it": Rule("a window is carried out also when the backfill was cancelled", Size(crashes=0)),
    "insert, then tell": Rule("what a window has decided is in before a client is told of the cancel", Size(crashes=0)),
}


class Fill(NamedTuple):
    """The backfill's document. window: (first, behind the last) of the times that are decided; reached: how many are in
    the store. active: whether beat has something to do with it.
    """

    state: str = GOES_ON
    reached: int = 0
    window: tuple[int, int] | None = None
    revision: int = 0
    active: bool = True


class Beat(NamedTuple):
    """A beat that has read it. in_flight: None until it has counted; done: how many rows of the window are in."""

    fill: Fill
    in_flight: int | None = None
    done: int = 0


class World(NamedTuple):
    fill: Fill
    rows: tuple[str, ...]
    beats: tuple[Beat | None, ...]
    crashes: int
    cancels: int
    pauses: int
    cancelling: str = ""
    """What the server has still to do after it has written the cancel, which it may not live to do: INSERT, SWEEP; or
    TOLD, when the client has its answer.
    """
    twice: bool = False
    """A time was started a second time."""


class Filling:
    """The model; see tests.model.explore.Model."""

    def __init__(self, size: Size) -> None:
        self._size = size
        rows, beats = (NONE,) * size.times, (None,) * size.beats
        self.start = World(Fill(), rows, beats, size.crashes, size.cancels, size.pauses)

    def steps(self, world: World) -> Iterator[Step[World]]:
        for number, beat in enumerate(world.beats):
            others = world.beats[:number] + world.beats[number + 1 :]
            if beat in others[:number]:
                continue  # they are alike
            for what, after, becomes in self._beat(world, beat):
                beats = tuple(sorted((*others, becomes), key=hash))
                yield Step(f"a beat {what}", after._replace(beats=beats), what == "crashes")
        for time, row in enumerate(world.rows):
            becomes_row = {PENDING: RUNNING, RUNNING: DONE}.get(row)
            if becomes_row:
                yield Step(f"the run of {time} is {becomes_row}", put(world, time, becomes_row))
        yield from self._client(world)

    def _client(self, world: World) -> Iterator[Step[World]]:
        fill = world.fill
        if world.cancels and fill.state in {GOES_ON, PAUSED}:
            cancelled = fill._replace(state=CANCELLED, revision=fill.revision + 1, active=True)
            first = SWEEP if self._size.broken == "insert, then tell" else INSERT
            after = world._replace(fill=cancelled, cancels=world.cancels - 1, cancelling=first)
            yield Step("a client cancels", after, fault=True)
        if world.cancelling == INSERT:
            yield Step("the server inserts the window", inserted(world)._replace(cancelling=SWEEP), fault=True)
        if world.cancelling == SWEEP:
            yield Step("the server cancels what is in flight", swept(world)._replace(cancelling=TOLD), fault=True)
        if world.pauses and fill.state == GOES_ON:
            paused = fill._replace(state=PAUSED, revision=fill.revision + 1)
            yield Step("a client pauses", world._replace(fill=paused, pauses=world.pauses - 1), fault=True)
        if fill.state == PAUSED:
            resumed = fill._replace(state=GOES_ON, revision=fill.revision + 1, active=True)
            yield Step("a client resumes", world._replace(fill=resumed))

    def _beat(self, world: World, beat: Beat | None) -> Iterator[tuple[str, World, Beat | None]]:
        early = self._size.broken == "count after"
        if beat is None:
            if world.fill.active:
                counted = in_flight(world) if early else None
                yield "reads", world, Beat(world.fill, counted)
            return
        if world.crashes:
            yield "crashes", world._replace(crashes=world.crashes - 1), None
        if early and beat.done == 0 and beat.fill != world.fill and beat.fill.window is None:
            # What was counted before the backfill was read may be as old.
            yield "reads it again, and not what is in flight", world, beat._replace(fill=world.fill)
        if beat.in_flight is None:
            yield "counts", world, beat._replace(in_flight=in_flight(world))
        elif beat.fill.window is not None and not (self._size.broken == "close it" and beat.fill.state == CANCELLED):
            yield self._carry_out(world, beat, beat.fill.window)
        elif beat.fill.state == GOES_ON:
            yield self._go_on(world, beat, beat.in_flight)
        elif beat.fill.state == PAUSED:
            yield "rests", changed(world, beat, beat.fill._replace(active=False)), None
        elif beat.in_flight == 0:
            yield "settles it", changed(world, beat, beat.fill._replace(active=False, window=None)), None
        else:
            yield "sweeps", swept(world), None

    def _carry_out(self, world: World, beat: Beat, window: tuple[int, int]) -> tuple[str, World, Beat | None]:
        first, behind = window
        time = first + beat.done
        closed = beat.fill._replace(window=None, reached=behind)
        if time == behind or (self._size.broken == "rows before" and beat.done == 0 and world.fill == beat.fill):
            after = changed(world, beat, closed, always=self._size.broken == "decide first")
            if time == behind:
                return "closes the window", after, None
            kept = Beat(after.fill._replace(window=window), beat.in_flight, 1)
            return "closes the window first", after, kept._replace(fill=beat.fill)
        inserted = beat._replace(done=beat.done + 1)
        if world.rows[time] != NONE and self._size.broken != "one id":
            return f"finds {time} there", world, inserted
        twice = world.twice or world.rows[time] != NONE
        return f"starts {time}", put(world, time, PENDING)._replace(twice=twice), inserted

    def _go_on(self, world: World, beat: Beat, counted: int) -> tuple[str, World, Beat | None]:
        fill, size = beat.fill, self._size
        if fill.reached == size.times:
            ended = fill._replace(state=COMPLETED, active=False)
            return ("completes it", changed(world, beat, ended), None) if not counted else ("waits", world, None)
        room = size.parallel - counted
        if room <= 0:
            return "waits", world, None
        decided = fill._replace(window=(fill.reached, min(size.times, fill.reached + room)))
        if size.broken == "decide first":
            return "goes at once", world, Beat(decided, counted)
        after = changed(world, beat, decided, always=size.broken == "revision")
        return f"decides {decided.window}", after, None

    # What must not be:

    def wrong(self, old: World, new: World) -> str:
        if new.twice and not old.twice:
            return "a time was started twice"
        if in_flight(new) > self._size.parallel:
            return "more are in flight than may be"
        if new.cancelling == TOLD and PENDING in new.rows:
            return "something waits to be started of what a client was told is cancelled"
        if old.fill.state in {COMPLETED, CANCELLED} and new.fill.state != old.fill.state:
            return f"it was {old.fill.state}, and is {new.fill.state}"
        if not old.fill.active and old.fill.state == CANCELLED and in_flight(new):
            return "something is in flight of what was cancelled and settled"
        if new.fill.state == COMPLETED and set(new.rows) != {DONE}:
            return f"it is completed with {new.rows}"
        return ""

    def done(self, world: World) -> bool:
        return not world.fill.active and world.fill.state in {COMPLETED, CANCELLED} and not in_flight(world)


def in_flight(world: World) -> int:
    return sum(row in OPEN for row in world.rows)


def put(world: World, time: int, row: str) -> World:
    return world._replace(rows=(*world.rows[:time], row, *world.rows[time + 1 :]))


def inserted(world: World) -> World:
    """What the window has decided is in; of a closed one it is already."""
    first, behind = world.fill.window or (0, 0)
    return world._replace(
        rows=tuple(PENDING if row == NONE and first <= time < behind else row for time, row in enumerate(world.rows))
    )


def swept(world: World) -> World:
    """What has not started is cancelled; what runs goes on to its end."""
    return world._replace(rows=tuple(CANCELLED if row == PENDING else row for row in world.rows))


def changed(world: World, beat: Beat, after: Fill, *, always: bool = False) -> World:
    """A compare-and-set on what the beat has read."""
    if world.fill.revision != beat.fill.revision and not always:
        return world
    return world._replace(fill=after._replace(revision=world.fill.revision + 1))


MODEL: Final = Filling

"""The run of a fan-out: beats with snapshots of any age that insert its parts, give them slots and end the whole;
workers that run the parts, and die; crashes between any two writes; and a client that cancels it.

A beat's reading of `signals` is kept as whether it still is what it was: nothing else is asked of the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.model.explore import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

NONE, PENDING, HELD, CLAIMED, CALLED = "no row", "PENDING", "held", "claimed", "called"
SUCCEEDED, CANCELLED, WAITING = "SUCCEEDED", "CANCELLED", "WAITING"
OPEN: Final = {PENDING, HELD, CLAIMED, CALLED}
HAS_SLOT: Final = {PENDING, CLAIMED, CALLED}


class Size(NamedTuple):
    """How far an exploration goes, and the rule that is switched off in it. parallel: 0 is no limit."""

    items: int = 2
    parallel: int = 0
    beats: int = 2
    crashes: int = 1
    deaths: int = 0
    """Of workers."""
    cancels: int = 1
    broken: str = ""


class Rule(NamedTuple):
    """What the protocol relies on, and the size at which something goes wrong without it."""

    says: str
    missed_at: Size


ONE_BEAT: Final = Size(beats=1, cancels=0)

RULES: Final = {
    "one id": Rule("a part has one id, so that a second insert finds it there", Size(cancels=0)),
    "mark with the end": Rule("a part is marked in the very write that ends it", Size(beats=1, cancels=0, deaths=1)),
    "signal first": Rule("the whole is told before the mark is taken off", ONE_BEAT),
    "unchanged": Rule(
        "what a look concluded is written only if nothing was signalled since", Size(crashes=0, cancels=0)
    ),
    "ask the whole": Rule("who claims a part asks whether its whole still wants it", Size(crashes=0)),
    "a row for each": Rule(
        "a whole that was stopped ends when each part has a row, those that never started too",
        Size(items=3, parallel=1),
    ),
    "stop behind the rows": Rule(
        "the parts are stopped again behind the last row", Size(items=3, parallel=1, crashes=0)
    ),
    "the first so many": Rule(
        "slots go to the first so many that have not ended, and not to as many as a count left free",
        Size(items=3, parallel=1, crashes=0, cancels=0),
    ),
}


class Part(NamedTuple):
    """An item's row. marked: it ended, and the whole was not told. asked: its call is to end."""

    state: str = NONE
    marked: bool = False
    asked: bool = False


class Beat(NamedTuple):
    """A beat at work on it.

    doing: inserts, notes (how many rows there are), looks, gives (slots), concludes; signals, unmarks. fresh: nothing
    was signalled since it read the whole.
    """

    doing: str = ""
    fresh: bool = True
    cancel: bool = False
    expanded: int = 0
    found: frozenset[int] = frozenset()
    """Parts that it has found: marked, or to be given slots."""
    ends: bool = False
    free: int = 0


IDLE: Final = Beat()


class World(NamedTuple):
    parts: tuple[Part, ...]
    beats: tuple[Beat, ...]
    state: str = WAITING
    cancel: bool = False
    to_advance: bool = True
    expanded: int = 0
    unmarked: frozenset[int] = frozenset()
    """Ended parts whose worker is still to mark them; only if that is a write of its own."""
    crashes: int = 0
    deaths: int = 0
    fault: str = ""


class Parts:
    """The model; see tests.model.explore.Model."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self.start = World((Part(),) * size.items, (IDLE,) * size.beats)

    def steps(self, world: World) -> Iterator[Step[World]]:
        yield from self._workers(world)
        if self._size.cancels and world.state == WAITING and not world.cancel:
            yield Step("a client cancels it", _signalled(world._replace(cancel=True)), fault=True)
        for number, beat in enumerate(world.beats):
            if beat in world.beats[:number]:
                continue  # they are alike
            for what, after, becomes in self._beat(world._replace(beats=_without(world.beats, number)), beat):
                yield Step(f"a beat {what}", after._replace(beats=_sorted((*after.beats, becomes))))
            if beat != IDLE and world.crashes < self._size.crashes:
                beats = _sorted((*_without(world.beats, number), IDLE))
                yield Step(
                    f"a beat crashes, before it {beat.doing}",
                    world._replace(crashes=world.crashes + 1, beats=beats),
                    fault=True,
                )

    # Workers:

    def _workers(self, world: World) -> Iterator[Step[World]]:
        for number, part in enumerate(world.parts):
            if part.state == PENDING:
                yield Step(f"a worker claims {number}", _put(world, number, part._replace(state=CLAIMED)))
            elif part.state == CLAIMED:
                wanted = world.state == WAITING and not world.cancel
                if wanted or self._size.broken == "ask the whole":
                    called = _put(world, number, part._replace(state=CALLED))
                    yield Step(f"{number} is called", called if wanted else called._replace(fault=_UNWANTED))
                else:
                    yield Step(f"{number} is dropped", self._end(world, number, CANCELLED))
            elif part.state == CALLED:
                yield Step(f"{number} succeeds", self._end(world, number, SUCCEEDED))
                if part.asked:
                    yield Step(f"{number} is cancelled", self._end(world, number, CANCELLED))
            if part.state in {CLAIMED, CALLED} and world.deaths < self._size.deaths:
                dead = world._replace(deaths=world.deaths + 1)
                again = self._end(dead, number, CANCELLED) if part.asked else _put(dead, number, Part(PENDING))
                yield Step(f"the worker of {number} dies, and it is rescued", again, fault=True)
        for number in world.unmarked:
            left = world._replace(unmarked=world.unmarked - {number})
            yield Step(f"{number} is marked", _put(left, number, left.parts[number]._replace(marked=True)))
            if world.deaths < self._size.deaths:
                dead = left._replace(deaths=world.deaths + 1)
                yield Step(f"the worker of {number} dies before it marks it", dead, fault=True)

    def _end(self, world: World, number: int, state: str) -> World:
        if self._size.broken == "mark with the end":
            ended = _put(world, number, Part(state))
            return ended._replace(unmarked=world.unmarked | {number})
        return _put(world, number, Part(state, marked=True))

    # Beats:

    def _beat(self, world: World, beat: Beat) -> Iterator[tuple[str, World, Beat]]:
        match beat.doing:
            case "":
                yield from self._begin(world)
            case "inserts":
                yield self._insert(world, beat)
            case "notes":
                yield _note(world, beat)
            case "looks":
                yield self._look(world, beat)
            case "gives":
                yield from self._give(world, beat)
            case "concludes":
                yield self._conclude(world, beat)
            case _:
                yield self._tell(world, beat)

    def _begin(self, world: World) -> Iterator[tuple[str, World, Beat]]:
        if world.state == WAITING and world.to_advance:
            after = self._stopped(world) if world.cancel else world
            read = Beat("looks", cancel=world.cancel, expanded=world.expanded)
            if self._inserts(read):
                read = read._replace(doing="inserts")
            # To stop the parts is the first write after the reading; whatever gets in between is stopped as well.
            yield "reads it" + (", and stops its parts" if world.cancel else ""), after, read
        if marked := frozenset(number for number, part in enumerate(world.parts) if part.marked):
            first = "unmarks" if self._size.broken == "signal first" else "signals"
            yield "finds parts that have ended", world, Beat(first, found=marked)

    def _tell(self, world: World, beat: Beat) -> tuple[str, World, Beat]:
        """Tell the whole, then take the marks off."""
        last = "signals" if self._size.broken == "signal first" else "unmarks"
        other = "unmarks" if beat.doing == "signals" else "signals"
        becomes = IDLE if beat.doing == last else beat._replace(doing=other)
        if beat.doing == "signals":
            return "tells the whole", _signalled(world) if world.state == WAITING else world, becomes
        for number in beat.found:
            world = _put(world, number, world.parts[number]._replace(marked=False))
        return "takes the marks off", world, becomes

    def _inserts(self, beat: Beat) -> bool:
        if beat.cancel and self._size.broken == "a row for each":
            return False
        return beat.expanded < self._size.items

    def _stopped(self, world: World) -> World:
        if self._size.broken == "stop behind the rows" and world.expanded == self._size.items:
            return world
        for number, part in enumerate(world.parts):
            if part.state in {PENDING, HELD}:
                world = self._end(world, number, CANCELLED)
            elif part.state in {CLAIMED, CALLED}:
                world = _put(world, number, part._replace(asked=True))
        return world

    def _insert(self, world: World, beat: Beat) -> tuple[str, World, Beat]:
        number = beat.expanded
        held = 0 < self._size.parallel <= number
        state = CANCELLED if beat.cancel else HELD if held else PENDING
        after = world
        if world.parts[number].state == NONE:
            after = _put(world, number, Part(state))
        elif self._size.broken == "one id":
            after = world._replace(fault=f"{number} has a second row")
        return f"inserts {number} as {state}", after, beat._replace(doing="notes")

    def _look(self, world: World, beat: Beat) -> tuple[str, World, Beat]:
        """Read the parts; with a limit, also which of them may run, by the same reading or a later one."""
        still_open = any(part.state in OPEN for part in world.parts)
        counted = beat._replace(doing="concludes", ends=not still_open)
        if self._size.parallel and not beat.cancel and any(part.state == HELD for part in world.parts):
            running = sum(part.state in HAS_SLOT for part in world.parts)
            counted = counted._replace(doing="gives", free=max(0, self._size.parallel - running))
        return "looks at its parts", world, counted

    def _give(self, world: World, beat: Beat) -> Iterator[tuple[str, World, Beat]]:
        if not beat.found:
            held = [number for number, part in enumerate(world.parts) if part.state == HELD]
            if self._size.broken == "the first so many":
                chosen = held[: beat.free]
            else:
                first = [number for number, part in enumerate(world.parts) if part.state in OPEN][: self._size.parallel]
                chosen = [number for number in first if number in held]
            if chosen:
                yield f"finds that {chosen} may run", world, beat._replace(found=frozenset(chosen))
            else:
                yield "finds no slot to give", world, beat._replace(doing="concludes")
            return
        after = world
        for number in beat.found:
            if world.parts[number].state == HELD:
                after = _put(after, number, Part(PENDING))
        yield "gives slots", after, beat._replace(doing="concludes", found=frozenset())

    def _conclude(self, world: World, beat: Beat) -> tuple[str, World, Beat]:
        holds = world.state == WAITING and (beat.fresh or self._size.broken == "unchanged")
        if not holds:
            return "finds that something was signalled since", world, IDLE
        if beat.ends:
            ended = world._replace(state=CANCELLED if beat.cancel else SUCCEEDED, to_advance=False)
            return f"ends it as {ended.state}", ended, IDLE
        return "leaves it alone", world._replace(to_advance=False), IDLE

    # What must not be:

    def wrong(self, old: World, new: World) -> str:
        if new.fault:
            return new.fault
        if old.state not in {WAITING, new.state}:
            return f"{old.state} became {new.state}"
        if new.state != WAITING:
            for number, part in enumerate(new.parts):
                if part.state in OPEN:
                    return f"the whole is {new.state}, and its part {number} is not at its end: {part.state}"
                if part.state == NONE and new.state == SUCCEEDED:
                    return f"the whole is {new.state}, and its part {number} has no row"
        if new.state == SUCCEEDED and new.cancel:
            return "the whole was stopped, and is SUCCEEDED"
        running = sum(part.state in HAS_SLOT for part in new.parts)
        if self._size.parallel and running > self._size.parallel:
            return f"{running} parts may run, and {self._size.parallel} at most"
        return ""

    def done(self, world: World) -> bool:
        idle = all(beat == IDLE for beat in world.beats)
        return world.state != WAITING and idle and not any(part.marked or part.state == NONE for part in world.parts)


_UNWANTED: Final = "a part is called, although its whole was stopped before it asked"


def _note(world: World, beat: Beat) -> tuple[str, World, Beat]:
    """Note how many rows there are, unless another beat has."""
    through = beat.expanded + 1
    if world.state == WAITING and world.expanded == beat.expanded:
        world = world._replace(expanded=through)
    return f"notes {through} rows", world, IDLE


def _put(world: World, number: int, part: Part) -> World:
    return world._replace(parts=(*world.parts[:number], part, *world.parts[number + 1 :]))


def _signalled(world: World) -> World:
    """Count a signal: what any beat has read of it before is old."""
    return world._replace(
        to_advance=True, beats=_sorted(tuple(beat._replace(fresh=beat == IDLE) for beat in world.beats))
    )


def _sorted(beats: tuple[Beat, ...]) -> tuple[Beat, ...]:
    """Return beats in an order of their own, since they are alike."""
    return tuple(sorted(beats, key=lambda beat: (*beat[:4], sorted(beat.found), *beat[5:])))


def _without(beats: tuple[Beat, ...], number: int) -> tuple[Beat, ...]:
    return beats[:number] + beats[number + 1 :]


MODEL: Final = Parts

"""Fires a second beside other schedulers, each with as many entries stored: Celery's beat, redbeat, and two more.

On private servers, all of one broker, and one process each. A peer has a thousand entries that are due again as soon
as it has fired them, so that it never rests; the others of its entries rest for a day. What is counted is how many
messages came into its queue, which nobody consumes. It is started once for each number of entries, and paused while the
others take their turns; what it sends at first after a pause is not counted.

Ours is measured as benchmarks.firing does it, with as many jobs at rest: there each job that is due adds to them, as
one fires once a second at most. A round of it takes some ten seconds, so that what it begins and ends with (jobs made
ready ahead, half a second in which beat waits for more before it marks the last rows) hardly counts. Its decisions are
journaled and its messages confirmed; the peers wait for neither. The messages of all are persistent. Processor time,
which a busy machine distorts less than a rate, is that of the scheduler, its store and the broker.

The peers are installed into .local/peers when they are first needed, PostgreSQL by apt. A quarter of an hour on two
cores that do nothing else; with --quick, 1,000 entries and without PostgreSQL, less than a minute once they are there.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.comparison import ROUNDS, Better, Comparison, taking_turns
from benchmarks.firing import Firing
from benchmarks.peers.peer import APSCHEDULER, DJANGO, REDBEAT, STOCK, Peer, Rate, Running, loaded
from benchmarks.results import Size
from dev.servers import private_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dev.servers import Servers

OURS: Final = "ours"
DUE: Final = 1_000
EVERY: Final = 0.25
"""Seconds from one fire of these to the next. No peer comes round to all of them as fast as that."""
LOOK: Final = 0.01
"""Seconds that a peer rests at the most when it thinks that nothing is due."""
GOAL: Final = 3.0


class Sizes(NamedTuple):
    """How much is measured. warm_up, seconds: how long each peer runs in a round, uncounted and counted."""

    stored: Sequence[int]
    peers: Sequence[Peer]
    fires: int
    warm_up: float
    seconds: float
    rounds: int


SIZES: Final = {
    Size.FULL: Sizes((1_000, 10_000, 100_000), (STOCK, REDBEAT, APSCHEDULER, DJANGO), 40_000, 1.0, 5.0, ROUNDS),
    Size.QUICK: Sizes((1_000,), (STOCK, REDBEAT, APSCHEDULER), 4_000, 0.5, 1.0, 3),
}


def measure(size: Size) -> Sequence[Comparison]:
    """Return the rates with each number of entries, ours beside those of each peer."""
    sizes = SIZES[size]
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        return [each for stored in sizes.stored for each in _with(stored, sizes, servers, Path(temporary))]


def _with(stored: int, sizes: Sizes, servers: Servers, folder: Path) -> Iterator[Comparison]:
    """Measure all with that many entries."""
    kept: dict[str, list[Rate]] = {name: [] for name in (OURS, *(peer.name for peer in sizes.peers))}

    def keeping(name: str, measured: Callable[[], Rate]) -> float:
        kept[name].append(measured())
        return kept[name][-1].fires

    def fire() -> Rate:
        fired = ours.round(sizes.fires)
        return Rate(fired.rate, sum(fired.processor.values()))

    with ExitStack() as stack:
        ours = Firing(servers, folder, f"jobs_{stored}", stored, sizes.fires)
        stack.callback(ours.close)
        sides: dict[str, Callable[[], float]] = {OURS: partial(keeping, OURS, fire)}
        notes = {}
        for peer in sizes.peers:
            where = folder / f"{peer.distribution}-{stored}"
            running = stack.enter_context(
                loaded(peer, servers, where, due=DUE, every=EVERY, resting=stored - DUE, look=LOOK)
            )
            notes[peer] = _started(peer, running, stored)
            sides[peer.name] = partial(keeping, peer.name, partial(running.rate, sizes.warm_up, sizes.seconds))
        taking_turns(sides, sizes.rounds, warm=False)
    fires, processor = (
        {name: tuple(rate[place] for rate in rates) for name, rates in kept.items()}
        for place in range(len(Rate._fields))
    )
    for peer, note in notes.items():
        yield Comparison(
            f"{stored:,} entries, {peer.name}", "fires/s", Better.HIGHER, fires[OURS], against=peer.title,
            theirs=fires[peer.name], ratio_goal=GOAL, note=note,
        )  # fmt: skip
    for peer in notes:
        yield Comparison(
            f"{stored:,} entries, {peer.name}: processor time of a fire", "µs", Better.LOWER, processor[OURS],
            against=peer.title, theirs=processor[peer.name],
        )  # fmt: skip


def _started(peer: Peer, running: Running, stored: int) -> str:
    """Start a peer, pause it, and return what a reader of its figures has to know."""
    seconds = running.start()
    running.server.pause()
    print(f"   {stored:,} entries: {peer.name} sent its first message after {seconds:.1f} s", flush=True)
    missing = f"; only {running.stored:,} of {stored:,} were stored in five minutes" if running.stored < stored else ""
    return f"confirms no message; {peer.promise}; its first one came {seconds:.1f} s after it was started{missing}"

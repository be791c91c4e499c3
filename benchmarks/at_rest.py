"""What beat takes at rest, with ten jobs and with a million; and how soon it has a new job, or a first fire.

On private servers, in two databases: one with ten jobs, one with a million, all of which rest for months. Peers have
entries that are due once a day. Each is a process as its users start it, with its settings as they are.

At rest: all processes run at the same time, and nothing is due. A round reads what processor time each took meanwhile
(of all its threads, to less than a microsecond), and what memory is resident at its end. celery-redbeat
sees what is new when it looks, which it does as often as ours looks for jobs, twice a second. Stock celery beat looks
at nothing while it waits: its entries are its settings, and changing them means to start it anew.

Armed: a job that is due at once is stored, as the server stores it, at moments that have nothing to do with beat's
rhythm, while beat rests; how long it took until its first execution was in the store. The worst of a round counts.

Start: beat is stopped, a job becomes due, and beat is started; how long from there until the store has its execution as
QUEUED, when the broker has confirmed its message. Stock beat has 100,000 entries, of which one is due at once; until
its message is in the queue, in steps of 50 ms.

Some ten minutes; three quarters of one with --quick, which has 10,000 jobs and 1,000 entries.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import beats
from benchmarks.comparison import ROUNDS, Better, Comparison, taking_turns
from benchmarks.due_jobs import DueJobs
from benchmarks.peers.peer import REDBEAT, STOCK, loaded
from benchmarks.processor import precise_seconds_of, resident_megabytes
from benchmarks.results import Size
from dev.servers import private_servers
from shared.domain.job import ScheduleTerms
from shared.store import executions, jobs
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.peers.peer import Running
    from dev.servers import Servers

FEW: Final = 10
CACHE: Final = "3G"
"""Of MongoDB: a server of its own for a million jobs would have at least that."""
INDEXING: Final = 600_000
"""Milliseconds that the indexes of a million jobs may take."""
SETTLED: Final = 3.0
"""Seconds after the start of the last process until they are measured."""
SOON: Final = 0.5
FOR_LONG: Final = 300.0
"""Seconds between two looks of peers at what they have stored: as often as ours looks for jobs; Celery's default."""


class Sizes(NamedTuple):
    """How much is stored, how many seconds a round at rest takes, and how many jobs are created in one."""

    stored: int
    entries: int
    resting: float
    created: int


SIZES: Final = {Size.FULL: Sizes(1_000_000, 100_000, 20, 10), Size.QUICK: Sizes(10_000, 1_000, 2, 1)}


class Ours:
    """Our jobs in a database of their own, and the beat that is started on them."""

    def __init__(self, servers: Servers, folder: Path, stored: int) -> None:
        self.name = f"{stored:,} jobs"
        self._servers = servers
        self._url = f"{servers.mongodb.url.rpartition('/')[0]}/jobs_{stored}"
        self._log = folder / f"beat_{stored}.log"
        self._database = connect(self._url, socketTimeoutMS=INDEXING)
        self._jobs, self._rows = self._database[jobs.COLLECTION], self._database[executions.COLLECTION]
        self._numbers = count()
        DueJobs(self._database, stored - 1, 1)

    def close(self) -> None:
        """Close the connections."""
        self._database.client.close()

    @contextmanager
    def running(self) -> Iterator[int]:
        """Run a beat, and give its process id."""
        with beats.running(self._servers, self._url, self._log) as pid:
            yield pid

    def armed(self, rng: random.Random) -> float:
        """Create a job that is due at once; return the seconds until its execution is in the store."""
        time.sleep(0.1 + rng.random() / 2)
        job_id = self._create()
        return beats.wait_until(lambda: self._rows.find_one({"job_uid": f"uid-{job_id}"}, {"_id": 1}) is not None)

    def first_fire(self) -> float:
        """Start beat with a job that is due; return the seconds until that has fired."""
        chosen = {"job_uid": f"uid-{self._create()}", "queued_at": {"$type": "date"}}
        began = time.monotonic()
        beat = beats.start(self._servers, self._url, self._log)
        beats.wait_until(lambda: beat.poll() is not None or self._rows.find_one(chosen, {"_id": 1}) is not None)
        took = time.monotonic() - began
        beats.stop(beat)
        return took

    def _create(self) -> str:
        now = datetime.now(UTC)
        # A once that is due now would be refused as past; it is due now by the time that it is stored.
        terms = ScheduleTerms("once", {"at": (now + timedelta(milliseconds=1)).isoformat()})
        job = beats.job_document(f"new-{next(self._numbers)}", terms, now)
        self._jobs.insert_one(job)
        return str(job["_id"])


class AtRest(NamedTuple):
    """What a process took in each round."""

    share: tuple[float, ...]
    """Of a core, in percent."""
    memory: tuple[float, ...]
    """Resident, in MB."""


def at_rest(pids: Mapping[str, int], seconds: float) -> dict[str, AtRest]:
    """Return what each of some processes takes when nothing is due."""
    time.sleep(SETTLED)
    rounds = [_round_at_rest(pids, seconds) for _ in range(ROUNDS)]
    return {name: AtRest(*zip(*(found[name] for found in rounds), strict=True)) for name in pids}


def _round_at_rest(pids: Mapping[str, int], seconds: float) -> dict[str, tuple[float, float]]:
    began = time.monotonic()
    before = {name: precise_seconds_of(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {
        name: (100 * (precise_seconds_of(pid) - before[name]) / (time.monotonic() - began), resident_megabytes(pid))
        for name, pid in pids.items()
    }


def first_message(peer: Running) -> float:
    """Start a peer that has an entry which is due at once; return the seconds until its message was in the queue."""
    peer.purge()
    took = peer.start()
    peer.server.kill()
    return took


def measure(size: Size) -> Sequence[Comparison]:
    """Return what beat takes at rest, and how soon it is there."""
    sizes = SIZES[size]
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers, ExitStack() as stack:
        connect(servers.mongodb.url).client.admin.command(
            "setParameter", 1, wiredTigerEngineRuntimeConfig=f"cache_size={CACHE}"
        )
        many, few = (
            stack.enter_context(closing(Ours(servers, Path(temporary), stored))) for stored in (sizes.stored, FEW)
        )
        return [
            *_running(many, few, servers, Path(temporary), sizes, final=size is Size.FULL),
            *_starting(many, servers, Path(temporary), sizes, final=size is Size.FULL),
        ]


def _running(
    many: Ours, few: Ours, servers: Servers, folder: Path, sizes: Sizes, *, final: bool
) -> Iterator[Comparison]:
    """Compare what beats take at rest, and how soon they have what is created."""
    with ExitStack() as stack:
        pids = {each.name: stack.enter_context(each.running()) for each in (many, few)}
        peers: dict[str, Running] = {}
        for peer, look in ((STOCK, FOR_LONG), (REDBEAT, SOON)):
            for entries in (FEW, sizes.entries):
                name = f"{peer.name}, {entries:,} entries"
                place = folder / f"{peer.distribution}-{entries}"
                peers[name] = stack.enter_context(loaded(peer, servers, place, resting=entries, look=look))
                peers[name].server.start()
                pids[name] = peers[name].server.pid
        found = at_rest(pids, sizes.resting)
        stock = ", ".join(f"{name} {median(found[name].share):.2g} %" for name in peers if name.startswith(STOCK.name))
        for name in (few.name, *(name for name in peers if not name.startswith(STOCK.name))):
            yield Comparison(
                f"processor at rest, {many.name}; {name}", "% of a core", Better.LOWER, found[many.name].share,
                name, found[name].share, goal=1.0 if final else None, note=f"looking at nothing: {stock}",
            )  # fmt: skip
        yield Comparison(
            f"memory at rest, {many.name}; {few.name}", "MB", Better.LOWER, found[many.name].memory,
            few.name, found[few.name].memory, goal=80 if final else None, ratio_goal=1.05,
        )  # fmt: skip
        for name in peers:
            yield Comparison(
                f"memory at rest, {many.name}; {name}", "MB", Better.LOWER, found[many.name].memory,
                name, found[name].memory,
            )  # fmt: skip
        for running in peers.values():
            running.server.kill()
        rng = random.Random(1)
        armed = {
            each.name: lambda each=each: max(each.armed(rng) for _ in range(sizes.created)) for each in (many, few)
        }
        worst = taking_turns(armed, warm=False)
        yield Comparison(
            f"create to armed, {many.name}: the worst", "s", Better.LOWER, worst[many.name], few.name, worst[few.name],
            goal=1.0 if final else None, note=f"of {sizes.created} in each round",
        )  # fmt: skip


def _starting(many: Ours, servers: Servers, folder: Path, sizes: Sizes, *, final: bool) -> Iterator[Comparison]:
    """Compare how soon beats fire that were just started."""
    with loaded(STOCK, servers, folder / "stock", resting=sizes.entries - 1, due=1, every=0.01) as stock:
        # Byte code is there, of the beats that have run.
        found = taking_turns({many.name: many.first_fire, STOCK.name: lambda: first_message(stock)}, warm=False)
    yield Comparison(
        f"start to first fire, {many.name}", "s", Better.LOWER, found[many.name],
        f"{STOCK.name}, {sizes.entries:,} entries", found[STOCK.name], goal=2.0 if final else None,
        note=f"{STOCK.title}: its entries are settings, read from a file",
    )  # fmt: skip

"""What is done to the system, and when: an endless schedule of faults that a seed decides, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEATS = ("beat-1", "beat-2")
WORKERS = ("worker-1", "worker-2", "worker-3")
SERVER = "server"
PROCESSES = (*BEATS, *WORKERS, SERVER)
QUEUES = ("analysis", "cpu", "default_queue", "maintenance", "manual", "monitoring", "scraping")
MONGODB, RABBITMQ, REDIS = STORES = ("mongodb", "rabbitmq", "redis")


class Action(StrEnum):
    """What can be done to a victim."""

    KILL = "kill"
    """SIGKILL, and start it again after the fault's seconds."""
    RESTART = "restart"
    """SIGTERM, and start it again when it has ended, after the fault's seconds."""
    STOP = "stop"
    """SIGSTOP, and SIGCONT after the fault's seconds."""
    PURGE = "purge"
    """Stop all workers, so that messages wait; empty queues; let the workers go on."""
    FLUSH = "flush"
    """FLUSHALL."""
    DELAY = "delay"
    """Everything between processes and a store takes longer."""
    HOLD = "hold"
    """Nothing passes between processes and a store, and nobody is told."""
    CUT = "cut"
    """Connections between processes and a store are reset, also new ones."""
    SEVER = "sever"
    """Connections between processes and a store are reset once."""


ON_LINKS = frozenset({Action.DELAY, Action.HOLD, Action.CUT, Action.SEVER})


@dataclass(frozen=True)
class Fault:
    """One thing that is done."""

    action: Action
    victims: tuple[str, ...]
    """Processes, or one store. With a link's fault, the processes whose connections to `store` suffer it."""
    seconds: float = 0.0
    store: str = ""
    delay: float = 0.0
    """Seconds by which DELAY holds up each direction."""
    queues: tuple[str, ...] = ()
    """What PURGE empties."""

    @property
    def kind(self) -> str:
        """What recovery is measured by."""
        if self.action in ON_LINKS:
            return f"{self.action} connections to {self.store}"
        if self.action is Action.PURGE:
            return "purge queues"
        if self.action is Action.FLUSH:
            return "flush redis"
        return f"{self.action} {self.victims[0].partition('-')[0]}"

    @property
    def touches(self) -> frozenset[str]:
        """What no other fault may touch at the same time."""
        return frozenset(f"{victim}/{self.store}" if self.store else victim for victim in self.victims)

    def __str__(self) -> str:
        what = f"{self.action} {', '.join(self.victims)}"
        if self.action is Action.PURGE:
            what = f"purge {', '.join(self.queues)} while the workers stand still"
        if self.store:
            by = f" by {self.delay * 1000:.0f} ms" if self.delay else ""
            what = f"{self.action} {self._processes()} - {self.store}{by}"
        return f"{what} for {self.seconds:.1f} s" if self.seconds else what

    def _processes(self) -> str:
        return "all processes" if self.victims == PROCESSES else ", ".join(self.victims)


@dataclass(frozen=True)
class Strike:
    """Faults that begin at the same time."""

    faults: tuple[Fault, ...]
    patient: bool
    """Whether the next strike waits until the system is whole again; else that one hits a recovering system."""


def strikes(seed: int, lease: float) -> Iterator[Strike]:
    """Yield what is done, one strike after the other; `lease` (seconds) is that of executions.

    Cards are drawn from a shuffled deck, so that every kind comes before one comes again. The first strike empties all
    queues, because that takes the longest to recover from.
    """
    random = Random(seed)
    yield Strike((_purge(random, lease, len(QUEUES)),), patient=False)
    deck: list[Callable[[Random, float], Fault]] = []
    while True:
        faults: list[Fault] = []
        for _ in range(random.choices((1, 2, 3), (75, 18, 7))[0]):
            if not deck:
                deck = random.sample(DECK, len(DECK))
            card = deck.pop()
            fault = card(random, lease)
            if any(fault.touches & other.touches for other in faults):
                deck.append(card)
                break
            faults.append(fault)
        yield Strike(tuple(faults), patient=random.random() < 0.8)


SHORT: Final = 0.4
"""Of a lease: the longest fault that must cost nobody one. A third of it may have passed since the last renewal; what
is left, more than a quarter, is what a worker has to come back in: PyMongo's half second, and what a machine with much
else to do takes (a renewal that falls into a fault this short waits in PyMongo, and does not fail). After half a lease
that would be a sixth, which of one of 5 s is too little for both."""


def _span(random: Random, lease: float) -> float:
    """Return how long a fault takes: either so short that no lease may end over it, or well beyond one."""
    span = random.uniform(0.1, SHORT) if random.random() < 0.5 else random.uniform(1.3, 2.2)
    return round(span * lease, 1)


def _kill(*victims: str) -> Callable[[Random, float], Fault]:
    # Restarts are quick, as a supervisor's are: what must be survived is the death, not the absence.
    return lambda random, _: Fault(Action.KILL, (random.choice(victims),), round(random.uniform(0.2, 5), 1))


def _restart(*victims: str) -> Callable[[Random, float], Fault]:
    return lambda random, _: Fault(Action.RESTART, (random.choice(victims),), round(random.uniform(0.2, 2), 1))


def _stop(*victims: str) -> Callable[[Random, float], Fault]:
    return lambda random, lease: Fault(Action.STOP, (random.choice(victims),), _span(random, lease))


def _purge(random: Random, lease: float, queues: int = 1) -> Fault:
    chosen = tuple(sorted(random.sample(QUEUES, queues)))
    return Fault(Action.PURGE, WORKERS, round(random.uniform(0.2, SHORT) * lease, 1), queues=chosen)


def _flush(_random: Random, _lease: float) -> Fault:
    return Fault(Action.FLUSH, (REDIS,))


def _link(action: Action, store: str) -> Callable[[Random, float], Fault]:
    def draw(random: Random, lease: float) -> Fault:
        victims = PROCESSES if random.random() < 0.5 else (random.choice(PROCESSES),)
        seconds = 0.0 if action is Action.SEVER else _span(random, lease)
        delay = round(random.uniform(0.02, 0.2), 3) if action is Action.DELAY else 0.0
        return Fault(action, victims, seconds, store, delay)

    return draw


DECK: tuple[Callable[[Random, float], Fault], ...] = (
    *(doing(*those) for doing in (_kill, _stop) for those in (BEATS, WORKERS, WORKERS, (SERVER,))),
    *(_restart(*those) for those in (BEATS, WORKERS, (SERVER,))),
    *(doing(store) for doing in (_kill, _stop) for store in STORES),
    *(_link(action, store) for action in sorted(ON_LINKS) for store in (MONGODB, RABBITMQ)),
    *(_link(action, REDIS) for action in (Action.HOLD, Action.CUT)),
    _purge,
    _flush,
)

"""Carries out faults, and keeps a record of when each began and ended, and of whom it silenced."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import amqp
import redis

from dev.server import HOST
from tests.chaos.faults import BEATS, MONGODB, ON_LINKS, RABBITMQ, WORKERS, Action, Fault, Strike

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from dev.server import Server
    from tests.chaos.fleet import Fleet

ALL_WORKERS = "all workers"


@dataclass(frozen=True)
class Struck:
    """A fault that was carried out. Times are seconds since the epoch."""

    fault: Fault
    began: float
    ended: float
    """When the victim was let go on, or was ready again, or the connection healed."""
    mended: float
    """As `ended`; but what was killed was started again then, and may not have been ready yet."""
    silenced: frozenset[str] = frozenset()
    """The names, in the ledger, of the workers that could not renew a lease meanwhile, or ALL_WORKERS."""
    alone: bool = True
    """Whether nothing else was broken at the same time, or shortly before."""

    @property
    def whole_from(self) -> float:
        """From when recovery counts: from its beginning where others have to step in; else from when it was mended."""
        others = self.fault.action in {Action.KILL, Action.RESTART, Action.STOP} and self.fault.victims[0] in (
            *BEATS,
            *WORKERS,
        )
        return self.began if others else self.mended


class Striker:
    """Strikes a fleet; `stopping` ends all waits, and what was broken is mended before a strike returns."""

    def __init__(self, fleet: Fleet, stopping: Event) -> None:
        self.struck: list[Struck] = []
        self.purged = 0
        """Messages that were in the queues when they were emptied."""
        self._fleet = fleet
        self._stopping = stopping

    def strike(self, strike: Strike, *, alone: bool) -> list[Struck]:
        """Carry out all faults of a strike at the same time; return when the last one has ended."""
        alone = alone and len(strike.faults) == 1
        with ThreadPoolExecutor(len(strike.faults)) as pool:
            struck = list(pool.map(lambda fault: self._carry_out(fault, alone=alone), strike.faults))
        self.struck += struck
        return struck

    def _carry_out(self, fault: Fault, *, alone: bool) -> Struck:
        silenced = self._silenced(fault)
        began = time.time()
        carry_out: Callable[[Fault], float | None] = {
            Action.KILL: self._kill,
            Action.RESTART: self._restart,
            Action.STOP: self._stop,
            Action.PURGE: self._purge,
            Action.FLUSH: self._flush,
        }.get(fault.action, self._break_links)
        mended = carry_out(fault)
        ended = time.time()
        return Struck(fault, began, ended, mended or ended, silenced, alone)

    def _silenced(self, fault: Fault) -> frozenset[str]:
        if fault.store == MONGODB:
            if fault.action not in {Action.HOLD, Action.CUT}:
                return frozenset()
        elif fault.action not in {Action.KILL, Action.RESTART, Action.STOP, Action.PURGE}:
            return frozenset()
        if MONGODB in fault.victims:
            return frozenset({ALL_WORKERS})
        return frozenset(self._fleet.holder(victim) for victim in fault.victims if victim in WORKERS)

    def _kill(self, fault: Fault) -> float:
        (victim,) = self._members(fault)
        victim.kill()
        self._stopping.wait(fault.seconds)
        started = time.time()
        victim.start()
        return started

    def _restart(self, fault: Fault) -> float:
        (victim,) = self._members(fault)
        victim.stop()
        self._stopping.wait(fault.seconds)
        started = time.time()
        victim.start()
        return started

    def _stop(self, fault: Fault) -> None:
        victims = self._members(fault)
        for victim in victims:
            victim.pause()
        try:
            self._stopping.wait(fault.seconds)
        finally:
            for victim in victims:
                victim.resume()

    def _purge(self, fault: Fault) -> None:
        victims = self._members(fault)
        for victim in victims:
            victim.pause()
        # What the broker has sent ahead to the workers goes back to the queues.
        for name in fault.victims:
            self._fleet.links[name, RABBITMQ].sever()
        try:
            self._stopping.wait(fault.seconds)
            # The broker may be the victim of another fault of this strike; then there is nothing to purge it with.
            with suppress(OSError, amqp.AMQPError), self._broker() as connection:
                channel = connection.channel()
                for queue in fault.queues:
                    self.purged += channel.queue_purge(queue) or 0
        finally:
            for victim in victims:
                victim.resume()

    def _broker(self) -> amqp.Connection:
        port = self._fleet.stores.rabbitmq.port
        connection = amqp.Connection(f"{HOST}:{port}", connect_timeout=2, read_timeout=2, write_timeout=2)
        connection.connect()
        return connection

    def _flush(self, _fault: Fault) -> None:
        with (
            suppress(redis.RedisError),
            redis.Redis(HOST, self._fleet.stores.redis.port, socket_timeout=2, socket_connect_timeout=2) as client,
        ):
            client.flushall()

    def _break_links(self, fault: Fault) -> None:
        assert fault.action in ON_LINKS
        links = [self._fleet.links[victim, fault.store] for victim in fault.victims]
        for link in links:
            match fault.action:
                case Action.DELAY:
                    link.delay(fault.delay)
                case Action.HOLD:
                    link.hold()
                case Action.CUT:
                    link.cut()
                case _:
                    link.sever()
        self._stopping.wait(fault.seconds)
        for link in links:
            link.heal()

    def _members(self, fault: Fault) -> list[Server]:
        return [self._fleet.members[victim] for victim in fault.victims]

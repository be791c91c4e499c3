"""The heartbeat: a thread of each process that says every few seconds that it lives. Nothing waits for it."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pymongo
from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from shared.log import get_logger
from shared.store import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from shared.store.processes import About

log = get_logger()

PATIENCE: Final = 5.0
"""Seconds that the store gets to take a heartbeat."""
FAREWELL: Final = 1.0
"""Seconds that it gets to take the entry away, when the process ends: the entry would expire by itself."""


class Heartbeat(Thread):
    """Says that this process lives, from start() to stop(). The store may be away: then it goes on trying."""

    def __init__(self, database: Database[dict[str, Any]], about: Callable[[], About]) -> None:
        """about: called for each heartbeat, since what a process has changes; the name stays."""
        super().__init__(name="heartbeat", daemon=True)
        self._processes = database[processes.COLLECTION]
        self._presence = database[processes.PRESENCE]
        self._about = about
        self._name = about().name
        self._run = uuid4().hex
        self.failing = False
        """Whether the store did not take the last heartbeat."""
        self._stopping = Event()

    def run(self) -> None:
        """Beat until stopped."""
        wait = 0.0
        while not self._stopping.wait(wait):
            wait = processes.HEARD_EVERY.total_seconds()
            try:
                self.run_once()
            except PyMongoError as error:
                if not self.failing:
                    log.warning("the store cannot be reached", action="heartbeat_failed", error=str(error))
                self.failing = True
            except Exception:  # of what is only told to people, none may end the thread unnoticed
                log.exception("the heartbeat failed", action="heartbeat_failed")
            else:
                self.failing = False

    def run_once(self) -> None:
        """Say once that this process lives, and what it is there for. Raises PyMongoError."""
        about = self._about()
        with pymongo.timeout(PATIENCE):
            alive = processes.say_alive(about, self._run)
            self._processes.update_one({"_id": about.name}, alive, upsert=True)
            if present := [UpdateOne({"_id": r}, processes.say_present(), upsert=True) for r in about.roles]:
                self._presence.bulk_write(present, ordered=False)

    def stop(self) -> None:
        """End the thread, and take the entry away, if the store is there. Before its client is closed."""
        self._stopping.set()
        if self.is_alive():
            self.join(PATIENCE)
        try:
            with pymongo.timeout(FAREWELL):
                self._processes.delete_one(processes.ended_filter(self._name, self._run))
        except PyMongoError as error:
            log.info("the entry of this process is left to expire", action="farewell_failed", error=str(error))

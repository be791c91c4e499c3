"""Registered targets reach every process: looked for each second, and at once where a name is not known."""

from __future__ import annotations

from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final

import pymongo
from pymongo.errors import PyMongoError

from shared.log import get_logger
from shared.store import targets as store
from shared.targets.registry import Target

if TYPE_CHECKING:
    from pymongo.database import Database

    from shared.targets.targets import Targets

log = get_logger()

INTERVAL: Final = 1.0
"""Seconds between two looks: how long a call may still go to an address that was changed."""
PATIENCE: Final = 1.0
"""Seconds that the store has for an answer to one who asks for a name that is not known."""


class Registrations(Thread):
    """Keeps the targets of one process as they are registered; a store that is away leaves them as they were.

    One thread a process; start it after a fork, not before.
    """

    def __init__(self, database: Database[dict[str, Any]], targets: Targets) -> None:
        super().__init__(name="registrations", daemon=True)
        self._list = database[store.COLLECTION]
        self._targets = targets
        self._version = ""
        self._away = False
        self._lock = Lock()
        self._stopping = Event()
        targets.ask_for_unknown(self.look)

    def run(self) -> None:
        """Look again and again, until stopped."""
        while True:
            self.look()
            if self._stopping.wait(INTERVAL):
                return

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self.is_alive():
            self.join(2 * PATIENCE)

    def look(self) -> None:
        """Take over what has changed, if anything has; raises nothing."""
        try:
            # One look at a time: of two, the one that read first must not have the last word.
            with self._lock, pymongo.timeout(PATIENCE):
                document = self._list.find_one(store.news_filter(self._version))
                if document is not None:
                    self._take_over(store.to_registered(document))
        except PyMongoError as error:
            if not self._away:
                log.warning(
                    "registered targets can't be read; the last known ones stay in force",
                    action="targets_unread",
                    error=str(error)[:300],
                )
            self._away = True
        except Exception:  # a thread that ended unnoticed would leave its process with an old list
            log.exception("registered targets can't be taken over", action="targets_unread")
        else:
            self._away = False

    def _take_over(self, registered: store.Registered) -> None:
        changed = self._targets.register(
            Target(entry.name, entry.address, entry.services) for entry in registered.targets.values()
        )
        self._version = registered.version
        if changed:
            log.info("targets have changed", action="targets_changed", targets=sorted(changed))

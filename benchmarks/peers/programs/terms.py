"""What a peer is given: where its servers are, and which entries it stores."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VARIABLE: Final = "PEER"
DAY: Final = 86_400.0

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Passed in the environment, since a peer is a process of its own.

    store: the address of its store, or the file. due: entries that fire every `every` seconds; resting: entries that
    fire once a day, and so not while somebody measures. look: the most seconds between two looks at the store.
    patience: seconds that filling the store may take.
    """

    broker: str
    queue: str
    store: str
    due: int
    every: float
    resting: int
    look: float
    patience: float

    @classmethod
    def given(cls) -> Terms:
        """Return what this process was given."""
        return cls(**json.loads(os.environ[VARIABLE]))

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to be given."""
        return {VARIABLE: json.dumps(asdict(self))}

    def entries(self) -> Iterator[tuple[str, float]]:
        """Return the names of the entries and the seconds from one fire to the next, first those that will be due."""
        for number in range(self.due):
            yield f"due-{number}", self.every
        for number in range(self.resting):
            yield f"resting-{number}", DAY


def in_time(things: Iterable[T], patience: float) -> Iterator[T]:
    """Return as many as there is time for."""
    deadline = time.monotonic() + patience
    for thing in things:
        if time.monotonic() > deadline:
            return
        yield thing

"""Python's garbage collector, for processes that live long and make many small objects that live shortly."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""New objects, less those that have gone by themselves, after which the young ones are looked through. By default 700,
which are those of one or two executions in flight: with dozens they are looked through again and again, and live."""
ROUNDS: Final = 20
"""Looks at the youngest after which the next older ones are looked at as well."""


def settle() -> None:
    """Spare the collector what was made until now, which stays, and let it look for garbage less often.

    Only what refers to itself waits for it, as exceptions with their frames may; all else goes when it is let go.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, ROUNDS, ROUNDS)

"""Python's garbage collector, in processes that live long and shall not stand still for it."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

YOUNG: Final = 10_000
"""New objects, less those that have gone by themselves, after which the young ones are looked through. By default 700,
which are those of one or two executions in flight: with dozens they are looked through again and again, and live."""
ROUNDS: Final = 20
"""Looks at the youngest after which the next older ones are looked at as well."""


def spare_what_is_there() -> None:
    """Leave what there is by now, mostly modules, out of all garbage collections to come: it stays until the end.

    To be called when all is built and before the work begins, since it takes a full collection. Each one after it would
    else go through some hundred thousand objects that it can never free, for 65 ms of processor time in the server, and
    all calls wait meanwhile. What becomes garbage of these objects in cycles is not freed.
    """
    gc.collect()
    gc.freeze()


def look_less_often() -> None:
    """Let the collector look for garbage less often, where many small objects live shortly.

    Only what refers to itself waits for it, as exceptions with their frames may; all else goes when it is let go.
    """
    gc.set_threshold(YOUNG, ROUNDS, ROUNDS)


@contextmanager
def none_meanwhile() -> Iterator[None]:
    """Look for no garbage meanwhile: for what makes many objects that all live until it is done, and then go at once.

    In all threads of the process, so for seconds, unless a store hangs; and by one thread at a time. It stands around a
    call, so that what that has made is gone at its end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

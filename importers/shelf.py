"""The file in which Celery's beat keeps its schedule, usually `celerybeat-schedule`."""

from __future__ import annotations

import dbm
import pickle
import shelve
from typing import TYPE_CHECKING, Any

from importers.app import SourceError, to_entry
from shared.celery_schedules import zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importers.entries import Entry


def entries_of(path: str) -> Iterator[Entry]:
    """Return the entries of a file. It holds pickles, which can run anything: read nobody's but your own.

    Raises SourceError, and InvalidInput when its time zone has no name.
    """
    try:
        with shelve.open(path, flag="r") as shelf:  # noqa: S301 - see the docstring
            kept: Any = dict(shelf)
    except (OSError, EOFError, AttributeError, ImportError, pickle.UnpicklingError, *dbm.error) as error:
        raise SourceError(f"{path}: it can't be read as a schedule of Celery's beat: {error}") from error
    if "entries" not in kept:
        raise SourceError(f"{path}: it has no entries; is it the file of a beat with Celery's own scheduler?")
    timezone = zone_of(kept.get("tz"), enable_utc=kept.get("utc_enabled", True))
    for name, made in sorted(kept["entries"].items()):
        yield to_entry(name, made, timezone)

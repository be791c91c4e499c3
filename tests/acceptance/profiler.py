"""How MongoDB answered what our processes asked while the acceptance tests ran: by an index, reading little."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROFILE: Final = "system.profile"
BYTES: Final = 1 << 30
EVERY_OPERATION: Final = 2
PROCESSES: Final = frozenset(f"grpc-scheduler {name}" for name in ("beat", "server", "worker"))
MOST_EXAMINED: Final = 2
"""Documents that may be read for each that is returned, changed or removed; and where there is none."""

SEARCHES: Final = frozenset({"query", "getmore", "update", "remove", "command"})
COMMANDS: Final = frozenset({"aggregate", "count", "distinct", "findAndModify"})
"""Of those that are noted as `command`, the ones that look for documents."""

LISTS: Final = frozenset({"created", "job_state", "job_type", "labels", "name", "job", "nominal_time", "finished_at"})
"""Indexes that a list names, which may pass over 3,000 of their entries: docs/decisions/0018."""


class Profiler:
    """The profiler of the database that a URL names."""

    def __init__(self, url: str) -> None:
        self._database = connect(url)

    def start(self) -> None:
        """Note every operation from now on."""
        self._database.create_collection(PROFILE, capped=True, size=BYTES)
        self._database.command("profile", EVERY_OPERATION)

    def stop(self) -> list[dict[str, Any]]:
        """Note no more, and return what was noted of our processes, in order."""
        self._database.command("profile", 0)
        noted = list(self._database[PROFILE].find({"appName": {"$in": sorted(PROCESSES)}}))
        self._database.client.close()
        return noted


def dear(noted: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what was answered without an index, or by reading more than was asked for, each kind once."""
    found: Counter[tuple[str, str]] = Counter()
    for operation in noted:
        command = operation["command"]
        if operation["op"] not in SEARCHES or (operation["op"] == "command" and not COMMANDS & command.keys()):
            continue
        if "COLLSCAN" in operation.get("planSummary", ""):
            found["no index", _kind(operation)] += 1
        elif operation.get("docsExamined", 0) > MOST_EXAMINED * max(1, _matched(operation)) and not _may(operation):
            found["too much read", _kind(operation)] += 1
    return [f"{count} times {what}: {kind}" for (what, kind), count in found.most_common()]


def _matched(operation: Mapping[str, Any]) -> int:
    return max(int(operation.get(name, 0)) for name in ("nreturned", "nMatched", "ndeleted"))


def _may(operation: Mapping[str, Any]) -> bool:
    """Return whether an operation is one that has a reason to read more than it returns."""
    chosen = _filter(operation)
    return (
        # It returns a count or a sum of what it reads.
        "aggregate" in operation["command"]
        # A compare-and-set on documents that it names: it reads just those.
        or "_id" in chosen
        or operation["command"].get("hint") in LISTS
        # Once, when the contract of a target has changed: all jobs that call it.
        or chosen.get("unchecked") == {"$ne": True}
    )


def _filter(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    command = operation["command"]
    chosen: Mapping[str, Any] = command.get("filter") or command.get("q") or command.get("query") or {}
    return chosen


def _kind(operation: Mapping[str, Any]) -> str:
    collection, asked = operation["ns"].partition(".")[2], sorted(_filter(operation) or operation["command"])
    return f"{operation['appName']}, {operation['op']} of {collection} by {asked}, {operation.get('planSummary')}"

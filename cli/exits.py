"""Exit codes: what a script can tell by how schedctl ended."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from scheduler_client import SchedulerError


class Exit(IntEnum):
    """How it ended; 0 is that all is well."""

    FOUND = 1
    FAILED = 2
    NOT_FOUND = 3
    REFUSED = 4
    CONFLICT = 5
    TIMEOUT = 6
    INTERRUPTED = 130


MEANINGS: Final = {
    0: "all is well",
    Exit.FOUND: "what was asked for is not so: a fault, a difference, a failed check or execution",
    Exit.FAILED: "it could not be carried out, or not wholly: no server, wrong usage, nobody confirmed",
    Exit.NOT_FOUND: "what was named does not exist",
    Exit.REFUSED: "the server refused the input; each violation is a line",
    Exit.CONFLICT: "the id is taken, the state does not allow it, or somebody else changed it meanwhile",
    Exit.TIMEOUT: "the time was over; what was waited for goes on",
    Exit.INTERRUPTED: "Ctrl-C",
}

_BY_CODE: Final = {
    "NOT_FOUND": Exit.NOT_FOUND,
    "INVALID_ARGUMENT": Exit.REFUSED,
    "OUT_OF_RANGE": Exit.REFUSED,
    "ALREADY_EXISTS": Exit.CONFLICT,
    "FAILED_PRECONDITION": Exit.CONFLICT,
    "ABORTED": Exit.CONFLICT,
    "DEADLINE_EXCEEDED": Exit.TIMEOUT,
}


def exit_of(error: SchedulerError) -> Exit:
    """Return how a call that did not go well ends the command."""
    return exit_of_code(error.code.name)


def exit_of_code(code: str) -> Exit:
    """Return how a call ends the command that was answered with a status code, as NOT_FOUND."""
    return _BY_CODE.get(code, Exit.FAILED)


def table() -> list[tuple[str, str]]:
    """Return the codes and what they mean, for `schedctl --help`."""
    return [(f"{int(code):>3}", meaning) for code, meaning in MEANINGS.items()]

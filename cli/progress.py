"""Signs that something goes on, on a terminal only, and only when it takes longer than a second."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from cli.output import stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

AFTER: Final = 1.0
"""Seconds."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on standard error that it goes on, while the work inside does."""
    console = stderr()
    if not console.is_terminal:
        yield
        return
    done = Event()
    status = console.status(what)

    def show() -> None:
        if not done.wait(AFTER):
            status.start()

    thread = Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        status.stop()

"""Whether this worker is asked to stop, and how long what it runs may go on."""

from __future__ import annotations

import struct
from mmap import mmap
from time import monotonic
from typing import Final

_END: Final = struct.Struct("d")


class Stopping:
    """Shared by a worker's processes: those of the prefork pool are not told otherwise.

    Without a lock, as it is written in a signal's handler. Make it before the fork.
    """

    def __init__(self, grace: float) -> None:
        """Take the seconds that running attempts get."""
        self._grace = grace
        # When the grace ends, or 0; by the monotonic clock, which is the host's, not a process's.
        self._shared = mmap(-1, _END.size)

    @property
    def ends_at(self) -> float | None:
        """When the grace ends, by the monotonic clock; None when nobody asked to stop."""
        (ends_at,) = _END.unpack_from(self._shared)
        return ends_at or None

    def asked(self) -> bool:
        """Return whether there is to be no new work."""
        return self.ends_at is not None

    def grace_over(self) -> bool:
        """Return whether what still runs is to be handed back."""
        ends_at = self.ends_at
        return ends_at is not None and monotonic() >= ends_at

    def begin(self) -> None:
        """Ask to stop; nothing changes when that was asked before."""
        if not self.asked():
            _END.pack_into(self._shared, 0, monotonic() + self._grace)

    def hurry(self) -> None:
        """Ask to stop without any further grace."""
        _END.pack_into(self._shared, 0, monotonic())

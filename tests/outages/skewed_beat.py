"""Start a beat on a host whose clock is off: `python -m tests.outages.skewed_beat SECONDS`.

The wall clock that Python code reads is moved, before anything else is imported; monotonic clocks go on, as they do
when somebody sets a host's clock. (libfaketime does the same from outside, but would have to be installed.)
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from typing import Self

OFF = float(sys.argv.pop())
_datetime, _time, _time_ns = dt.datetime, time.time, time.time_ns


class _AlsoTheOriginals(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)  # those that C code makes


class _Skewed(dt.datetime, metaclass=_AlsoTheOriginals):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(_time() + OFF, tz)

    @classmethod
    def utcnow(cls) -> Self:
        return cls.now(dt.UTC).replace(tzinfo=None)


if __name__ == "__main__":
    dt.datetime = _Skewed  # type: ignore[misc]
    time.time = lambda: _time() + OFF
    time.time_ns = lambda: _time_ns() + int(OFF * 1_000_000_000)

    from beat.__main__ import main

    main()

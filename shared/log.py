"""Logs: one event a line, each with a fixed `action`; for people on the console, or as JSON.

Context that belongs to every line of a piece of work (job_id, execution_id, attempt, trace_id) is bound with
`bound(...)`; it follows the work through its thread or its asyncio task.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog
from structlog.contextvars import bound_contextvars as bound

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor

__all__ = ["MOST_LINES", "bound", "configure", "get_logger", "leave_to_host"]

MOST_LINES: Final = 100
"""Of so many things done in one go each has a line of its own; of more, one line says how many. To write a line takes
longer than to fire a job, and nobody reads ten thousand of them a second; what became of each row is in the row."""

_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,20}://)(?P<user>[^\s:/@]*):[^\s/]*@")
"""Up to the last @ before a slash: in a password that was not quoted there may be others.

The scheme has a bound: of a megabyte of letters, as an exception may say, each would be looked at from each before it,
and the process would do nothing else for minutes.
"""


def get_logger() -> FilteringBoundLogger:
    """Return a logger; `log.info("a sentence", action="a_fixed_name", ...)`. Usable before configure()."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def configure(process: str, level: str = "INFO", form: str = "auto", number: int | None = None) -> None:
    """Send all logs of this process, those of libraries too, to standard error in one form.

    form: `json`, or `console` (also `auto`), which has colours on a terminal only. Passwords in URLs are masked
    wherever they turn up. On the console, control characters are escaped, since clients choose some of what is logged.
    number: of this process, if it is one of several that write to one place; lines have it as `process_number`.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *([] if number is None else [_add("process_number", number)]),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _drop_absent,
    ]
    # as text: the structured form shows local variables, and with them secrets
    last: list[Processor] = [structlog.processors.format_exc_info]
    if form == "json":
        last += [_add("process", process), _mask, structlog.processors.JSONRenderer(default=str)]
    else:
        last += [_mask, _escape, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _library],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("pymongo", "amqp", "httpx", "httpcore", "kombu", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    logging.captureWarnings(capture=True)
    structlog.configure(
        # Our own lines do not go through the standard library's logging, which takes as long again for each.
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(sys.stderr),
    )


class _Lines:
    """Writes lines. Like a handler of the standard library's, it lets nobody fail for a log that can't be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")  # in one piece: threads write at the same time
            self._stream.flush()

    debug = info = warning = error = critical = exception = log = msg


def leave_to_host() -> None:
    """Send logs to the standard library's logging, as whoever runs this process has set it up, or will.

    For processes that are not ours and use our code: without it, all would go to their standard output. What is
    configured already stays.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _drop_absent,
            _mask,
            structlog.processors.KeyValueRenderer(key_order=["event", "action"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _drop_absent(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Leave out what is None, so that callers can name what there may be."""
    return {key: value for key, value in event.items() if value is not None}


def _add(name: str, value: Any) -> Processor:
    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event[name] = value
        return event

    return add


def _library(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Give the lines of libraries, which know no action, the library's name as theirs."""
    record = event.get("_record")
    event.setdefault("action", f"library:{record.name.partition('.')[0]}" if record else "library")
    return event


def _mask(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {key: _masked(value) for key, value in event.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _without_passwords(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item) for item in value]
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    # Whatever else it is, an exception for example, it is shown as text.
    return _without_passwords(value.decode(errors="replace") if isinstance(value, bytes) else str(value))


def _without_passwords(text: str) -> str:
    # Looked for first: most texts are no URLs, and the expression takes a fifth of the time of a line.
    return _PASSWORD.sub(r"\g<scheme>\g<user>:***@", text) if "://" in text else text


@dataclass(frozen=True, slots=True)
class _Literal:
    """A text that the console's renderer shows in quotes and escaped; by itself it quotes only those with spaces."""

    text: str

    def __repr__(self) -> str:
        return repr(self.text)


def _escape(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {key: _escaped(key, value) for key, value in event.items()}


def _escaped(key: str, value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value  # lists and maps are shown by repr, which escapes
    if key == "event":
        return _printable(value)
    return _printable(value, but="\n\t") if key in {"exception", "stack"} else _Literal(value)


def _printable(text: str, but: str = "") -> str:
    """Escape what is not printable: C0, DEL, C1, line separators, marks that turn the direction of writing."""
    return "".join(char if char.isprintable() or char in but else repr(char)[1:-1] for char in text)

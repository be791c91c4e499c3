"""Around every call: who calls, one line in the log, the metrics, and refusals and errors made into statuses."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from pymongo.errors import PyMongoError

from scheduler_service.transport.caller import current, read_caller
from scheduler_service.transport.refusals import LimitReached, internal_status, refusal_status, shortened, store_status
from shared.domain.errors import InvalidInput, SchedulerError, Violation
from shared.log import bound, get_logger
from shared.metrics import SERVER_DURATION, SERVER_REQUESTS, SERVER_STREAMS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.rpc.status_pb2 import Status
    from prometheus_client import Histogram

    from scheduler_service.transport.limits import Limits

log = get_logger()

QUIET: Final = "/grpc.health."
"""Asked every few seconds by whoever watches the process, so its lines are for debugging only."""
_IDS: Final = ("job_id", "execution_id")
_LONGEST_ID: Final = 100
UNDECODABLE: Final = (
    "the request can't be decoded: it is nested deeper than protobuf allows, or not this method's message"
)
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

_Work: TypeAlias = "Callable[[Any, Any, dict[str, str]], Awaitable[Any]]"
"""Answers a request in its context, and notes for the log which ids the answer names."""


class _Undecodable:
    """Stands for a request that is none. Raised while grpc decodes, the error would be answered around us."""


@dataclass(frozen=True, slots=True)
class _TooLarge:
    """Stands for a request of so many bytes, which was not decoded."""

    size: int
    most: int


def _decoding(decode: Callable[[bytes], Any], most: int) -> Callable[[bytes], Any]:
    def read(raw: bytes) -> Any:
        if len(raw) > most:
            return _TooLarge(len(raw), most)
        try:
            return decode(raw)
        except (DecodeError, ValueError, RecursionError):
            return _Undecodable()

    return read


def _decoded(request: Any) -> Any:
    if isinstance(request, _Undecodable):
        raise InvalidInput([Violation("", UNDECODABLE)])
    if isinstance(request, _TooLarge):
        said = f"the request has {request.size:,} bytes; at most {request.most:,} are taken"
        raise LimitReached("MAX_MESSAGE_BYTES", said)
    return request


class Calls(grpc.aio.ServerInterceptor):
    """The outermost interceptor. Server reflection and health's Watch, which do not end by themselves, just pass."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._in_progress: set[asyncio.Task[Any]] = set()
        self._handlers: dict[str, Any] = {}
        """By method: made for the first call of each, since making them takes as long as a small answer."""

    async def intercept_service(self, continuation: Callable[..., Awaitable[Any]], details: Any) -> Any:
        """Return the method's handler with the call's surroundings around it."""
        if (known := self._handlers.get(details.method)) is not None:
            return known
        handler = await continuation(details)
        if handler is None:
            return None  # and is not kept: clients may call what they like
        around = self._handlers[details.method] = self._around(details.method, handler)
        return around

    def _around(self, method: str, handler: Any) -> Any:
        if handler.request_streaming or (handler.response_streaming and _is_quiet(method)):
            return handler
        duration, streams = SERVER_DURATION.labels(method), SERVER_STREAMS.labels(method)

        async def respond(request: Any, context: Any, seen: dict[str, str]) -> Any:
            response = await handler.unary_unary(_decoded(request), context)
            seen.update(_ids(response))
            return response

        async def tell(request: Any, context: Any, _seen: dict[str, str]) -> None:
            with self._limits.stream(current.get().account), streams.track_inprogress():
                # Written from here, not yielded on: a generator whose client goes away would be left where it stands.
                async with aclosing(handler.unary_stream(_decoded(request), context)) as responses:
                    async for message in responses:
                        await context.write(message)

        work = tell if handler.response_streaming else respond

        async def answer(request: Any, context: Any) -> Any:
            return await self._answer(method, duration, request, context, work)

        codec = {
            "request_deserializer": _decoding(handler.request_deserializer, self._limits.message_bytes),
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(answer, **codec)
        return grpc.unary_unary_rpc_method_handler(answer, **codec)

    async def _answer(self, method: str, duration: Histogram, request: Any, context: Any, work: _Work) -> Any:
        """Do the work on a call: what it raises becomes a status, and its end a line and a count."""
        began = time.perf_counter()
        task = asyncio.current_task()
        if task is not None:
            self._in_progress.add(task)
            task.add_done_callback(self._in_progress.discard)
        caller = read_caller(context.invocation_metadata() or (), context.peer())
        current.set(caller)
        code = grpc.StatusCode.OK
        seen: dict[str, str] = {}
        with bound(trace_id=caller.trace_id, **_ids(request)):
            try:
                if not _is_quiet(method):  # those who watch over the server's health have no limits
                    self._limits.admit(caller.account, request)
                return await work(request, context, seen)
            except (asyncio.CancelledError, GeneratorExit):
                # The client went away, its deadline passed, or this process stops.
                code = grpc.StatusCode.CANCELLED
                raise
            except grpc.aio.AbortError:
                code = _CODES.get(_number(context.code()), grpc.StatusCode.UNKNOWN)
                raise
            except Exception as error:  # noqa: BLE001 - the text of an unhandled one would reach the client
                status = _status(error)
                code = _CODES[status.code]
                seen["error"] = shortened(status.message, 500)
                await context.abort_with_status(rpc_status.to_status(status))
            finally:
                seconds = time.perf_counter() - began
                SERVER_REQUESTS.labels(method, code.name).inc()
                duration.observe(seconds)
                note = log.debug if _is_quiet(method) else log.info
                note(
                    "request answered",
                    action="request_answered",
                    method=method,
                    code=code.name,
                    duration_ms=round(seconds * 1000, 1),
                    actor=caller.by,
                    **seen,
                )

    async def finished(self, within: float) -> None:
        """Wait, for at most so many seconds, until no handler runs: `server.stop` does not wait for cancelled ones."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._in_progress:
                    await asyncio.wait(set(self._in_progress))


def _is_quiet(method: str) -> bool:
    return method.startswith(QUIET)


def _status(error: Exception) -> Status:
    if isinstance(error, SchedulerError):
        return refusal_status(error)
    status = store_status(error) if isinstance(error, PyMongoError) else None
    if status is not None:
        log.warning("the store cannot be reached", action="store_unreachable", error=str(error)[:500])
        return status
    error_id = secrets.token_hex(6)
    log.error("request failed", action="request_failed", error_id=error_id, exc_info=error)
    return internal_status(error_id)


def _number(code: Any) -> int:
    """Return the number of a status code; grpc.aio has it as either."""
    return int(code.value[0]) if isinstance(code, grpc.StatusCode) else int(code)


def _ids(message: Any) -> dict[str, str]:
    """Return the ids that a request or response names, for the log."""
    found = {name: getattr(message, name, "") for name in _IDS}
    return {name: value[:_LONGEST_ID] for name, value in found.items() if isinstance(value, str) and value}

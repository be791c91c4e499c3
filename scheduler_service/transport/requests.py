"""Calls with a request id: the same id gives the first answer for 24 h, whoever asks, and whatever dies in between.

One place for all methods, around their handlers. A call is noted before it has any effect, and its answer after it. In
between its process may die: the note holds a token that the effect carries, so that whoever goes on with the call finds
the effect, and does not do it again. What an operation has to do for that is to write `token()` with what it does, in
the same write, and to look for it first; see Jobs. docs/requests.md says what clients may rely on.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import grpc
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError
from ulid import ULID

from shared.domain.errors import InvalidInput, Reason, SchedulerError, Unavailable, Violation
from shared.domain.text import unprintable
from shared.log import get_logger
from shared.store import requests
from shared.store.jobs import new_uid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

log = get_logger()

LONGEST_REQUEST_ID: Final = 128

BY_ID: Final = frozenset({"ExecuteJobNow", "RetryExecution"})
"""Methods that make the id of what they create from the request id, which holds for longer than 24 h, and whose answer
is how that is by then."""

PATIENCE: Final = 3 * requests.LEASE.total_seconds()
"""Seconds that a repeated call waits for the first one: until one that died has lost its lease, and is gone on with."""

PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between two looks at a call that another works on; the last of them goes on."""


@dataclass(frozen=True, slots=True)
class Request:
    """The call in progress. again: whether it goes on with one that has got no answer, and may have had its effect.

    part: the token of that which this task does, of a call that has several effects.
    """

    token: str
    again: bool
    part: str = ""


_current: ContextVar[Request | None] = ContextVar("request", default=None)


def token() -> str:
    """Return what marks the effect of the call in progress; empty for one without a request id. As unique as a uid."""
    request = _current.get()
    return (request.part or request.token) if request is not None else ""


def is_repeated() -> bool:
    """Return whether the effect of the call in progress may be there already."""
    request = _current.get()
    return request is not None and request.again


def become_part(mark: str) -> None:
    """Give what this task does from now on a token of its own, which is the same when the call is repeated.

    For a call that has several effects. mark: what tells them apart, whichever of them were made before.
    """
    request = _current.get()
    if request is not None:
        time = bytes(ULID.from_str(request.token.upper()))[:6]
        own = str(ULID(time + sha256(f"{request.token}.{mark}".encode()).digest()[:10])).lower()
        _current.set(replace(request, part=own))


def request_id_violations(request_id: str) -> list[Violation]:
    """Return what is wrong with a request id; an empty one is none."""
    if len(request_id) > LONGEST_REQUEST_ID:
        said = f"{len(request_id):,} characters are too many (at most {LONGEST_REQUEST_ID})"
        return [Violation("request_id", said)]
    said = unprintable(request_id, lines=True)
    return [Violation("request_id", said)] if said else []


def reused(request_id: str, said: str) -> InvalidInput:
    """Return the refusal of a request id that another request had."""
    sentence = f"'{request_id}' is the id of another request, {said}; give each request an id of its own, as a UUID"
    return InvalidInput([Violation("request_id", sentence)], reason=Reason.REQUEST_ID_REUSED)


async def _also_wrong(handler: Any, request: Any, context: Any) -> Sequence[Violation]:
    """Return what else is wrong with a request whose id is: all is said at once."""
    tried = type(request)()
    tried.CopyFrom(request)
    tried.request_id, tried.validate_only = "", True
    try:
        await handler.unary_unary(tried, context)
    except InvalidInput as refused:
        return refused.violations
    except (SchedulerError, PyMongoError):
        return ()  # which depends on the state of things, and is for when the request is right
    return ()


class Requests(grpc.aio.ServerInterceptor):
    """Stands inside of what makes statuses of refusals. Its answers are bytes where they are those of before."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._requests = database[requests.COLLECTION]
        self._working: set[asyncio.Task[bytes]] = set()

    async def intercept_service(self, continuation: Callable[..., Awaitable[Any]], details: Any) -> Any:
        """Return the method's handler, which does nothing twice for the same request id."""
        handler = await continuation(details)
        service, _, method = details.method.removeprefix("/").rpartition("/")
        if handler is None or handler.unary_unary is None or method in BY_ID:
            return handler

        async def answer(request: Any, context: Any) -> Any:
            request_id = getattr(request, "request_id", "")
            if found := request_id_violations(request_id):
                raise InvalidInput([*found, *await _also_wrong(handler, request, context)])
            # What is only checked has no effect, and may be checked again under the id that it is to have.
            if not request_id or getattr(request, "validate_only", False):
                return await handler.unary_unary(request, context)
            body = request.SerializeToString(deterministic=True)
            digest = sha256(body).hexdigest()[:32]
            wanted = requests.Claim(f"{service}/{method} {request_id}", digest, new_uid(), new_uid())

            async def work() -> bytes:
                response: bytes = handler.response_serializer(await handler.unary_unary(request, context))
                return response

            return await self._answer(request_id, wanted, work)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=handler.request_deserializer,
            response_serializer=lambda sent: sent if isinstance(sent, bytes) else handler.response_serializer(sent),
        )

    async def finished(self, within: float) -> None:
        """Wait, for at most so many seconds, until no call is worked on whose client has gone."""
        if self._working:
            await asyncio.wait(set(self._working), timeout=within)

    async def _answer(self, request_id: str, wanted: requests.Claim, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the first answer; of a call that nobody works on, make it."""
        loop = asyncio.get_running_loop()
        until, looks = loop.time() + PATIENCE, 0
        while True:
            standing = await self._claim(wanted)
            if standing["digest"] != wanted.digest:
                raise reused(request_id, "which was another message of this method")
            if "answer" in standing:
                return bytes(standing["answer"])
            if requests.is_ours(wanted, standing):
                held = replace(wanted, token=standing["token"])
                return await self._outlive_the_client(self._work(held, wanted.token != held.token, work))
            if loop.time() >= until:
                said = f"the first call with the request_id '{request_id}' is still worked on; try again"
                raise Unavailable(said, reason=Reason.REQUEST_IN_PROGRESS)
            await asyncio.sleep(PAUSES[min(looks, len(PAUSES) - 1)])
            looks += 1

    async def _claim(self, wanted: requests.Claim) -> Mapping[str, Any]:
        while True:
            with suppress(DuplicateKeyError):  # of two that come first, one is told so, and looks again
                standing = await self._requests.find_one_and_update(
                    {"_id": wanted.key}, requests.claim(wanted), upsert=True, return_document=ReturnDocument.AFTER
                )
                if standing is not None:
                    return standing

    async def _outlive_the_client(self, work: Any) -> bytes:
        """Wait for work that goes on when its client is gone: who repeats the call then gets its answer."""
        task = asyncio.create_task(work, name="request")
        self._working.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[bytes]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # which its client was told, if there still was one

    async def _work(self, claim: requests.Claim, again: bool, work: Callable[[], Awaitable[bytes]]) -> bytes:
        _current.set(Request(claim.token, again))
        try:
            async with self._keeping(claim):
                response = await work()
        except SchedulerError:
            # Refused, so nothing was changed: the client may mend the request, and send it with the same id.
            await self._note(claim, None)
            raise
        except BaseException:
            await self._note(claim, requests.LET_GO)
            raise
        await self._note(claim, requests.answer(response))
        return response

    async def _note(self, claim: requests.Claim, update: Mapping[str, Any] | None) -> None:
        """Write how a call has ended; None: forget it. What can't be written now costs a repetition a moment."""
        try:
            if update is None:
                await self._requests.delete_one(claim.ours)
            else:
                await self._requests.update_one(claim.ours, update)
        except PyMongoError as error:
            log.warning(
                "how a request ended could not be noted",
                action="request_not_noted",
                request=claim.key,
                error=str(error)[:500],
            )

    @asynccontextmanager
    async def _keeping(self, claim: requests.Claim) -> AsyncIterator[None]:
        """Hold a call for as long as it is worked on."""
        worked_on = True

        async def renew() -> None:
            # Not for ever: before Python 3.12 a cancellation gets lost when it comes just as PyMongo has sent its
            # command (asyncio.wait_for). The lease would be renewed, and the call not answered, until the server ends.
            while worked_on:
                await asyncio.sleep(requests.LEASE.total_seconds() / 3)
                with suppress(PyMongoError):
                    await self._requests.update_one(claim.ours, requests.renew())

        keeper = asyncio.create_task(renew(), name="request keeper")
        try:
            yield
        finally:
            worked_on = False
            keeper.cancel()
            await asyncio.wait([keeper])

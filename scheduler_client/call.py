"""Calls as values: what is asked, and what of the answer is wanted. The two clients make them, each in its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message

Answer = TypeVar("Answer", bound="Message")
Result = TypeVar("Result")

PACKAGE: Final = "scheduler.v1"
WAIT_AT_A_TIME: Final = 600.0
"""Seconds after which a wait without an end asks again, so that a connection that died unseen is noticed."""
STREAM_AT_A_TIME: Final = 300.0
"""The same for a stream that resumes; it goes on where it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the ways to ask have in common.

    method: `Service/Method`. timeout: seconds; None means the client's, and for a stream no end. endless: when the
    time is over, or the server away, it is asked again.
    """

    method: str
    request: Any
    answer: type[Message]
    timeout: float | None = None
    endless: bool = False

    @property
    def path(self) -> str:
        """Return the method's name on the wire."""
        return f"/{PACKAGE}.{self.method}"

    @property
    def codec(self) -> dict[str, Any]:
        """Return how gRPC makes bytes of messages."""
        return {
            "request_serializer": type(self.request).SerializeToString,
            "response_deserializer": self.answer.FromString,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(_Asked, Generic[Result]):
    """One request, one answer."""

    result: Callable[[Any], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(_Asked, Generic[Result]):
    """A list that comes in pages; the request has a page_token."""

    entries: Callable[[Any], Iterable[Result]]

    def after(self, token: str) -> Call[Any]:
        """Return the call for the page that follows the one which gave the token."""
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token = token
        return Call(method=self.method, request=request, answer=self.answer, result=lambda page: page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(_Asked, Generic[Result]):
    """Messages without an end, if it is endless; then they have resume_tokens.

    wanted: whether a message is told; a sign of life is not. lists: it begins with what there is, without tokens.
    ends: once the server ends it without a failure, there is no more.
    """

    wanted: Callable[[Any], bool]
    lists: bool = False
    ends: bool = False

    def begin(self) -> Progress:
        """Return the state of reading it, from its beginning."""
        return Progress(self)


class Progress:
    """How far a stream was read."""

    def __init__(self, stream: Stream[Any]) -> None:
        self._stream = stream
        self.request = type(stream.request)()
        """What to ask for the rest."""
        self.request.CopyFrom(stream.request)
        self.has_moved = not stream.lists
        """Whether a new token has come in this try: it can be left."""

    def next_timeout(self) -> float | None:
        """Return the seconds that the next try may take.

        None for one that begins with a list, and after one without a new token: where it is read slowly, what has no
        tokens of its own would begin anew for ever.
        """
        timeout = self._stream.timeout if self.has_moved else None
        self.has_moved = False
        return timeout

    def takes(self, message: Any) -> bool:
        """Note a message; return whether it is told."""
        if self._stream.endless and message.resume_token not in {"", self.request.resume_token}:
            self.request.resume_token = message.resume_token
            self.has_moved = True
        return self._stream.wanted(message)


def call(
    method: str,
    request: Message,
    answer: type[Answer],
    result: Callable[[Answer], Result],
    *,
    timeout: float | None = None,
    endless: bool = False,
) -> Call[Result]:
    """Return a call."""
    return Call(method=method, request=request, answer=answer, result=result, timeout=timeout, endless=endless)


def pages(
    method: str, request: Message, answer: type[Answer], entries: Callable[[Answer], Iterable[Result]]
) -> Pages[Result]:
    """Return a list in pages."""
    return Pages(method=method, request=request, answer=answer, entries=entries)


def watch(
    method: str,
    request: Message,
    answer: type[Answer],
    wanted: Callable[[Answer], bool],
    *,
    lists: bool = False,
    ends: bool = False,
) -> Stream[Answer]:
    """Return a stream that resumes."""
    return Stream(
        method=method,
        request=request,
        answer=answer,
        wanted=wanted,
        lists=lists,
        ends=ends,
        timeout=STREAM_AT_A_TIME,
        endless=True,
    )


def stream(method: str, request: Message, answer: type[Answer]) -> Stream[Answer]:
    """Return a stream that ends."""
    return Stream(method=method, request=request, answer=answer, wanted=lambda _: True, ends=True)


def new_request_id(given: str) -> str:
    """Return the id that makes repeating a call safe: the caller's own, or one for this call alone."""
    return given or uuid4().hex

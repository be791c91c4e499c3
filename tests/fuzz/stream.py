"""A stream of random requests, each of which can be made again alone: by the seed and its number."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from tests.fuzz.oddities import Oddities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

NO_MESSAGE: Final = 0.02
"""The share of requests that are random bytes."""
RIGHT: Final = 0.1
"""Those that nothing is wrong with, so that what they do is there when the others come."""
FROM_NOTHING: Final = 0.3
"""Those any fields of which have any values. In the rest some fields of a right one are spoilt."""


class RandomRequests:
    """Requests by their numbers, which go through the methods in turn.

    example: returns the request of a method that is right. known: texts that mean something to the server.
    """

    def __init__(
        self, seed: int, names: Sequence[str], example: Callable[[str], Message], known: Sequence[str]
    ) -> None:
        self._seed = seed
        self._names = names
        self._example = example
        self._known = known

    def at(self, number: int) -> tuple[str, Message | bytes]:
        """Return a method's name and a request to it."""
        random = Random(f"{self._seed}:{number}")
        name = self._names[number % len(self._names)]
        kind = random.random()
        if kind < NO_MESSAGE:
            return name, random.randbytes(random.randint(0, 200))
        request, oddities = self._example(name), Oddities(random, self._known)
        if kind < NO_MESSAGE + FROM_NOTHING:
            request.Clear()
            oddities.fill(request)
        elif kind < 1 - RIGHT:
            oddities.spoil(request)
        return name, request

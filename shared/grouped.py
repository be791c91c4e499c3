"""What threads ask for at about the same time is done at once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Q = TypeVar("_Q")
_A = TypeVar("_A")


@dataclass(slots=True, eq=False)
class _Asked(Generic[_Q, _A]):
    """One thread's question. `told` is released with an answer, with an error, or with neither: then its turn has come.

    A lock, since it is held until then and waited for once: an Event would make two more for each question.
    """

    question: _Q
    told: Lock
    answer: list[_A]
    error: BaseException | None = None


class Grouped(Generic[_Q, _A]):
    """Gathers questions, and lets one of those who ask find the answers to all.

    Nobody waits for company: who comes while nothing is being done does at once what there is, alone; who comes
    meanwhile waits, and is in the next group. So groups are as large as it takes under load, and under none, none is
    there to be waited for.
    """

    def __init__(self, find: Callable[[Sequence[_Q]], Sequence[_A]]) -> None:
        """Take what finds the answers, in the order of the questions; it is called by one thread at a time."""
        self._find = find
        self._lock = Lock()
        self._waiting: list[_Asked[_Q, _A]] = []
        self._busy = False

    def ask(self, question: _Q) -> _A:
        """Return the answer. Raises what `find` raised, for a group that this question was in or had to wait for."""
        mine: _Asked[_Q, _A] = _Asked(question, Lock(), [])
        mine.told.acquire()
        with self._lock:
            self._waiting.append(mine)
            leads, self._busy = not self._busy, True
        if not leads:
            mine.told.acquire()
            leads = not mine.answer and mine.error is None
        if leads:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.answer[0]

    def _lead(self) -> None:
        """Find the answers for all who wait, and hand over to one of those who have come meanwhile."""
        with self._lock:
            group, self._waiting = self._waiting, []
        error: BaseException | None = None
        try:
            for each, answer in zip(group, self._find([each.question for each in group]), strict=True):
                each.answer.append(answer)
        except BaseException as raised:  # noqa: BLE001 - whatever it is, each of the others has to learn of it
            error = raised
        with self._lock:
            if error is not None:
                # Those who came meanwhile as well: of a store that does not answer each group would wait in turn.
                group, self._waiting = [*group, *self._waiting], []
            following = self._waiting[0] if self._waiting else None
            self._busy = following is not None
        for each in group:
            each.error = error
            each.told.release()
        if following is not None:
            following.told.release()

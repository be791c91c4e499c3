"""What several threads ask for at about the same time is done once, and each gets its own answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

import pytest

from shared.grouped import Grouped
from tests.acceptance.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future


class Squares:
    """Finds squares, when it is let."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.goes_on = Event()
        self.fails = False
        self.together: Grouped[int, int] = Grouped(self.find)

    def find(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append(list(numbers))
        assert self.goes_on.wait(60)
        if self.fails:
            self.fails = False
            raise ZeroDivisionError(str(numbers))
        return [number * number for number in numbers]

    def have_waiting(self, number: int) -> None:
        wait_until(lambda: len(self.together._waiting) == number, f"{number} wait")


@contextmanager
def asked_while_busy(squares: Squares) -> Iterator[list[Future[int]]]:
    """Ask for the square of 1, and for three others while it is being found."""
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(squares.together.ask, 1)]
        wait_until(lambda: squares.groups, "the first is being found")
        for number in (2, 3, 4):
            answers.append(pool.submit(squares.together.ask, number))
            squares.have_waiting(number - 1)
        yield answers
        squares.goes_on.set()


def test_who_asks_alone_waits_for_nobody():
    squares = Squares()
    squares.goes_on.set()
    assert [squares.together.ask(number) for number in (3, 4)] == [9, 16]
    assert squares.groups == [[3], [4]]


def test_what_is_asked_meanwhile_is_found_at_once_and_each_gets_its_own():
    squares = Squares()
    with asked_while_busy(squares) as answers:
        squares.goes_on.set()
        assert [answer.result(30) for answer in answers] == [1, 4, 9, 16]
    assert squares.groups == [[1], [2, 3, 4]]


def test_an_error_is_told_to_all_who_wait_and_the_next_one_begins_anew():
    squares = Squares()
    squares.fails = True
    with asked_while_busy(squares) as answers:
        squares.goes_on.set()
        for answer in answers:
            with pytest.raises(ZeroDivisionError):
                answer.result(30)
    assert squares.groups == [[1]]
    assert squares.together.ask(5) == 25


def test_of_many_questions_at_once_none_is_lost():
    together: Grouped[int, int] = Grouped(lambda numbers: [number * number for number in numbers])
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(together.ask, range(5_000))) == [number * number for number in range(5_000)]

"""Garbage collections of a process go through what has come since its start, and not through the rest."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from shared.garbage import YOUNG, look_less_often, none_meanwhile, spare_what_is_there

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Node:
    """Refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.itself = self


def is_gone_through(wanted: Any) -> bool:
    return any(each is wanted for each in gc.get_objects())


def test_what_is_there_is_gone_through_no_more_and_what_comes_later_is() -> None:
    before = [Node()]
    assert is_gone_through(before)
    spare_what_is_there()
    after = [Node()]
    assert (is_gone_through(before), is_gone_through(after)) == (False, True)


def test_what_was_garbage_already_is_not_kept_for_ever() -> None:
    gone = weakref.ref(Node())
    spare_what_is_there()
    assert gone() is None


def test_of_what_comes_and_stays_the_young_are_looked_through_less_often() -> None:
    def looked() -> int:
        return sum(int(generation["collections"]) for generation in gc.get_stats())

    def looks(objects: int) -> int:
        gc.collect()
        before = looked()
        held = [Node() for _ in range(objects)]
        del held
        return looked() - before

    as_by_default = looks(YOUNG // 4)
    look_less_often()
    assert (as_by_default > 0, looks(YOUNG // 4), looks(2 * YOUNG) > 0) == (True, 0, True)


def test_while_none_is_looked_for_garbage_stays_and_goes_afterwards() -> None:
    with none_meanwhile():
        gone = weakref.ref(Node())
        many = [Node() for _ in range(2 * YOUNG)]
        assert gone() is not None
    del many
    gc.collect()
    assert gone() is None


def test_garbage_is_looked_for_again_when_what_kept_it_waiting_fails() -> None:
    with pytest.raises(ZeroDivisionError), none_meanwhile():
        1 / 0  # noqa: B018 - raises
    assert gc.isenabled()

"""Garbage collections of a process go through what has come since its start, and not through the rest."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from shared.garbage import spare_what_is_there

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


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

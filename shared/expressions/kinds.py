"""Kinds: what is known of a value before there is one. None is the kind of which nothing is known: anything fits.

A kind says what a value is when it is there; any may be null instead, as in JMESPath.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Scalar(Enum):
    """Values that have no parts."""

    TEXT = "a string"
    NUMBER = "a number"
    BOOLEAN = "a boolean"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of which each item is of one kind."""

    item: Kind | None


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any keys, of which each value is of one kind."""

    value: Kind | None


@dataclass(frozen=True, slots=True)
class Record:
    """An object with these fields and no others.

    name: what it is called in a sentence, as the message's. fields may be made as they are asked for: a message may
    have fields of its own type.
    """

    name: str
    fields: Mapping[str, Kind | None]


@dataclass(frozen=True, slots=True, eq=False)
class Namespace:
    """Names that expressions begin with, or the steps: not a value, only what it has by a name is.

    An expression that took it whole (`keys(steps)`, `steps.*`) would not say which of them it needs. noun: what one of
    them is called in a sentence.
    """

    noun: str
    fields: Mapping[str, Kind | None]


Kind: TypeAlias = Scalar | ListOf | MapOf | Record | Namespace

TEXT: Final = Scalar.TEXT
NUMBER: Final = Scalar.NUMBER
BOOLEAN: Final = Scalar.BOOLEAN
NULL: Final = Scalar.NULL

STEPS: Final = "steps"
"""The root under which the steps of a workflow are."""


def roots(fields: Mapping[str, Kind | None], steps: Mapping[str, Kind | None] | None = None) -> Namespace:
    """Return what expressions may begin with: these, and `steps` where there are some. None: of an unknown kind."""
    names = dict(fields)
    if steps is not None:
        names[STEPS] = Namespace("step", steps)
    return Namespace("value", names)


def kind_of(value: object) -> Kind | None:
    """Return the kind of a JSON value."""
    match value:
        case str():
            return TEXT
        case bool():
            return BOOLEAN
        case int() | float():
            return NUMBER
        case None:
            return NULL
        case list():
            return ListOf(common(kind_of(item) for item in value))
        case dict():
            return Record("the object", {str(key): kind_of(item) for key, item in value.items()})
    return None


def common(kinds: Iterable[Kind | None]) -> Kind | None:
    """Return the kind of a value that is of one of these, as far as they agree."""
    found: Kind | None = NULL
    for kind in kinds:
        if found is NULL:
            found = kind
        elif kind is not NULL and kind != found:
            return None
    return found


def described(kind: Kind) -> str:
    """Say what a value of a kind is: "a list"."""
    match kind:
        case Scalar():
            return kind.value
        case ListOf():
            return "a list"
        case MapOf() | Record() | Namespace():
            return "an object"

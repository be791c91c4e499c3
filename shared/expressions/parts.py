"""The parts of a template: JSON in whose strings expressions have been found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.domain.errors import Violation
from shared.domain.text import excerpt
from shared.expressions.expression import Expression, parse_expression
from shared.expressions.inference import References, references
from shared.expressions.placeholder import Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_VIOLATIONS: Final = 100
"""More are not looked for: a status has room for fewer."""
OPEN: Final = "${"
_LITERAL: Final = "$${"
_QUOTES: Final = "'\"`"


def quoted(value: Any) -> Any:
    """Return a template that stands for this value, whatever its strings look like."""
    match value:
        case str():
            return value.replace(OPEN, _LITERAL)
        case dict():
            return {key: quoted(inner) for key, inner in value.items()}
        case list():
            return [quoted(inner) for inner in value]
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Whole:
    """A string that is one expression: it becomes the value."""

    field: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Text:
    """A string with expressions in it, and text between them."""

    field: str
    parts: tuple[str | Expression, ...]


Part: TypeAlias = "Whole | Text | Placeholder | dict[str, Part] | list[Part] | str | int | float | bool | None"
"""A placeholder is a string that can't be read: what it would become is not known."""


class Reader:
    """Goes through some JSON and collects its expressions, and what is wrong with them."""

    def __init__(self) -> None:
        self.found: list[Violation] = []
        self.references = References()

    def part(self, value: object, where: str) -> Part:
        """Read some JSON, written at a field."""
        match value:
            case str():
                return self._string(value, where)
            case dict():
                for key in value:
                    if OPEN in key:
                        self._refuse(f"{where}.{excerpt(key)}", "a key is taken as it is, and can't have ${ in it")
                return {key: self.part(item, f"{where}.{excerpt(key)}") for key, item in value.items()}
            case list():
                return [self.part(item, f"{where}[{index}]") for index, item in enumerate(value)]
            case bool() | int() | float() | None:
                return value
        raise TypeError(f"{where}: {type(value).__name__} is not JSON")

    def _string(self, text: str, where: str) -> Part:
        if OPEN not in text:
            return text
        parts: list[str | Expression] = []
        unread = False
        try:
            pieces = list(_pieces(text))
        except ValueError as error:
            self._refuse(where, str(error))
            return Placeholder(excerpt(text))
        for literal, source in pieces:
            if literal:
                parts.append(literal)
            if source is None:
                continue
            try:
                expression = parse_expression(source)
                self.references |= references(expression)
            except ValueError as error:
                self._refuse(where, str(error))
                parts.append(f"${{{source}}}")
                unread = True
            else:
                parts.append(expression)
        match parts:
            case [str() as only]:
                return Placeholder(excerpt(only)) if unread else only
            case [Expression() as only]:
                return Whole(where, only)
        return Text(where, tuple(parts))

    def _refuse(self, where: str, sentence: str) -> None:
        if len(self.found) < MOST_VIOLATIONS:
            self.found.append(Violation(where, sentence))


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Divide a text into literal pieces, each with the expression after it (None: there is none)."""
    literal, at = "", 0
    while (found := text.find(OPEN, at)) >= 0:
        if found > at and text[found - 1] == "$":
            literal += text[at : found - 1] + OPEN
            at = found + len(OPEN)
            continue
        start = found + len(OPEN)
        end = _end(text, start)
        yield literal + text[at:found], text[start:end]
        literal, at = "", end + 1
    yield literal + text[at:], None


def _end(text: str, start: int) -> int:
    """Return where the } is that ends an expression: not one within quotes, nor one that an inner { has."""
    quote, open_, at = "", 0, start
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in _QUOTES:
            quote = letter
        elif letter == "{":
            open_ += 1
        elif letter == "}":
            if not open_:
                return at
            open_ -= 1
        at += 1
    said = excerpt(text[start - len(OPEN) :])
    inside = f", since a {quote} is open" if quote else ""
    raise ValueError(
        f"{said!r} has no }} that ends it{inside}; the characters ${{ themselves are written as {_LITERAL}"
    )


def mapped(part: Part, whole: Callable[[Whole], Any], text: Callable[[Text], Any]) -> Any:
    """Return the JSON of a template with what becomes of its expressions."""
    match part:
        case Whole():
            return whole(part)
        case Text():
            return text(part)
        case dict():
            return {key: mapped(item, whole, text) for key, item in part.items()}
        case list():
            return [mapped(item, whole, text) for item in part]
    return part

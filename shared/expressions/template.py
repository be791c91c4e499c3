"""Templates: JSON in whose strings `${...}` stands for values that are known when it is rendered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from dataclasses import field as of
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt
from shared.expressions.expression import (
    Budget,
    Expression,
    ExpressionError,
    json_problem,
    parse_expression,
    quoted,
    shown_path,
)
from shared.expressions.inference import References, infer, references
from shared.expressions.kinds import TEXT, ListOf, described
from shared.expressions.placeholder import Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.expressions.expression import JSON
    from shared.expressions.kinds import Kind

LARGEST_RENDERED: Final = 256 * 1024
"""Bytes of JSON, as of a job's parameters."""
_MOST_VIOLATIONS: Final = 100

_OPEN: Final = "${"
_LITERAL: Final = "$${"
_QUOTES: Final = "'\"`"
_FIRST_INEXACT: Final = 2**53
_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class _Whole:
    """A string that is one expression: it becomes the value."""

    field: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class _Text:
    """A string with expressions in it, and text between them."""

    field: str
    parts: tuple[str | Expression, ...]


_Part: TypeAlias = "_Whole | _Text | dict[str, _Part] | list[_Part] | str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Template:
    """JSON with expressions in it; one that can't be parsed is refused when it is made, by parse_template."""

    field: str
    references: References
    """What its expressions begin with."""
    _root: _Part = of(repr=False)

    def render(self, context: Mapping[str, JSON], largest: int = LARGEST_RENDERED) -> Any:
        """Return the JSON with the values of a context, which is JSON as `json.loads` makes it.

        Raises ExpressionError, on the field where it is written, when an expression fails, or gives null:

        - A path (names and indexes only) may lead to a null that is there. That a part of it is missing is an error;
          it names that part.
        - Any other null is an error, unless the expression says itself that there may be none: `x || `null``.
        - In a text, null is always an error.

        Also, when the whole has more bytes of JSON than `largest`.
        """
        budget = Budget()
        document = dict(context)
        rendered = _mapped(
            self._root,
            lambda whole: _whole_value(whole.field, whole.expression, document, budget),
            lambda text: _text_value(text, document, budget),
        )
        size = len(_json(rendered).encode())
        if size > largest:
            raise ExpressionError(
                self.field, f"they become {size:,} bytes of JSON, which are too many (at most {largest:,})"
            )
        return rendered

    def check(self, schema: Kind | None) -> None:
        """Raise InvalidInput with a violation for every expression that can't be right for a context of this kind."""
        found: list[Violation] = []
        self._placed(schema, found)
        if found:
            raise InvalidInput(found[:_MOST_VIOLATIONS])

    def placeholders(self, schema: Kind | None) -> Any:
        """Return the JSON with placeholders, of the kinds that the expressions give for a context of this kind.

        Where check would refuse one, it is of any kind, so that all else can be checked.
        """
        return self._placed(schema, [])

    def _placed(self, schema: Kind | None, found: list[Violation]) -> Any:
        def kind(where: str, expression: Expression) -> Kind | None:
            try:
                return infer(expression, schema)
            except ValueError as error:
                found.append(Violation(where, str(error)))
                return None

        def text(part: _Text) -> Placeholder:
            for piece in part.parts:
                if not isinstance(piece, str):
                    kind(part.field, piece)
            shown = "".join(piece if isinstance(piece, str) else f"${{{piece.text}}}" for piece in part.parts)
            return Placeholder(excerpt(shown), TEXT)

        def whole(part: _Whole) -> Placeholder:
            return Placeholder(quoted(part.expression.text), kind(part.field, part.expression))

        return _mapped(self._root, whole, text)


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression that is true or false: what JMESPath takes for false is false, "", [], {} and null."""

    field: str
    references: References
    _expression: Expression

    def evaluate(self, context: Mapping[str, JSON]) -> bool:
        """Return whether it is true; raise ExpressionError when it fails. What is not there is null, and so false."""
        found = _evaluated(self.field, self._expression, dict(context), Budget())
        return not (found is None or found is False or found in ("", [], {}))

    def check(self, schema: Kind | None) -> None:
        """Raise InvalidInput when it can't be right for a context of this kind."""
        _inferred(self.field, self._expression, schema)


@dataclass(frozen=True, slots=True)
class ListPath:
    """An expression that leads to a list within a result."""

    field: str
    _expression: Expression

    def evaluate(self, value: JSON) -> list[Any]:
        """Return the list; raise ExpressionError when the expression fails, or gives something else."""
        found = _whole_value(self.field, self._expression, value, Budget())
        if not isinstance(found, list):
            raise ExpressionError(self.field, f"{quoted(self._expression.text)} gives {_shown(found)}, and not a list")
        return found

    def check(self, schema: Kind | None) -> Kind | None:
        """Return the kind of the items, for a result of this kind; raise InvalidInput when it can't be right."""
        kind = _inferred(self.field, self._expression, schema)
        if kind is None:
            return None
        if not isinstance(kind, ListOf):
            sentence = f"{quoted(self._expression.text)} is {described(kind)}, and not a list"
            raise InvalidInput([Violation(self.field, sentence)])
        return kind.item


def parse_template(value: object, where: str = "parameters") -> Template:
    """Parse all expressions in the strings of some JSON.

    Raises InvalidInput with a violation for every one that can't be parsed, named from `where` on, as
    `parameters.a.b[2]`.
    """
    if problem := json_problem(value):
        raise InvalidInput([Violation(where, f"it {problem}")])
    reader = _Reader()
    root = reader.part(value, where)
    if reader.found:
        raise InvalidInput(reader.found[:_MOST_VIOLATIONS])
    return Template(where, reader.references, root)


def parse_condition(text: str, where: str = "when") -> Condition:
    """Parse a condition, an expression without `${}`; raise InvalidInput."""
    expression = _parsed(text, where)
    try:
        return Condition(where, references(expression), expression)
    except ValueError as error:
        raise InvalidInput([Violation(where, str(error))]) from error


def parse_list_path(text: str, where: str = "path") -> ListPath:
    """Parse a path to a list, an expression without `${}`; raise InvalidInput."""
    return ListPath(where, _parsed(text, where))


def _parsed(text: str, where: str) -> Expression:
    if text.strip().startswith(_OPEN):
        raise InvalidInput([Violation(where, "the whole is an expression; write it without ${ and }")])
    try:
        return parse_expression(text)
    except ValueError as error:
        raise InvalidInput([Violation(where, str(error))]) from error


class _Reader:
    """Goes through some JSON and collects its expressions, and what is wrong with them."""

    def __init__(self) -> None:
        self.found: list[Violation] = []
        self.references = References()

    def part(self, value: object, where: str) -> _Part:
        match value:
            case str():
                return self._string(value, where)
            case dict():
                for key in value:
                    if _OPEN in key:
                        self._refuse(f"{where}.{excerpt(key)}", "a key is taken as it is, and can't have ${ in it")
                return {key: self.part(item, f"{where}.{excerpt(key)}") for key, item in value.items()}
            case list():
                return [self.part(item, f"{where}[{index}]") for index, item in enumerate(value)]
            case bool() | int() | float() | None:
                return value
        raise TypeError(f"{where}: {type(value).__name__} is not JSON")

    def _string(self, text: str, where: str) -> _Part:
        if _OPEN not in text:
            return text
        parts: list[str | Expression] = []
        try:
            pieces = list(_pieces(text))
        except ValueError as error:
            self._refuse(where, str(error))
            return None
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
            else:
                parts.append(expression)
        match parts:
            case [str() as only]:
                return only
            case [Expression() as only]:
                return _Whole(where, only)
        return _Text(where, tuple(parts))

    def _refuse(self, where: str, sentence: str) -> None:
        if len(self.found) < _MOST_VIOLATIONS:
            self.found.append(Violation(where, sentence))


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Divide a text into literal pieces, each with the expression after it (None: there is none)."""
    literal, at = "", 0
    while (found := text.find(_OPEN, at)) >= 0:
        if found > at and text[found - 1] == "$":
            literal += text[at : found - 1] + _OPEN
            at = found + len(_OPEN)
            continue
        start = found + len(_OPEN)
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
    said = excerpt(text[start - len(_OPEN) :])
    inside = f", since a {quote} is open" if quote else ""
    raise ValueError(
        f"{said!r} has no }} that ends it{inside}; the characters ${{ themselves are written as {_LITERAL}"
    )


def _mapped(part: _Part, whole: Callable[[_Whole], Any], text: Callable[[_Text], Any]) -> Any:
    """Return the JSON of a template with what becomes of its expressions."""
    match part:
        case _Whole():
            return whole(part)
        case _Text():
            return text(part)
        case dict():
            return {key: _mapped(item, whole, text) for key, item in part.items()}
        case list():
            return [_mapped(item, whole, text) for item in part]
    return part


def _evaluated(where: str, expression: Expression, value: JSON, budget: Budget) -> Any:
    try:
        return expression.evaluate(value, budget)
    except ValueError as error:
        raise ExpressionError(where, f"{quoted(expression.text)}: {error}") from error


def _inferred(where: str, expression: Expression, schema: Kind | None) -> Kind | None:
    try:
        return infer(expression, schema)
    except ValueError as error:
        raise InvalidInput([Violation(where, str(error))]) from error


def _whole_value(where: str, expression: Expression, value: JSON, budget: Budget) -> Any:
    found = _evaluated(where, expression, value, budget)
    if found is None and not expression.accepts_null:
        path = expression.path
        why = "it gives null" if path is None else _missing(path, value)
        if why:
            hint = f"if null is meant, write ${{{excerpt(expression.text)} || `null`}}"
            raise ExpressionError(where, f"{quoted(expression.text)}: {why}; {hint}")
    return found


def _text_value(text: _Text, document: JSON, budget: Budget) -> str:
    pieces: list[str] = []
    for part in text.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        found = _evaluated(text.field, part, document, budget)
        if found is None:
            why = (_missing(part.path, document) if part.path is not None else "") or "it gives null"
            raise ExpressionError(text.field, f"{quoted(part.text)}: {why}, and a text can't have null in it")
        pieces.append(found if isinstance(found, str) else _json(_whole_numbers(found)))
    return "".join(pieces)


def _missing(path: tuple[str | int, ...], value: Any) -> str:
    """Return which part of a path leads nowhere, or nothing when the value at its end is there."""
    for position, step in enumerate(path):
        before = shown_path(path[:position])
        if isinstance(step, int):
            if not isinstance(value, list):
                return f"{before or 'the value'} is {_a(value)} and not a list"
            if not -len(value) <= step < len(value):
                return f"{before or 'the list'} has no item [{step}] (it has {len(value)})"
        elif not isinstance(value, dict):
            return f"{before or 'the value'} is {_a(value)}, which has no field {excerpt(step)}"
        elif step not in value:
            return f"{before or 'the value'} has no {excerpt(step)} (it has {_named(value)})"
        value = value[step]
    return ""


def _a(value: object) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a string"
        case bool():
            return "a boolean"
    return "a number"


def _whole_numbers(value: Any) -> Any:
    """Return JSON in which 3.0 is 3: what passed through a Struct of protobuf has no other form of it."""
    match value:
        case dict():
            return {key: _whole_numbers(item) for key, item in value.items()}
        case list():
            return [_whole_numbers(item) for item in value]
        case float() if value.is_integer() and abs(value) < _FIRST_INEXACT:
            return int(value)
    return value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _named(names: Mapping[str, Any]) -> str:
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return ", ".join([excerpt(name) for name in list(names)[:_MOST_NAMED]] + more) or "none"


def _shown(value: object) -> str:
    return excerpt(_json(value))

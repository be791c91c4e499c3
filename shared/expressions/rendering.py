"""What expressions become, with the values that there are: JSON, or a sentence that says what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from shared.domain.text import excerpt
from shared.expressions.expression import ExpressionError, shown_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.expressions.expression import JSON, Budget, Expression
    from shared.expressions.parts import Text

_FIRST_INEXACT: Final = 2**53
_MOST_NAMED: Final = 20
_MOST_SHOWN: Final = 3


def evaluated(where: str, expression: Expression, value: JSON, budget: Budget) -> Any:
    """Return what an expression gives; raise ExpressionError on the field where it is written."""
    try:
        return expression.evaluate(value, budget)
    except ValueError as error:
        raise ExpressionError(where, f"{expression.shown}: {error}") from error


def whole_value(
    where: str, expression: Expression, value: JSON, budget: Budget, *, null_has_a_meaning: bool = True
) -> Any:
    """Return the value that an expression becomes; raise ExpressionError, also for a null that nobody meant.

    null_has_a_meaning: whether it could be meant where the value goes; then the error says how to write that.
    """
    found = evaluated(where, expression, value, budget)
    if found is None and not expression.accepts_null:
        path = expression.path
        why = "it gives null" if path is None else _missing(path, value)
        if why:
            hint = f"; if null is meant, write ${{{excerpt(expression.text)} || `null`}}" if null_has_a_meaning else ""
            raise ExpressionError(where, f"{expression.shown}: {why}{hint}")
    return found


def text_value(text: Text, document: JSON, budget: Budget) -> str:
    """Return the text that a string with expressions in it becomes; raise ExpressionError, also for any null."""
    pieces: list[str] = []
    for part in text.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        found = evaluated(text.field, part, document, budget)
        if found is None:
            why = (_missing(part.path, document) if part.path is not None else "") or "it gives null"
            raise ExpressionError(text.field, f"{part.shown}: {why}, and a text can't have null in it")
        pieces.append(found if isinstance(found, str) else as_json(_whole_numbers(found)))
    return "".join(pieces)


def shown_values(expression: Expression, document: JSON) -> str:
    """Say, for people, what the first of the paths lead to that an expression takes its values from."""
    return "; ".join(_shown(path, document) for path in expression.paths[:_MOST_SHOWN])


def _shown(path: tuple[str | int, ...], value: Any) -> str:
    if missing := _missing(path, value):
        return missing
    for step in path:
        value = value[step]
    return f"{shown_path(path)} is {excerpt(as_json(_whole_numbers(value)))}"


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


def as_json(value: object) -> str:
    """Return the compact JSON of a value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _named(names: Mapping[str, Any]) -> str:
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return ", ".join([excerpt(name) for name in list(names)[:_MOST_NAMED]] + more) or "none"

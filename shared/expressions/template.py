"""Templates: JSON in whose strings `${...}` stands for values that are known when it is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt
from shared.expressions.expression import Budget, ExpressionError, json_problem, parse_expression
from shared.expressions.inference import References, infer, references
from shared.expressions.kinds import TEXT, ListOf, described
from shared.expressions.parts import MOST_VIOLATIONS, OPEN, Part, Reader, Text, Whole, mapped
from shared.expressions.placeholder import Placeholder
from shared.expressions.rendering import as_json, evaluated, shown_values, text_value, whole_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.expressions.expression import JSON, Expression
    from shared.expressions.kinds import Kind

LARGEST_RENDERED: Final = 256 * 1024
"""Bytes of JSON, as of a job's parameters."""


@dataclass(frozen=True, slots=True)
class Template:
    """JSON with expressions in it; one that can't be parsed is refused when it is made, by parse_template."""

    field: str
    references: References
    """What its expressions begin with."""
    _root: Part
    problems: tuple[Violation, ...] = ()
    """Which of its expressions can't be parsed; only what read_template made has some."""

    def render(
        self, context: Mapping[str, JSON], largest: int = LARGEST_RENDERED, *, null_has_a_meaning: bool = True
    ) -> Any:
        """Return the JSON with the values of a context, which is JSON as `json.loads` makes it.

        null_has_a_meaning: whether null could be meant; else no error says how to write that.

        Raises ExpressionError, on the field where it is written, when an expression fails, or gives null:

        - A path (names and indexes only) may lead to a null that is there. That a part of it is missing is an error;
          it names that part.
        - Any other null is an error, unless the expression says itself that there may be none: `x || `null``.
        - In a text, null is always an error.

        Also, when the whole has more bytes of JSON than `largest`. InvalidInput, when it has problems.
        """
        if self.problems:
            raise InvalidInput(self.problems)
        budget = Budget()
        document = dict(context)
        rendered = mapped(
            self._root,
            lambda whole: whole_value(
                whole.field, whole.expression, document, budget, null_has_a_meaning=null_has_a_meaning
            ),
            lambda text: text_value(text, document, budget),
        )
        size = len(as_json(rendered).encode())
        if size > largest:
            raise ExpressionError(
                self.field, f"they become {size:,} bytes of JSON, which are too many (at most {largest:,})"
            )
        return rendered

    def check(self, schema: Kind | None) -> None:
        """Raise InvalidInput with its problems, and every expression that can't be right for a context of this kind."""
        found = list(self.problems)
        self._placed(schema, found)
        if found:
            raise InvalidInput(found[:MOST_VIOLATIONS])

    def placeholders(self, schema: Kind | None) -> Any:
        """Return the JSON with placeholders, of the kinds that the expressions give for a context of this kind.

        What check would refuse is of any kind, so that all else can be checked.
        """
        return self._placed(schema, [])

    def _placed(self, schema: Kind | None, found: list[Violation]) -> Any:
        def kind(where: str, expression: Expression) -> Kind | None:
            try:
                return infer(expression, schema)
            except ValueError as error:
                found.append(Violation(where, str(error)))
                return None

        def text(part: Text) -> Placeholder:
            for piece in part.parts:
                if not isinstance(piece, str):
                    kind(part.field, piece)
            shown = "".join(piece if isinstance(piece, str) else f"${{{piece.text}}}" for piece in part.parts)
            return Placeholder(excerpt(shown), TEXT)

        def whole(part: Whole) -> Placeholder:
            return Placeholder(part.expression.shown, kind(part.field, part.expression))

        return mapped(self._root, whole, text)


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression that is true or false: what JMESPath takes for false is false, "", [], {} and null."""

    field: str
    references: References
    _expression: Expression

    def evaluate(self, context: Mapping[str, JSON]) -> bool:
        """Return whether it is true; raise ExpressionError when it fails. What is not there is null, and so false."""
        found = evaluated(self.field, self._expression, dict(context), Budget())
        return not (found is None or found is False or found in ("", [], {}))

    def shown(self, context: Mapping[str, JSON]) -> str:
        """Return the condition for people, with the values that it is about: "a.b > `1` (a.b is null)"."""
        values = shown_values(self._expression, dict(context))
        return f"{self._expression.text} ({values})" if values else self._expression.text

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
        found = whole_value(self.field, self._expression, value, Budget(), null_has_a_meaning=False)
        if not isinstance(found, list):
            said = f"{self._expression.shown} gives {excerpt(as_json(found))}, and not a list"
            raise ExpressionError(self.field, said)
        return found

    def check(self, schema: Kind | None) -> Kind | None:
        """Return the kind of the items, for a result of this kind; raise InvalidInput when it can't be right."""
        kind = _inferred(self.field, self._expression, schema)
        if kind is None:
            return None
        if not isinstance(kind, ListOf):
            sentence = f"{self._expression.shown} is {described(kind)}, and not a list"
            raise InvalidInput([Violation(self.field, sentence)])
        return kind.item


def parse_template(value: object, where: str = "parameters") -> Template:
    """Parse all expressions in the strings of some JSON.

    Raises InvalidInput with a violation for every one that can't be parsed, named from `where` on, as
    `parameters.a.b[2]`.
    """
    template = read_template(value, where)
    if template.problems:
        raise InvalidInput(template.problems)
    return template


def read_template(value: object, where: str = "parameters") -> Template:
    """Parse the expressions as far as they can be parsed: so that what else is wrong can be said with the problems.

    Raises InvalidInput only for what is no JSON.
    """
    if problem := json_problem(value):
        raise InvalidInput([Violation(where, f"it {problem}")])
    reader = Reader()
    root = reader.part(value, where)
    return Template(where, reader.references, root, tuple(reader.found))


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
    if text.strip().startswith(OPEN):
        raise InvalidInput([Violation(where, "the whole is an expression; write it without ${ and }")])
    try:
        return parse_expression(text, bare=True)
    except ValueError as error:
        raise InvalidInput([Violation(where, str(error))]) from error


def _inferred(where: str, expression: Expression, schema: Kind | None) -> Kind | None:
    try:
        return infer(expression, schema)
    except ValueError as error:
        raise InvalidInput([Violation(where, str(error))]) from error

"""What an expression gives, told from what is known of the values that it begins with: without a value, by its tree.

The walk goes as jmespath's interpreter does, with kinds in place of values. Where nothing is known it says nothing;
where it is known that an expression can only give null or fail (a field that the message does not have, the field of
a list, a number compared with a string), it refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jmespath.visitor import Visitor

from shared.domain.text import closest, excerpt
from shared.expressions.expression import FUNCTIONS, shown_path
from shared.expressions.kinds import (
    BOOLEAN,
    NULL,
    NUMBER,
    STEPS,
    TEXT,
    ListOf,
    MapOf,
    Namespace,
    Record,
    Scalar,
    common,
    described,
    kind_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.expressions.expression import Expression, Node
    from shared.expressions.kinds import Kind

_MOST_NAMED: Final = 20

_GIVES: Final[Mapping[str, Kind]] = (
    dict.fromkeys(("abs", "avg", "ceil", "floor", "length", "sum", "to_number"), NUMBER)
    | dict.fromkeys(("contains", "ends_with", "starts_with"), BOOLEAN)
    | dict.fromkeys(("join", "to_string", "type"), TEXT)
    | {"keys": ListOf(TEXT), "merge": MapOf(None)}
)
"""What functions give whatever they are given."""

_TYPES: Final = {TEXT: "string", NUMBER: "number", BOOLEAN: "boolean"}
_NAMED_TYPES: Final = {
    "string": "a string",
    "number": "a number",
    "boolean": "a boolean",
    "array": "a list",
    "object": "an object",
    "array-number": "a list of numbers",
    "array-string": "a list of strings",
}
_NUMBERS_AS_TEXT: Final = " (64-bit integers are strings in JSON; to_number() makes a number of one)"


@dataclass(frozen=True, slots=True)
class References:
    """What expressions begin with: the names, and of the steps which. `steps` is among the names then, too."""

    roots: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()

    def __or__(self, other: References) -> References:
        return References(self.roots | other.roots, self.steps | other.steps)


def references(expression: Expression) -> References:
    """Return what an expression begins with.

    Raises ValueError with a sentence where that can't be told: it takes all there is, or all steps, at once.
    """
    walk = _Walk(expression)
    everything = Namespace("value", _AnyName({STEPS: Namespace("step", _AnyName({}))}))
    walk.value(expression.tree, _Known(everything))
    return References(frozenset(walk.roots), frozenset(walk.steps))


def infer(expression: Expression, schema: Kind | None) -> Kind | None:
    """Return the kind of what an expression gives, evaluated for a value of the kind `schema`; None: not known.

    Raises ValueError with a sentence when it can't be right.
    """
    return _Walk(expression).value(expression.tree, _Known(schema)).kind


class _AnyName(dict[str, "Kind | None"]):
    """Fields of which it is not known yet which there are: any name is one."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a value, and where it comes from, when that is a path."""

    kind: Kind | None
    path: tuple[str | int, ...] | None = ()

    def then(self, kind: Kind | None, *steps: str | int) -> _Known:
        return _Known(kind, None if self.path is None else (*self.path, *steps))

    @property
    def said(self) -> str:
        return shown_path(self.path) if self.path else "the value"


def _made(kind: Kind | None) -> _Known:
    return _Known(kind, None)


class _Walk(Visitor):
    """Visits the nodes as the interpreter does: each with what is known of the value that it is evaluated for."""

    def __init__(self, expression: Expression) -> None:
        super().__init__()
        self.roots: set[str] = set()
        self.steps: set[str] = set()
        self._expression = expression

    def value(self, node: Node, at: _Known) -> _Known:
        """Return what is known of what a node gives; refuse a namespace, which is no value."""
        found = self._visited(node, at)
        if isinstance(found.kind, Namespace):
            raise self._takes_all(found.kind)
        return found

    def default_visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(node["type"])

    def visit_identity(self, _node: Node, at: _Known) -> _Known:
        return at

    visit_current = visit_identity

    def visit_literal(self, node: Node, _at: _Known) -> _Known:
        return _made(kind_of(node["value"]))

    def visit_field(self, node: Node, at: _Known) -> _Known:
        name: str = node["value"]
        match at.kind:
            case Namespace(noun, fields):
                (self.steps if noun == "step" else self.roots).add(name)
                if name not in fields:
                    raise self._refusal(
                        f"there is no {noun} {excerpt(name)}{_meant(name, fields)} (known: {_named(fields)})"
                    )
                return at.then(fields[name], name)
            case Record(record, fields):
                if name not in fields:
                    raise self._refusal(
                        f"{record} has no field {excerpt(name)}{_meant(name, fields)} (its fields: {_named(fields)})"
                    )
                return at.then(fields[name], name)
            case MapOf(value):
                return at.then(value, name)
            case ListOf():
                raise self._refusal(
                    f"{at.said} is a list, which has no field {excerpt(name)}; take one item by [0], or all by [*]"
                )
            case Scalar.TEXT | Scalar.NUMBER | Scalar.BOOLEAN:
                raise self._refusal(f"{at.said} is {described(at.kind)}, which has no field {excerpt(name)}")
        return at.then(None, name)

    def visit_subexpression(self, node: Node, at: _Known) -> _Known:
        for child in node["children"]:
            at = self._visited(child, at)
        return at

    visit_index_expression = visit_pipe = visit_subexpression

    def visit_index(self, node: Node, at: _Known) -> _Known:
        return at.then(self._item_of(at), node["value"])

    def visit_slice(self, _node: Node, at: _Known) -> _Known:
        return _made(ListOf(self._item_of(at)))

    def visit_projection(self, node: Node, at: _Known) -> _Known:
        base, each = node["children"]
        return self._projected(each, self._item_of(self.value(base, at)))

    def visit_value_projection(self, node: Node, at: _Known) -> _Known:
        base, each = node["children"]
        return self._projected(each, self._value_of(self.value(base, at)))

    def visit_filter_projection(self, node: Node, at: _Known) -> _Known:
        base, each, condition = node["children"]
        item = self._item_of(self.value(base, at))
        self.value(condition, _made(item))
        return self._projected(each, item)

    def visit_flatten(self, node: Node, at: _Known) -> _Known:
        item = self._item_of(self.value(node["children"][0], at))
        return _made(item if isinstance(item, ListOf) else ListOf(item))

    def visit_multi_select_list(self, node: Node, at: _Known) -> _Known:
        return _made(ListOf(common(self._kinds(node, at))))

    def visit_multi_select_dict(self, node: Node, at: _Known) -> _Known:
        pairs = {pair["value"]: self.value(pair["children"][0], at).kind for pair in node["children"]}
        return _made(Record("{...}", pairs))

    def visit_or_expression(self, node: Node, at: _Known) -> _Known:
        return _made(common(self._kinds(node, at)))

    visit_and_expression = visit_or_expression

    def visit_not_expression(self, node: Node, at: _Known) -> _Known:
        self._kinds(node, at)
        return _made(BOOLEAN)

    def visit_comparator(self, node: Node, at: _Known) -> _Known:
        left, right = (self.value(child, at) for child in node["children"])
        if left.kind is not None and right.kind is not None and NULL not in (left.kind, right.kind):
            self._comparable(left.kind, right.kind, ordered=node["value"] not in {"eq", "ne"})
        return _made(BOOLEAN)

    def visit_function_expression(self, node: Node, at: _Known) -> _Known:
        name: str = node["value"]
        signature = FUNCTIONS[name]
        given: list[_Known] = []
        body: Node | None = None
        for position, argument in enumerate(node["children"]):
            if argument["type"] == "expref":
                (body,) = argument["children"]
                continue
            found = self.value(argument, at)
            self._takes(name, signature[min(position, len(signature) - 1)]["types"], found)
            given.append(found)
        if body is not None:
            each = self._projected(body, _item(given[0].kind))
            return each if name == "map" else _made(given[0].kind if name == "sort_by" else _item(given[0].kind))
        return _made(_GIVES[name] if name in _GIVES else self._given_back(name, given))

    def _given_back(self, name: str, given: list[_Known]) -> Kind | None:
        """Return the kind of what a function gives that gives its argument, or a part of it."""
        first = given[0].kind
        match name:
            case "max" | "min":
                return _item(first)
            case "reverse" | "sort":
                return first
            case "to_array":
                return first if isinstance(first, ListOf) else ListOf(first)
            case "values":
                return ListOf(self._value_of(given[0]))
            case "not_null":
                return common(known.kind for known in given)
        return None

    def _visited(self, node: Node, at: _Known) -> _Known:
        found: _Known = self.visit(node, at)  # type: ignore[arg-type]
        return found

    def _kinds(self, node: Node, at: _Known) -> list[Kind | None]:
        return [self.value(child, at).kind for child in node["children"]]

    def _projected(self, each: Node, item: Kind | None) -> _Known:
        return _made(ListOf(self.value(each, _made(item)).kind))

    def _item_of(self, at: _Known) -> Kind | None:
        match at.kind:
            case ListOf(item):
                return item
            case None | Scalar.NULL:
                return None
            case Namespace() as namespace:
                raise self._takes_all(namespace)
        raise self._refusal(f"{at.said} is {described(at.kind)}, and not a list")

    def _value_of(self, at: _Known) -> Kind | None:
        match at.kind:
            case MapOf(value):
                return value
            case Record(_, fields):
                return common(fields[name] for name in fields)
            case None | Scalar.NULL:
                return None
        raise self._refusal(f"{at.said} is {described(at.kind)}, and not an object")

    def _comparable(self, left: Kind, right: Kind, *, ordered: bool) -> None:
        """Refuse a comparison that is never true, or fails."""
        if ordered:
            for side in (left, right):
                if side not in (NUMBER, TEXT):
                    raise self._refusal(f"{described(side)} is not less or more than anything; numbers and strings are")
        if left != right and isinstance(left, Scalar) and isinstance(right, Scalar):
            hint = _NUMBERS_AS_TEXT if {left, right} == {NUMBER, TEXT} else ""
            raise self._refusal(f"it compares {described(left)} with {described(right)}{hint}")

    def _takes(self, function: str, allowed: Sequence[str], given: _Known) -> None:
        """Refuse an argument of a kind that a function does not take; allowed: the types that it does, none for any."""
        if allowed and given.kind is not None and not any(_is_of(given.kind, name) for name in allowed):
            wanted = " or ".join(_NAMED_TYPES[name] for name in allowed)
            texts = any("number" in name for name in allowed) and given.kind in (TEXT, ListOf(TEXT))
            hint = _NUMBERS_AS_TEXT if texts else ""
            items = given.kind.item if isinstance(given.kind, ListOf) else None
            what = f"a list of which each item is {described(items)}" if items else described(given.kind)
            raise self._refusal(f"{function}() takes {wanted}, and {given.said} is {what}{hint}")

    def _takes_all(self, namespace: Namespace) -> ValueError:
        what, name = ("steps", f"{STEPS}.NAME") if namespace.noun == "step" else ("values", "its name")
        return self._refusal(f"it takes all {what} at once, which does not say what it needs; take one, by {name}")

    def _refusal(self, sentence: str) -> ValueError:
        return ValueError(f"{self._expression.shown}: {sentence}")


def _item(kind: Kind | None) -> Kind | None:
    return kind.item if isinstance(kind, ListOf) else None


def _is_of(kind: Kind, type_: str) -> bool:
    """Return whether a value of a kind may be of one of jmespath's types, as `array-number`."""
    base, _, item = type_.partition("-")
    match kind:
        case Scalar():
            return _TYPES.get(kind) == base
        case ListOf(of):
            return base == "array" and (not item or of is None or of is NULL or _is_of(of, item))
    return base == "object"


def _meant(name: str, known: Iterable[str]) -> str:
    close = closest(name, known)
    return f"; did you mean {close}?" if close else ""


def _named(known: Iterable[str]) -> str:
    names = sorted(known)
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return ", ".join(names[:_MOST_NAMED] + more) or "none"

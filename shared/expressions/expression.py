"""One expression of JMESPath: parsed once, checked as far as it can be without a value, evaluated at a bounded cost.

The language is jmespath's, its parser and interpreter too. What is added here is what it leaves open: that a mistake
is found when the expression is written (jmespath looks for functions only when it calls them), that evaluating ends
soon whatever the expression (`[@, @] | [@, @] | ...` doubles with every step), and that what comes out is JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jmespath.exceptions import (
    EmptyExpressionError,
    IncompleteExpressionError,
    JMESPathError,
    JMESPathTypeError,
    LexerError,
    ParseError,
)
from jmespath.functions import Functions, signature
from jmespath.lexer import Lexer
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter

from shared.domain.errors import SchedulerError
from shared.domain.text import closest, excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON: TypeAlias = "Mapping[str, JSON] | list[JSON] | str | int | float | bool | None"
Node: TypeAlias = Mapping[str, Any]
"""A node of jmespath's syntax tree: `type`, `children`, and for some a `value`."""

MOST_CHARACTERS: Final = 1_000
DEEPEST: Final = 50
"""Levels of a syntax tree: each costs Python a few of its own when it is parsed, and again when it is evaluated."""
DEEPEST_JSON: Final = 100
"""Levels of a value, as protobuf's JSON has them."""
MOST_STEPS: Final = 1_000_000
"""What evaluating may cost: one for each node that is visited, value that is built, and 16 characters of text.
That many take at most half a second, and some megabytes; filtering and reshaping 20,000 objects fits.
"""
_CHARACTERS_A_STEP: Final = 16

_BUILDERS: Final = frozenset({"function_expression", "flatten", "slice", "multi_select_list", "multi_select_dict"})
"""The nodes that make new values, which may be larger, or hold a part of the old one more often, than the old one."""

_CHAINS: Final = frozenset({"subexpression", "index_expression", "pipe"})
"""The nodes of which each child is evaluated for what the one before it gives."""
_PROJECTIONS: Final = frozenset({"projection", "value_projection", "filter_projection"})
"""Those of which all children but the first are evaluated for each item."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_REFUSED: Final = (JMESPathError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What jmespath lets through: its own errors, and those of Python where it did not think of a value or a text."""

FUNCTIONS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    name: tuple(entry["signature"]) for name, entry in Functions.FUNCTION_TABLE.items()
}
"""The arguments of each function: `types` that it takes (none: any), and whether the last is `variadic`."""


class ExpressionError(SchedulerError):
    """An expression gives nothing that can be used, for the values that there are. field: where it is written."""

    def __init__(self, field: str, sentence: str) -> None:
        self.field = field
        self.sentence = sentence
        super().__init__(field, sentence)

    def __str__(self) -> str:
        return f"{self.field}: {self.sentence}"


class Budget:
    """What evaluating may still cost; shared by all expressions of a template."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """Pay for some steps; raise _TooExpensiveError when there are not as many left."""
        self._left -= steps
        if self._left < 0:
            raise _TooExpensiveError

    def spend_on(self, value: object) -> None:
        """Pay for a value with all that is in it, as often as it is in it."""
        waiting = [value]
        while waiting:
            at = waiting.pop()
            self.spend()
            if isinstance(at, str):
                self.spend(len(at) // _CHARACTERS_A_STEP)
            elif isinstance(at, dict):
                waiting += at.values()
            elif isinstance(at, list):
                waiting += at


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that is one. text is as it was written; tree is jmespath's. bare: it stands there without ${}."""

    text: str
    tree: Node = field(repr=False, compare=False)
    bare: bool = False

    @property
    def shown(self) -> str:
        """The expression as a sentence quotes it."""
        return quoted(self.text, bare=self.bare)

    def evaluate(self, value: JSON, budget: Budget) -> Any:
        """Return what the expression gives for a value, which is JSON as `json.loads` makes it.

        Raises ValueError with a sentence: a function was given what it does not take, the result is no JSON (a number
        that is none), or it takes too many steps. As JMESPath has it, what is not there is None and no error.
        """
        try:
            result = _Interpreter(budget).visit(self.tree, value)
            budget.spend_on(result)
            if problem := json_problem(result):
                raise ValueError(f"what it gives {problem}")
        except _TooExpensiveError:
            raise ValueError(f"it takes too many steps, or gives too much (more than {MOST_STEPS:,})") from None
        except _REFUSED as error:
            raise ValueError(_evaluation_sentence(error)) from error
        return result

    @property
    def path(self) -> tuple[str | int, ...] | None:
        """The names and indexes that the expression goes through when it does nothing else, or None."""
        return plain_path(self.tree)

    @property
    def paths(self) -> tuple[tuple[str | int, ...], ...]:
        """The paths, of names and indexes, that the expression takes from what it is evaluated for; each once."""
        return tuple(dict.fromkeys(path for path in _paths(self.tree) if path))

    @property
    def accepts_null(self) -> bool:
        """Whether the expression says itself that it may give null, as in `item.note || `null``."""
        node = self.tree
        while node["type"] == "or_expression":
            node = node["children"][1]
        return bool(node["type"] == "literal" and node["value"] is None)


def parse_expression(text: str, *, bare: bool = False) -> Expression:
    """Parse an expression; raise ValueError with a sentence that says where it is wrong."""
    text = text.strip()
    shown = quoted(text, bare=bare)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"an expression of {len(text):,} characters is too long (at most {MOST_CHARACTERS:,})")
    too_deep = f"{shown} is nested too deep (at most {DEEPEST} levels)"
    try:
        problem = _token_problem(text)
        # Its cache keeps 512 parsed expressions: 64 MB at the very most, when all are as long and dense as they may be.
        tree: Node = Parser().parse(text).parsed
    except RecursionError:
        raise ValueError(too_deep) from None
    except EmptyExpressionError:
        raise ValueError("an expression is required") from None
    except _REFUSED as error:
        raise ValueError(f"{shown} is not an expression of JMESPath: {_syntax_sentence(error)}") from error
    for node, depth, parent in _nodes(tree):
        if depth > DEEPEST:
            raise ValueError(too_deep)
        problem = problem or _problem(node, parent)
    if problem:
        raise ValueError(f"{shown} can't be evaluated: {problem}")
    return Expression(text, tree, bare)


def json_problem(value: object) -> str:
    """Return what a value has that can't be sent as JSON, or nothing: `has ...`."""
    waiting = [(value, 0)]
    while waiting:
        at, depth = waiting.pop()
        if depth > DEEPEST_JSON:
            return f"has values that are nested too deep (at most {DEEPEST_JSON} levels)"
        if isinstance(at, dict):
            waiting += [(part, depth + 1) for pair in at.items() for part in pair]
        elif isinstance(at, list):
            waiting += [(part, depth + 1) for part in at]
        elif isinstance(at, float) and not math.isfinite(at):
            return "has a number that JSON does not have"
        elif isinstance(at, str) and _SURROGATE.search(at):
            return "has half of a character (a surrogate), which UTF-8 does not have"
    return ""


def quoted(text: str, *, bare: bool = False) -> str:
    """Return an expression as a sentence quotes it: as it is written in a template, or, bare, in a field of its own."""
    return excerpt(text) if bare else f"${{{excerpt(text)}}}"


def plain_path(node: Node) -> tuple[str | int, ...] | None:
    """Return the names and indexes that a node goes through when it does nothing else, or None."""
    match node["type"]:
        case "field" | "index":
            return (node["value"],)
        case "identity" | "current":
            return ()
        case "subexpression" | "index_expression" | "pipe":
            parts = [plain_path(child) for child in node["children"]]
            return None if None in parts else tuple(name for part in parts if part for name in part)
    return None


def _paths(node: Node, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Go through the paths of a node that is evaluated for what is at the end of another one."""
    if (path := plain_path(node)) is not None or node["type"] == "slice":
        yield before + (path or ())
    elif node["type"] in _CHAINS:
        for child in node["children"]:
            if (path := plain_path(child)) is None:
                yield from _paths(child, before)
                return  # what is behind it is evaluated for what it gives
            before += path
    else:
        for child in node["children"][: 1 if node["type"] in _PROJECTIONS else None]:
            if child["type"] != "expref":
                yield from _paths(child, before)


def shown_path(path: tuple[str | int, ...]) -> str:
    """Return a path as it is written: `rows[0].id`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part.isidentifier() and part.isascii() else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return excerpt(text)


class _TooExpensiveError(Exception):
    """The budget is spent."""


class _Interpreter(TreeInterpreter):
    """jmespath's interpreter, which pays for what it does."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(Options(custom_functions=_Functions(budget)))
        self._budget = budget

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._budget.spend()
        result = super().visit(node, *args, **kwargs)
        if node["type"] in _BUILDERS:
            self._budget.spend_on(result)
        return result


class _Functions(Functions):
    """jmespath's functions; the one whose result may be far larger than what it is given is paid for before."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, strings: list[str]) -> str:
        self._budget.spend(len(separator) * len(strings) // _CHARACTERS_A_STEP)
        return separator.join(strings)


def _token_problem(text: str) -> str:
    """Return what is wrong with an expression that its tree does not show, or nothing; raise RecursionError."""
    open_ = 0
    for token in Lexer().tokenize(text):
        # Parentheses leave no node behind, but the parser has a stack for them.
        open_ += {"lparen": 1, "rparen": -1}.get(token["type"], 0)
        if open_ > DEEPEST:
            raise RecursionError
        start = token["start"]
        if token["type"] == "literal" and text[start] == "`":
            # jmespath takes what is no JSON for a string, by a rule that it means to drop: `[1, 2` would be one
            literal = text[start : start + token["end"]].strip("`").replace("\\`", "`")
            try:
                json.loads(literal)
            except (ValueError, RecursionError):
                return f"`{excerpt(literal)}` is not JSON; a string is written as 'text'"
    return ""


def _nodes(tree: Node) -> Iterator[tuple[Node, int, Node | None]]:
    """Go through a tree: each node, the level that it is on, and what it is a child of."""
    waiting: list[tuple[Node, int, Node | None]] = [(tree, 1, None)]
    while waiting:
        node, depth, parent = waiting.pop()
        yield node, depth, parent
        if node["type"] != "slice":  # whose children are numbers
            waiting += [(child, depth + 1, node) for child in reversed(node["children"])]


def _problem(node: Node, parent: Node | None) -> str:
    """Return what is wrong with a node that jmespath's parser takes, or nothing."""
    match node["type"]:
        case "function_expression":
            return _call_problem(node["value"], node["children"])
        case "expref" if parent is None or parent["type"] != "function_expression":
            return "&... can only be an argument of map, max_by, min_by or sort_by"
        case "subexpression" if node["children"][0]["type"] == "not_expression":
            return "! takes only what is before the dot; write !(a.b)"
        case "slice" if node["children"][2] == 0:
            return "the step of a slice must not be 0"
        case "literal" if problem := json_problem(node["value"]):
            return f"a literal {problem}"
    return ""


def _call_problem(name: str, arguments: list[Node]) -> str:
    if name not in FUNCTIONS:
        close = closest(name, FUNCTIONS)
        meant = f"; did you mean {close}?" if close else ""
        return f"there is no function {excerpt(name)}{meant} (there are {', '.join(sorted(FUNCTIONS))})"
    signature = FUNCTIONS[name]
    variadic = bool(signature[-1].get("variadic"))
    expected, given = len(signature), len(arguments)
    if given < expected or (given > expected and not variadic):
        least = "at least " if variadic else ""
        return f"{name}() takes {least}{expected} argument{'s' * (expected != 1)}, and not {given}"
    for position, argument in enumerate(arguments):
        types = signature[min(position, expected - 1)]["types"]
        if ("expref" in types) != (argument["type"] == "expref"):
            wanted = "an expression with & in front, as &price" if "expref" in types else "a value, and no &..."
            return f"{name}() takes {wanted}, as its argument {position + 1}"
    return ""


def _syntax_sentence(error: Exception) -> str:
    match error:
        case LexerError():
            hint = " (a name with a dash is written in double quotes)" if error.lexer_value == "-" else ""
            return f"{excerpt(error.lexer_value)!r} at character {error.lexer_position + 1} is not understood{hint}"
        case IncompleteExpressionError():
            return "it ends too early"
        case ParseError() if not error.token_value:
            return "it ends too early"
        case ParseError():
            token: object = error.token_value  # of a number that number, whatever the stubs say
            hint = "; numbers are written in backticks: `1`" if isinstance(token, int) else ""
            return f"{excerpt(str(token))!r} is not expected at character {error.lex_position + 1}{hint}"
    return "it is not complete"


def _evaluation_sentence(error: Exception) -> str:
    match error:
        case JMESPathTypeError():
            given = excerpt(json.dumps(error.current_value, ensure_ascii=False, default=repr))
            takes = " or ".join(str(kind) for kind in error.expected_types)
            return f"{error.function_name}() takes {takes}, and not {given}"
        case RecursionError():
            return "a value is nested too deep"
        case TypeError():
            return "it compares or sorts values of different kinds"
    return excerpt(" ".join(str(error).split()))

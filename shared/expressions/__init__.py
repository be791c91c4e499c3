"""Values that are known only when a part runs: `${...}` in parameters, conditions, and paths to lists.

The language, with examples, is on docs/expressions.md.
"""

from shared.expressions.expression import ExpressionError
from shared.expressions.inference import References
from shared.expressions.kinds import BOOLEAN, NUMBER, TEXT, Kind, ListOf, MapOf, Record, kind_of, roots
from shared.expressions.parts import quoted
from shared.expressions.placeholder import Placeholder
from shared.expressions.template import (
    Condition,
    ListPath,
    Template,
    parse_condition,
    parse_list_path,
    parse_template,
    read_template,
)

__all__ = [
    "BOOLEAN",
    "NUMBER",
    "TEXT",
    "Condition",
    "ExpressionError",
    "Kind",
    "ListOf",
    "ListPath",
    "MapOf",
    "Placeholder",
    "Record",
    "References",
    "Template",
    "kind_of",
    "parse_condition",
    "parse_list_path",
    "parse_template",
    "quoted",
    "read_template",
    "roots",
]

"""Values that are known only when a part runs: `${...}` in parameters, conditions, and paths to lists."""

from shared.expressions.expression import ExpressionError
from shared.expressions.kinds import Kind, Namespace
from shared.expressions.placeholder import Placeholder
from shared.expressions.template import Condition, ListPath, Template, parse_condition, parse_list_path, parse_template

__all__ = [
    "Condition",
    "ExpressionError",
    "Kind",
    "ListPath",
    "Namespace",
    "Placeholder",
    "Template",
    "parse_condition",
    "parse_list_path",
    "parse_template",
]

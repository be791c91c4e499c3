"""The shape of a task's parameters, for people who write them: an example that fits, and what tells of a change."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.tasks.registry import Tasks
    from shared.tasks.signature import Signature

_DEEPEST: Final = 6
_MOST_ITEMS: Final = 10
_FINGERPRINT: Final = 32

_BY_FORMAT: Final = {
    "date": "2030-01-31",
    "date-time": "2030-01-31T08:00:00Z",
    "time": "08:00:00",
    "duration": "PT90S",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "uri": "https://example.com/",
    "email": "ada@example.com",
}
_BY_TYPE: Final[Mapping[str, Any]] = {"string": "text", "boolean": True, "null": None}


def example(signature: Signature) -> dict[str, Any] | None:
    """Return parameters that fit, with the defaults of those that have one; None when none were found."""
    made: dict[str, Any] = {}
    for parameter in signature.parameters:
        if parameter.name == "*":
            continue
        if parameter.default:
            made[parameter.name] = parameter.default[0]
        elif parameter.required:
            made[parameter.name] = _value(parameter.schema, parameter.schema.get("$defs", {}), _DEEPEST)
        elif parameter.repeated:
            made[parameter.name] = []
    try:
        signature.check(made)
    except InvalidInput:
        return None
    return made


def fingerprint(tasks: Tasks) -> str:
    """Return what is the same for tasks that take the same calls."""
    shapes = {
        name: [[each.name, each.required, each.repeated, each.schema] for each in tasks.get(name).accepts.parameters]
        for name in tasks.names
    }
    return sha256(json.dumps(shapes, sort_keys=True, default=repr).encode()).hexdigest()[:_FINGERPRINT]


def _value(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Any:
    """Return a value that a JSON schema describes, as far as it goes: patterns and the like are not looked at."""
    if depth == 0:
        return None
    if reference := schema.get("$ref"):
        return _value(definitions.get(str(reference).rpartition("/")[2], {}), definitions, depth - 1)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "const" in schema or "default" in schema:
        return schema.get("const", schema.get("default"))
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _value(schema[key][0], definitions, depth)
    return _of_type(schema, definitions, depth)


def _of_type(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Any:
    match schema.get("type"):
        case "object":
            required = set(schema.get("required", ()))
            fields = schema.get("properties", {})
            return {name: _value(field, definitions, depth - 1) for name, field in fields.items() if name in required}
        case "array":
            if "prefixItems" in schema:
                return [_value(item, definitions, depth - 1) for item in schema["prefixItems"]]
            many = max(1, min(schema.get("minItems", 1), _MOST_ITEMS))
            return [_value(schema.get("items", {}), definitions, depth - 1)] * many
        case "integer" | "number" as kind:
            return _number(schema, whole=kind == "integer")
        case kind:
            return _BY_FORMAT.get(schema.get("format", ""), _BY_TYPE.get(str(kind), "value"))


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    """Return a number within the bounds of a schema, if there is one that is easily found."""
    lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
    highest = schema.get("maximum", schema.get("exclusiveMaximum"))
    usual: float = 1 if whole else 1.5
    if lowest is not None and usual <= lowest:
        usual = lowest if "minimum" in schema else lowest + 1
    if highest is not None and usual >= highest:
        usual = highest if "maximum" in schema else highest - 1
    return usual

"""Where fan-outs and steps have expressions, and what these take from: the same for server, beat and worker."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shared.domain.errors import InvalidInput, Violation
from shared.domain.flow import LARGEST_ITEMS, LONGEST_KEY, MOST_ITEMS
from shared.expressions import ExpressionError, parse_condition, parse_list_path, read_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.domain.flow import FanOut, Source, Step
    from shared.expressions import Condition, Template

ITEM = "item"
INDEX = "index"


@dataclass(frozen=True, slots=True)
class Calls:
    """How a fan-out makes a call of an item."""

    parameters: Template
    key: Template | None
    merges: bool
    """Whether the item's fields are added to the parameters: nothing in these mentions it."""

    @classmethod
    def of(cls, parameters: Mapping[str, object], fan_out: FanOut) -> Calls:
        """Return the calls of a fan-out with these parameters; where an expression can't be parsed, make says so."""
        template = read_template(parameters)
        key = read_template(fan_out.key, "fan_out.key") if fan_out.key else None
        return cls(template, key, ITEM not in template.references.roots)

    def make(self, index: int, item: Any, context: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the parameters and the key of an item; raise ExpressionError, or InvalidInput, naming it."""
        known = {**context, ITEM: item, INDEX: index}
        parameters: dict[str, Any] = self.parameters.render(known)
        if self.merges:
            if not isinstance(item, dict):
                said = f"is {_kind(item)}, and no parameter mentions ${{item}}; only an object's fields are added"
                raise InvalidInput([Violation(f"fan_out.items[{index}]", said)])
            parameters = {**parameters, **item}
        return parameters, self._key(item, known)

    def _key(self, item: Any, known: Mapping[str, Any]) -> str:
        found = item if self.key is None else self.key.render(known)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            if self.key is None:
                return ""
            raise ExpressionError("fan_out.key", f"it gives {_kind(found)}, and a key is a text or a number")
        return str(found)[:LONGEST_KEY]


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def found_items(source: Source, answer: Any) -> list[Any]:
    """Return the items in what a source has answered; raise ExpressionError when there is no list."""
    if source.path:
        return parse_list_path(source.path, "fan_out.source.path").evaluate(answer)
    return as_items(answer, "fan_out.source")


def as_items(found: Any, field: str) -> list[Any]:
    """Return a value that is to be a list of items; raise ExpressionError when it is something else."""
    if isinstance(found, dict) and found.keys() == {"value"}:
        found = found["value"]
    if not isinstance(found, list):
        raise ExpressionError(field, f"the items are {_kind(found)}, and not a list")
    return found


def written_items(items: list[Any]) -> str:
    """Return the JSON in which a parent keeps what is to be made of its items; raise ExpressionError beyond limits."""
    if len(items) > MOST_ITEMS:
        raise ExpressionError("fan_out", f"{len(items):,} items are too many (at most {MOST_ITEMS:,})")
    text = json.dumps(items, ensure_ascii=False, allow_nan=False)
    if (size := len(text.encode())) > LARGEST_ITEMS:
        raise ExpressionError("fan_out", f"the items' calls have {size:,} bytes of JSON (at most {LARGEST_ITEMS:,})")
    return text


def condition_of(step: Step) -> Condition | None:
    """Return the condition of a step, if it has one; raise InvalidInput when it can't be parsed."""
    return parse_condition(step.when) if step.when else None


def templates_of(step: Step) -> Iterator[Template]:
    """Return all in a step that takes from other steps, beside its condition."""
    yield read_template(step.parameters)
    if (fan_out := step.fan_out) is not None:
        if fan_out.items_from:
            yield read_template(fan_out.items_from, "fan_out.items_from")
        if fan_out.source is not None:
            yield read_template(fan_out.source.parameters, "fan_out.source.parameters")
        if fan_out.key:
            yield read_template(fan_out.key, "fan_out.key")


def steps_taken_from(step: Step) -> frozenset[str]:
    """Return the names of the steps whose outcome the expressions of a step take from; raise as condition_of does."""
    condition = condition_of(step)
    taken = [template.references.steps for template in templates_of(step)]
    return frozenset[str]().union(*taken, condition.references.steps if condition else ())


def mentions_results(step: Step) -> bool:
    """Return whether an expression of a step may take from what the items of a fan-out answered; not for certain."""
    return "results" in json.dumps(asdict(step), default=str)

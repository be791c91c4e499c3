"""What an expression gives is told from what is known, before there are values: never wrongly, and with a sentence."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidInput
from shared.expressions import parse_condition, parse_list_path, parse_template
from shared.expressions.expression import Budget, parse_expression
from shared.expressions.inference import infer
from shared.expressions.kinds import (
    BOOLEAN,
    NUMBER,
    TEXT,
    Kind,
    ListOf,
    MapOf,
    Record,
    Scalar,
    common,
    described,
    kind_of,
    roots,
)
from shared.expressions.placeholder import Placeholder

HINT = " (64-bit integers are strings in JSON; to_number() makes a number of one)"
ROW = Record("Row", {"id": TEXT, "price": NUMBER, "tags": ListOf(TEXT), "labels": MapOf(NUMBER), "free": None})
SCHEMA = roots(
    {
        "item": ROW,
        "index": NUMBER,
        "execution": Record("execution", {"id": TEXT, "nominal_time": TEXT}),
        "parameters": None,
    },
    {
        "collect": Record("step collect", {"state": TEXT, "result": Record("Rows", {"rows": ListOf(ROW)})}),
        "task": Record("step task", {"state": TEXT, "result": None}),
    },
)


def kind(text: str) -> Kind | None:
    return infer(parse_expression(text), SCHEMA)


def refusal(text: str) -> str:
    with pytest.raises(ValueError, match=r"^\$\{") as refused:
        kind(text)
    return str(refused.value).removeprefix(f"${{{text}}}: ")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("item", ROW),
        ("item.id", TEXT),
        ("index", NUMBER),
        ("item.labels.anything", NUMBER),
        ("item.free.of.any[0].kind", None),
        ("parameters.whatever", None),
        ("steps.collect.result.rows", ListOf(ROW)),
        ("steps.collect.result.rows[0].id", TEXT),
        ("steps.collect.result.rows[*].price", ListOf(NUMBER)),
        ("steps.collect.result.rows[].tags", ListOf(ListOf(TEXT))),
        ("steps.collect.result.rows[].tags[]", ListOf(TEXT)),
        ("steps.collect.result.rows[?price > `1`].id", ListOf(TEXT)),
        ("steps.collect.result.rows[:2].id", ListOf(TEXT)),
        ("steps.collect.result.rows | [0].price", NUMBER),
        ("steps.task.result.rows[*].id", ListOf(None)),
        ("item.labels.*", ListOf(NUMBER)),
        ("[item.id, item.id]", ListOf(TEXT)),
        ("[item.id, index]", ListOf(None)),
        ("{id: item.id, n: index}.n", NUMBER),
        ("item.id || 'none'", TEXT),
        ("item.id || index", None),
        ("item.id || `null`", TEXT),
        ("item.id == 'x' && index > `1`", BOOLEAN),
        ("!index", BOOLEAN),
        ("`[1, 2]`", ListOf(NUMBER)),
        ("length(item.tags)", NUMBER),
        ("to_string(index)", TEXT),
        ("join(',', item.tags)", TEXT),
        ("keys(item.labels)", ListOf(TEXT)),
        ("values(item.labels)", ListOf(NUMBER)),
        ("map(&price, steps.collect.result.rows)", ListOf(NUMBER)),
        ("max_by(steps.collect.result.rows, &price).id", TEXT),
        ("sort_by(steps.collect.result.rows, &id)[0].price", NUMBER),
        ("max(steps.collect.result.rows[].price)", NUMBER),
        ("reverse(sort(item.tags))", ListOf(TEXT)),
        ("to_array(index)", ListOf(NUMBER)),
        ("not_null(item.id, `null`)", TEXT),
        ("merge(item, item.labels)", MapOf(None)),
        ("sum(`[]`)", NUMBER),
    ],
)
def test_the_kind_of_what_an_expression_gives_is_known(text: str, known: Kind | None) -> None:
    assert kind(text) == known


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("itm.id", "there is no value itm; did you mean item? (known: execution, index, item, parameters, steps)"),
        ("steps.colect.result", "there is no step colect; did you mean collect? (known: collect, task)"),
        (
            "steps.collect.result.row",
            "Rows has no field row; did you mean rows? (its fields: rows)",
        ),
        ("steps.collect.rslt", "step collect has no field rslt; did you mean result? (its fields: result, state)"),
        (
            "steps.collect.result.rows.id",
            "steps.collect.result.rows is a list, which has no field id; take one item by [0], or all by [*]",
        ),
        ("item.id.length", "item.id is a string, which has no field length"),
        ("item.id[0]", "item.id is a string, and not a list"),
        ("item[*].id", "item is an object, and not a list"),
        ("item.tags.*", "item.tags is a list, and not an object"),
        ("steps.collect.result.rows[?pric > `1`]", "Row has no field pric; did you mean price?"),
        ("map(&pric, steps.collect.result.rows)", "Row has no field pric; did you mean price?"),
        ("sort_by(steps.collect.result.rows, &pric)", "Row has no field pric; did you mean price?"),
        ("{a: item.id}.b", "{...} has no field b (its fields: a)"),
        ("length(index)", "length() takes a string or a list or an object, and index is a number"),
        (
            "sum(steps.collect.result.rows[].id)",
            f"sum() takes a list of numbers, and the value is a list of which each item is a string{HINT}",
        ),
        (
            "item.id > `5`",
            f"it compares a string with a number{HINT}",
        ),
        ("index == 'x'", "it compares a number with a string"),
        ("item > index", "an object is not less or more than anything; numbers and strings are"),
        ("keys(steps)", "it takes all steps at once"),
    ],
)
def test_what_can_only_be_wrong_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    assert refusal(text).startswith(sentence)


def test_a_template_is_checked_whole_and_says_what_it_will_have_where() -> None:
    template = parse_template({"a": ["${item.id}", "no. ${index}"], "b": {"c": "${parameters.x}"}, "d": 1})
    template.check(SCHEMA)
    assert template.placeholders(SCHEMA) == {
        "a": [Placeholder("${item.id}", TEXT), Placeholder("no. ${index}", TEXT)],
        "b": {"c": Placeholder("${parameters.x}", None)},
        "d": 1,
    }
    wrong = parse_template({"a": ["${itm.id}", "no. ${item.nr}"], "b": "${index.x}"})
    with pytest.raises(InvalidInput) as refused:
        wrong.check(SCHEMA)
    assert [violation.field for violation in refused.value.violations] == [
        "parameters.a[0]",
        "parameters.a[1]",
        "parameters.b",
    ]
    assert wrong.placeholders(SCHEMA)["b"] == Placeholder("${index.x}", None)


def test_a_condition_is_checked_and_a_path_says_what_its_items_are() -> None:
    parse_condition("item.price > `1`").check(SCHEMA)
    with pytest.raises(InvalidInput, match=r"^when: .* compares a string with a number"):
        parse_condition("item.id > `1`").check(SCHEMA)
    rows = Record("Rows", {"rows": ListOf(ROW), "steps": TEXT})
    assert parse_list_path("rows").check(rows) is ROW
    assert parse_list_path("rows").check(None) is None
    with pytest.raises(InvalidInput, match=r"^path: steps is a string, and not a list$"):
        parse_list_path("steps").check(rows)


# Never wrong:


def is_of(value: Any, known: Kind | None) -> bool:
    match known:
        case None:
            return True
        case _ if value is None:
            return True
        case Scalar():
            return kind_of(value) is known
        case ListOf(item):
            return isinstance(value, list) and all(is_of(each, item) for each in value)
        case MapOf(inner):
            return isinstance(value, dict) and all(is_of(each, inner) for each in value.values())
        case Record(_, fields):
            return isinstance(value, dict) and all(is_of(each, fields[name]) for name, each in value.items())
    return False


SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b"])
JSONS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
STEPS = st.sampled_from(
    ["a", "b", "[0]", "[-1]", "[*]", "[]", "*", "[1:]", "[?a]", "[?@]", "[a, b]", "{a: a, b: @}", "[?a == b]"]
)
CALLS = st.sampled_from(
    [
        "length(@)", "keys(@)", "values(@)", "to_array(@)", "to_string(@)", "to_number(@)", "type(@)", "reverse(@)",
        "sort(@)", "max(@)", "sum(@)", "avg(@)", "join('', @)", "map(&a, @)", "sort_by(@, &a)", "max_by(@, &b)",
        "merge(@, @)", "not_null(a, b)", "contains(@, a)", "a || b", "a && b", "!(a)", "a == b", "a < b", "`[1, []]`",
        "not_null(`null`, @)", "map(&[@], @)", "abs(@)", "starts_with(a, b)",
    ]
)  # fmt: skip


@given(JSONS, st.lists(STEPS | CALLS, min_size=1, max_size=4))
def test_what_an_expression_gives_is_always_of_the_kind_that_was_told(value: Any, parts: list[str]) -> None:
    for joined in (" | ".join(parts), "@" + "".join(part if part[0] == "[" else f".{part}" for part in parts)):
        with suppress(ValueError):  # not every path can be joined so, and not every value has what it asks for
            expression = parse_expression(joined)
            known = infer(expression, kind_of(value))
            assert is_of(expression.evaluate(value, Budget()), known), f"{joined} of {value} is no {known}"


def vague(known: Kind | None) -> Kind | None:
    """Return a kind of which the fields and items are not known."""
    match known:
        case ListOf():
            return ListOf(None)
        case Record():
            return MapOf(None)
    return known


@given(JSONS, st.lists(STEPS | CALLS, min_size=1, max_size=4).map(" | ".join))
def test_who_knows_less_refuses_less(value: Any, text: str) -> None:
    expression = parse_expression(text)
    with suppress(ValueError):
        infer(expression, kind_of(value))
        for less in (None, vague(kind_of(value))):
            try:
                infer(expression, less)
            except ValueError as refused:
                pytest.fail(f"{value}: {refused}")


@given(st.lists(JSONS, max_size=3))
def test_what_values_have_in_common_holds_for_each(values: list[Any]) -> None:
    together = common(map(kind_of, values))
    assert all(is_of(value, together) for value in values)
    assert together is None or described(together)

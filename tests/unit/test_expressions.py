"""Expressions in templates, conditions and paths: parsed with all mistakes told, rendered at a bounded cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidInput
from shared.expressions import ExpressionError, parse_condition, parse_list_path, parse_template
from shared.expressions.expression import FUNCTIONS, MOST_CHARACTERS, Budget, json_problem, parse_expression
from shared.expressions.template import LARGEST_RENDERED

pytestmark = pytest.mark.filterwarnings("ignore:deprecated string literal:PendingDeprecationWarning")

CONTEXT: dict[str, Any] = {
    "item": {"id": 7, "name": "Zürich", "note": None, "price": 3.0, "tags": ["a", "b"]},
    "index": 2,
    "execution": {"id": "e-1", "nominal_time": "2026-01-31T08:00:00Z"},
    "parameters": {"region": "eu"},
    "steps": {"collect": {"state": "SUCCEEDED", "result": {"rows": [{"id": 1}, {"id": 2}], "cursor": ""}}},
}


def render(value: Any, context: dict[str, Any] = CONTEXT) -> Any:
    return parse_template(value).render(context)


def failure(value: Any, context: dict[str, Any] = CONTEXT) -> str:
    with pytest.raises(ExpressionError) as failed:
        render(value, context)
    return str(failed.value)


def refusals(value: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        parse_template(value)
    return [str(violation) for violation in refused.value.violations]


def refusal(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_expression(text)
    return str(refused.value)


# Rendering:


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("${item.id}", 7),
        ("${ item.id }", 7),
        ("${item}", CONTEXT["item"]),
        ("${steps.collect.result.rows[-1].id}", 2),
        ("${steps.collect.result.rows[*].id}", [1, 2]),
        ("${{id: item.id, at: execution.nominal_time}}", {"id": 7, "at": "2026-01-31T08:00:00Z"}),
        ("${ '}' }", "}"),
        ('${ `"}"` }', "}"),
        ("${item.tags | join('}', @)}", "a}b"),
        ('${item."name"}', "Zürich"),
        ("report for ${item.name}, ${index}", "report for Zürich, 2"),
        (" ${item.id}", " 7"),
        ("${item.id}${index}", "72"),
        ("tags ${item.tags}", 'tags ["a","b"]'),
        ("at ${item.price}", "at 3"),
        ("${length(item.tags) == `2`} it is", "true it is"),
        ("$${item.id}", "${item.id}"),
        ("$${ and ${index}", "${ and 2"),
        ("$$${", "$${"),
        ("${'$'}${item.id}", "$7"),
        ("$5, {item}, 100 $", "$5, {item}, 100 $"),
    ],
)
def test_an_expression_becomes_its_value_and_one_within_a_text_becomes_text(written: str, becomes: Any) -> None:
    assert render(written) == becomes


def test_templates_are_found_at_every_depth_and_all_else_stays_as_it_is() -> None:
    given_ = {"a": [1, 1.5, None, True, {"b": "${item.id}", "c": "text"}], "d": {}, "e": []}
    assert render(given_) == {"a": [1, 1.5, None, True, {"b": 7, "c": "text"}], "d": {}, "e": []}


def test_a_null_that_is_there_is_null_and_one_that_is_not_there_is_an_error_that_names_what_is_missing() -> None:
    assert render({"note": "${item.note}"}) == {"note": None}
    assert failure({"a": ["${steps.collect.result.row[0].id}"]}) == (
        "parameters.a[0]: ${steps.collect.result.row[0].id}: steps.collect.result has no row (it has rows, cursor);"
        " if null is meant, write ${steps.collect.result.row[0].id || `null`}"
    )
    assert "steps.collect.result.rows has no item [2] (it has 2)" in failure("${steps.collect.result.rows[2].id}")
    assert "item.note is null, which has no field text" in failure("${item.note.text}")
    assert "item.id is a number and not a list" in failure("${item.id[0]}")
    assert "the value has no job (it has item, index, execution, parameters, steps)" in failure("${job}")


def test_null_that_is_no_path_is_an_error_unless_the_expression_says_that_it_may_be() -> None:
    none = "steps.collect.result.rows[?id == `9`] | [0].id"
    assert "it gives null; if null is meant, write" in failure(f"${{{none}}}")
    assert render(f"${{({none}) || `null`}}") is None
    assert render("${item.nothing || `null`}") is None
    assert render("${item.nothing || 'some'}") == "some"


def test_null_within_a_text_is_an_error() -> None:
    assert failure("for ${item.note}") == ("parameters: ${item.note}: it gives null, and a text can't have null in it")
    assert "item has no title" in failure("for ${item.title}")


def test_a_function_that_is_given_what_it_does_not_take_is_an_error_on_its_field() -> None:
    assert failure({"a": "${length(index)}"}) == (
        "parameters.a: ${length(index)}: length() takes string or array or object, and not 2"
    )
    assert "it compares or sorts values of different kinds" in failure("${item.id > item.name}")


# Parsing:


def test_all_mistakes_are_told_at_once_with_the_paths_of_their_fields() -> None:
    found = refusals(
        {
            "a": {"b": ["fine", "${item.}", "${lenght(item)}"]},
            "c": "${item.id",
            "d": "${}",
            "e ${x}": 1,
            "f": "${join(',')}",
            "g": "${item.tags[0:1:0]}",
            "h": "x ${item id} ${step-one.result}",
        }
    )
    assert found[0] == "parameters.e ${x}: a key is taken as it is, and can't have ${ in it"
    assert found[1:] == [
        "parameters.a.b[1]: ${item.} is not an expression of JMESPath: it ends too early",
        (
            "parameters.a.b[2]: ${lenght(item)} can't be evaluated: there is no function lenght; did you mean length?"
            f" (there are {', '.join(sorted(FUNCTIONS))})"
        ),
        "parameters.c: '${item.id' has no } that ends it; the characters ${ themselves are written as $${",
        "parameters.d: an expression is required",
        "parameters.f: ${join(',')} can't be evaluated: join() takes 2 arguments, and not 1",
        "parameters.g: ${item.tags[0:1:0]} can't be evaluated: the step of a slice must not be 0",
        "parameters.h: ${item id} is not an expression of JMESPath: 'id' is not expected at character 6",
        (
            "parameters.h: ${step-one.result} is not an expression of JMESPath: '-' at character 5 is not understood"
            " (a name with a dash is written in double quotes)"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("&item", "&... can only be an argument"),
        ("to_string(&item)", "to_string() takes a value, and no &..."),
        ("sort_by(item, id)", "sort_by() takes an expression with & in front"),
        ("merge()", "merge() takes at least 1 argument, and not 0"),
        ("`NaN`", "a literal has a number that JSON does not have"),
        ("`[1e999]`", "a literal has a number that JSON does not have"),
        ('`"\\ud800"`', "a literal has half of a character"),
        ("(" * 400 + "a" + ")" * 400, "nested too deep"),
        ("!" * 900 + "a", "nested too deep"),
        ("|".join("a" * 100), "nested too deep"),
        ("`" + "[" * 900 + "`", "is not JSON"),
        ("`" + "[" * 400 + "]" * 400 + "`", "nested too deep"),
        ("`text`", "`text` is not JSON; a string is written as 'text'"),
        ("!item.id", "! takes only what is before the dot; write !(a.b)"),
        ("a" * (MOST_CHARACTERS + 1), "too long (at most 1,000)"),
        ("a[", "it ends too early"),
    ],
)
def test_what_could_only_fail_is_refused_when_it_is_written(text: str, sentence: str) -> None:
    assert sentence in refusal(text)


def test_what_has_no_form_in_json_is_refused_with_all_else() -> None:
    deep: Any = "${item}"
    for _ in range(101):
        deep = [deep]
    assert refusals(deep) == ["parameters: it has values that are nested too deep (at most 100 levels)"]
    assert "half of a character" in refusals(["\ud800"])[0]
    assert "a number that JSON does not have" in refusals([float("nan")])[0]


# References:


@pytest.mark.parametrize(
    ("written", "roots", "steps"),
    [
        ("${item.id}", {"item"}, set()),
        ("at ${execution.id}/${index}", {"execution", "index"}, set()),
        ("${steps.collect.result.rows[0].id}", {"steps"}, {"collect"}),
        ('${steps."the-step".result}', {"steps"}, {"the-step"}),
        ("${steps | a.result}", {"steps"}, {"a"}),
        ("${steps.[a.result, b.result]}", {"steps"}, {"a", "b"}),
        ("${{x: steps.a, y: [steps.b, item]}}", {"steps", "item"}, {"a", "b"}),
        ("${steps.a.result.rows[?steps == 'x'].steps}", {"steps"}, {"a"}),
        ("${length(steps.a.result) || max_by(steps.b.result, &steps.c).id}", {"steps"}, {"a", "b"}),
        ("${!(steps.a) && steps.b == steps.c}", {"steps"}, {"a", "b", "c"}),
        ("${@.steps.a}", {"steps"}, {"a"}),
        ("${item | @.steps}", {"item"}, set()),
        ("${`1`}", set(), set()),
    ],
)
def test_references_are_what_an_expression_begins_with(written: str, roots: set[str], steps: set[str]) -> None:
    found = parse_template({"a": [written]}).references
    assert (set(found.roots), set(found.steps)) == (roots, steps)


@pytest.mark.parametrize(
    "text",
    [
        "steps", "steps.*", "steps.*.result", "keys(steps)", "steps[0]", "steps[*]", "steps[]", "[steps]", "{a: steps}",
        "(steps || item).a", "steps[?state == 'FAILED']", "@", "*", "keys(@)", "[@]", "item == @", "!steps", "[*]",
        "not_null(steps, item)", "steps | values(@)", "@ | steps", "map(&a, values(steps))",
    ],
)  # fmt: skip
def test_an_expression_that_takes_all_steps_at_once_is_refused(text: str) -> None:
    (said,) = refusals(f"${{{text}}}")
    assert "at once, which does not say what it needs; take one, by" in said


# Conditions and paths:


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("item.id > `5`", True),
        ("item.id > `7`", False),
        ("steps.collect.state == 'SUCCEEDED' && item.tags", True),
        ("item.note", False),
        ("item.nothing", False),
        ("!(item.nothing)", True),
        ("`0`", True),
        ("`[]`", False),
        ("`{}`", False),
        ("''", False),
        ("item.id > item.nothing", False),
    ],
)
def test_a_condition_is_true_as_jmespath_has_it(text: str, true: bool) -> None:
    assert parse_condition(text).evaluate(CONTEXT) is true


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("item.id > `7`", "item.id is 7"),
        ("item.price > `9` && item.note", "item.price is 3; item.note is null"),
        ("steps.collect.result.value > `1`", "steps.collect.result has no value (it has rows, cursor)"),
        ("steps.collect.result.rows[?id > `2`].id", 'steps.collect.result.rows is [{"id":1},{"id":2}]'),
        ("length(map(&id, item.tags[:1])) > `1` || !(index)", 'item.tags is ["a","b"]; index is 2'),
        (
            "steps.collect.result.[cursor, rows][5]",
            'steps.collect.result.cursor is ""; steps.collect.result.rows is [{"id":1},{"id":2}]',
        ),
        ("item.id.x", "item.id is a number, which has no field x"),
        ("item.tags[9] == item.tags[-1]", 'item.tags has no item [9] (it has 2); item.tags[-1] is "b"'),
        (
            "([item.id, index] | [2]) || {a: index}.a > `9` && item.name",
            'item.id is 7; index is 2; item.name is "Zürich"',
        ),
        ("index > `5` && item.id && item.name && item.price", 'index is 2; item.id is 7; item.name is "Zürich"'),
        ("sort_by(steps.collect.result.rows, &id)[5]", 'steps.collect.result.rows is [{"id":1},{"id":2}]'),
    ],
)
def test_a_condition_is_shown_with_the_values_that_it_is_about(text: str, shown: str) -> None:
    assert parse_condition(text).shown(CONTEXT) == f"{text} ({shown})"


def test_the_values_of_a_condition_are_cut_and_one_without_any_is_shown_as_it_is() -> None:
    assert parse_condition("`false`").shown(CONTEXT) == "`false`"
    assert parse_condition("item == 'y'").shown({"item": "x" * 1_000}) == f"item == 'y' (item is \"{'x' * 79}...)"


def test_a_condition_is_refused_with_its_field() -> None:
    with pytest.raises(InvalidInput, match=r"^steps\[0\].when: the whole is an expression; write it without"):
        parse_condition("${item.id}", "steps[0].when")
    with pytest.raises(InvalidInput, match=r"^when: item.id == 1 .* at character 12; numbers are .* backticks: `1`$"):
        parse_condition("item.id == 1")
    with pytest.raises(InvalidInput, match=r"^when: .*takes all steps at once"):
        parse_condition("keys(steps)")
    with pytest.raises(ExpressionError, match=r"^when: length\(index\): length\(\) takes"):
        parse_condition("length(index)").evaluate(CONTEXT)


def test_a_path_leads_to_a_list_within_any_result() -> None:
    result: dict[str, Any] = {"steps": [1, 2], "rows": None, "n": 1}
    assert parse_list_path("steps").evaluate(result) == [1, 2]
    assert parse_list_path("@").evaluate([3]) == [3]
    assert parse_list_path("steps[?@ > `1`]").evaluate(result) == [2]
    for path, sentence in (
        ("rows", "path: rows gives null, and not a list"),
        ("n", "path: n gives 1, and not a list"),
        ("lines", "path: lines: the value has no lines (it has steps, rows, n)"),
    ):
        with pytest.raises(ExpressionError) as failed:
            parse_list_path(path).evaluate(result)
        assert str(failed.value) == sentence


# Costs:


@pytest.mark.parametrize(
    "text",
    [
        "|".join(["[@, @]"] * 45),
        "|".join(["[@, @][]"] * 40),
        "|".join(["{a: @, b: @}"] * 45),
        "|".join(["join('', [@, @])"] * 40),
        "to_string(" + "|".join(["[@, @]"] * 40) + ")",
        "(" + "|".join(["[@, @]"] * 40) + ") == (" + "|".join(["[@, @]"] * 40) + ")",
        "map(&(" + "|".join(["[@, @]"] * 40) + "), `[1, 2]`)",
    ],
)
def test_no_expression_costs_more_than_the_budget_however_it_doubles(text: str) -> None:
    with pytest.raises(ValueError, match="takes too many steps"):
        parse_expression(text).evaluate("x", Budget(20_000))


def test_joining_is_paid_for_before_it_is_done() -> None:
    context = {"item": {"separator": "x" * 64_000, "list": ["y"] * 20_000}}
    assert "takes too many steps" in failure("${join(item.separator, item.list)}", context)
    assert render("${join('-', item.list[:3])}", context) == "y-y-y"


def test_all_expressions_of_a_template_share_one_budget() -> None:
    context = {"item": ["x"] * 10_000}
    assert "takes too many steps" in failure(["${item}"] * 200, context)


def test_what_a_template_becomes_is_bounded() -> None:
    context = {"item": "x" * (LARGEST_RENDERED // 2)}
    assert len(render("${item}", context)) == LARGEST_RENDERED // 2
    assert failure({"a": "${item}", "b": "${item}"}, context) == (
        "parameters: they become 262,159 bytes of JSON, which are too many (at most 262,144)"
    )


@pytest.mark.parametrize("text", ["to_number('nan')", "to_number('inf')", "[to_number('-inf')]", "ceil(item)"])
def test_numbers_that_json_does_not_have_are_an_error(text: str) -> None:
    assert failure(f"${{{text}}}", {"item": float("inf")})


# Anything at all:


TOKENS = st.sampled_from(
    [
        "a", "steps", "item", ".", "*", "[", "]", "[?", "[]", "(", ")", "{", "}", ":", ",", "|", "||", "&", "&&", "!",
        "==", "<", "@", "0", "-1", "'x'", "`1`", "`{}`", '"q"', "length(", "sort_by(", "map(", "join(", "to_array(",
        "max_by(", "merge(", "contains(", "sum(", "$", " ", "\\", "-", "#", "é", "'", '"', "`", "${", "$${",
    ]
)  # fmt: skip
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé\ud800$", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("aq"), inner, max_size=2),
    max_leaves=5,
)


@given(st.lists(TOKENS, max_size=12).map("".join), st.fixed_dictionaries({"a": JSONS, "item": JSONS}))
def test_any_text_is_refused_or_rendered_or_fails_with_a_sentence(text: str, context: dict[str, Any]) -> None:
    for written in (text, f"${{{text}}}"):
        try:
            rendered = parse_template({"x": written}).render(context)
        except (InvalidInput, ExpressionError) as error:
            said = str(error)
        else:
            said = f"parameters: {json.dumps(rendered, allow_nan=False)}"
        assert said.startswith("parameters")
        assert "\n" not in said


@given(JSONS, JSONS.filter(lambda value: "${" not in json.dumps(value)))
def test_json_without_expressions_stays_and_an_expression_brings_any_json_in(value: Any, other: Any) -> None:
    if not json_problem(other):
        assert render(other) == other
    if value is not None and not json_problem(value):
        assert render({"x": ["${item}"]}, {"item": value}) == {"x": [value]}


@given(st.text(alphabet="ab${}'", max_size=12))
def test_any_text_can_be_written_by_doubling_the_dollar_before_a_brace(text: str) -> None:
    written = text.replace("${", "$${")
    # a dollar that was there already would double with the new one
    if "$${" not in text:
        assert render(written) == text

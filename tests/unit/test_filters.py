"""Filters of lists: what they mean, and that what can't be answered is refused by a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import InvalidInput
from shared.domain.filters import (
    EXECUTION_FIELDS,
    EXECUTION_ORDERS,
    JOB_FIELDS,
    JOB_ORDERS,
    MOST_CONDITIONS,
    POSSIBLE,
    Condition,
    Field,
    Filter,
    Kind,
    Operator,
    Order,
    parse_filter,
    parse_order,
)

PAGE = Path(__file__).resolve().parents[2] / "docs/filters.md"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


OR_JOINS = "OR joins only values of one field, as in state = ACTIVE OR state = PAUSED; ask twice instead"


def parsed(text: str) -> tuple[Condition, ...]:
    return parse_filter(text, JOB_FIELDS).conditions


def refused(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        parse_filter(text, JOB_FIELDS)
    assert {violation.field for violation in error.value.violations} == {"filter"}
    return [violation.description for violation in error.value.violations]


A_TEXT = st.text(alphabet="ab \\\"'*.:=()\n\tä\U0001f600", max_size=8)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(sorted(JOB_FIELDS)))
    known = JOB_FIELDS[name]
    match known.kind:
        case Kind.CHOICE:
            operator = draw(st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL]))
            most = 3 if operator is Operator.EQUAL else 1
            values = draw(st.lists(st.sampled_from(known.words), min_size=1, max_size=most, unique=True))
            return Condition(name, operator, tuple(values))
        case Kind.TIME:
            operator = draw(st.sampled_from([Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST]))
            instant = NOON + timedelta(milliseconds=draw(st.integers(-(10**9), 10**9)))
            return Condition(name, operator, instant=instant)
        case Kind.NAME:
            operator = draw(st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL, Operator.PREFIX]))
            return Condition(name, operator, (draw(A_TEXT),))
        case Kind.LABELS:
            operator = draw(st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL, Operator.PRESENT]))
            values = [] if operator is Operator.PRESENT else [draw(A_TEXT)]
            return Condition(name, operator, tuple(values), key=draw(A_TEXT.filter(bool)))
        case _:
            return Condition(name, Operator.EQUAL, tuple(draw(st.lists(A_TEXT, min_size=1, max_size=3, unique=True))))


@settings(deadline=None)  # on a busy machine
@given(st.lists(conditions(), max_size=6))
def test_a_filter_written_as_text_reads_back_as_itself(given_conditions: list[Condition]) -> None:
    chosen = Filter(tuple(given_conditions))
    assert parse_filter(str(chosen), JOB_FIELDS) == chosen


@given(st.text(alphabet='stae=ACTIVE "\\*().:<>!-ORND', max_size=40) | st.text(max_size=40))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    try:
        chosen = parse_filter(text, JOB_FIELDS)
    except InvalidInput as error:
        said = {violation.field for violation in error.violations}
    else:
        said = {"filter"} if parse_filter(str(chosen), JOB_FIELDS) == chosen else set()
    assert said == {"filter"}


@pytest.mark.parametrize(
    "text",
    [
        'state = ACTIVE AND labels.team = "pricing"',
        "state=ACTIVE labels.team=pricing",
        "state = STATE_ACTIVE AND (labels.'team' = 'pricing')",
        '((state = "ACTIVE") AND labels."team" = "pricing")',
    ],
)
def test_and_may_be_left_out_and_values_may_be_quoted(text: str) -> None:
    assert parsed(text) == (
        Condition("state", Operator.EQUAL, ("ACTIVE",)),
        Condition("labels", Operator.EQUAL, ("pricing",), key="team"),
    )


def test_or_joins_values_of_one_field_and_binds_closer_than_and() -> None:
    assert parsed("queue = a AND state = ACTIVE OR state = PAUSED") == (
        Condition("queue", Operator.EQUAL, ("a",)),
        Condition("state", Operator.EQUAL, ("ACTIVE", "PAUSED")),
    )


def test_a_star_at_the_end_of_a_name_means_whatever_comes_and_an_escaped_one_itself() -> None:
    assert parsed('name = "Daily *"') == (Condition("name", Operator.PREFIX, ("Daily ",)),)
    assert parsed(r'name = "Daily \*"') == (Condition("name", Operator.EQUAL, ("Daily *",)),)
    assert parsed(r'name = "say \"hi\" \\ "') == (Condition("name", Operator.EQUAL, ('say "hi" \\ ',)),)


def test_keys_of_labels_may_have_dots_and_slashes() -> None:
    assert parsed("labels.app.example.com/team:*") == (
        Condition("labels", Operator.PRESENT, key="app.example.com/team"),
    )


@pytest.mark.parametrize(("operator", "milliseconds"), [(">=", 1), ("<", 1), (">", 0), ("<=", 0)])
def test_a_time_between_two_milliseconds_means_the_same_among_whole_ones(operator: str, milliseconds: int) -> None:
    (condition,) = parsed(f"create_time {operator} 2026-03-02T13:00:00.000400+01:00")
    assert condition == Condition("created_at", Operator(operator), instant=NOON + timedelta(milliseconds=milliseconds))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state", "expected an operator after 'state', as in state = ACTIVE, not the end (at character 6)"),
        ("= 5", "expected a field, as state, not '= 5' (at character 1)"),
        ("state = ", "expected a value, not the end; one with spaces or signs needs quotation marks (at character 9)"),
        ("state = ACTIVE)", "expected AND or the end, not ')' (at character 15)"),
        ("(state = ACTIVE", "a parenthesis is not closed (at character 16)"),
        ('name = "open', "a quotation mark is not closed (at character 8)"),
        (r'name = "\n"', r"'\n' is not an escape (\\ \" \' \*) (at character 12)"),
        ("name = a*b", r"a * means whatever comes, only at the end; write \* for the character (at character 11)"),
        ("NOT queue = a", "NOT can't be answered by an index; compare with !=, as state != PAUSED (at character 4)"),
        ("-state = ACTIVE", "NOT can't be answered by an index; compare with !=, as state != PAUSED (at character 1)"),
        ("state = ACTIVE OR queue = a", f"{OR_JOINS} (at character 28)"),
        ("state = BUSY", "'BUSY' is not a state (ACTIVE, PAUSED, COMPLETED, ERROR, DELETED)"),
        ("state < ACTIVE", "state can't be compared by <, only by = !="),
        ("created_at = 2026-03-02T12:00:00Z", "created_at can't be compared by =, only by < <= > >="),
        (
            "created_at > 2026-03-02",
            "created_at: '2026-03-02' is not a time; expected RFC 3339, as 2030-01-31T08:00:00Z",
        ),
        ("queue = a*", r"a * at the end finds what begins so, which only `name =` can; write \* for the character"),
        ("labels = a", "'labels' needs keys: write labels.team = \"x\" or labels.team:*"),
        ("queue.x = a", "'queue' has no keys: write queue"),
        ("labels.team:a", "labels.team: asks by :* whether there is one; to compare it, write ="),
        (
            "target_servic = a",
            f"'target_servic' can't be filtered by; did you mean target_service? ({', '.join(JOB_FIELDS)})",
        ),
        ("(" * 11 + "state = ACTIVE" + ")" * 11, "parentheses in parentheses are at most 10 deep (at character 11)"),
        ("x" * 4_001, "4,001 characters are too many (at most 4,000)"),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused_by_a_sentence(text: str, said: str) -> None:
    assert refused(text) == [said]


def test_all_comparisons_that_are_wrong_are_named_at_once() -> None:
    assert len(refused("state = BUSY AND job_type = WORK AND colour = red")) == 3


def test_a_filter_has_so_many_conditions_and_values_at_most() -> None:
    assert refused(" ".join(["queue != a"] * (MOST_CONDITIONS + 1))) == ["21 conditions are too many (at most 20)"]
    many = " OR ".join(f"queue = q{number}" for number in range(51))
    assert refused(many)[0].startswith("51 values of queue are too many (at most 50)")


A_JOB = {
    "state": "ACTIVE",
    "name": "Daily prices",
    "labels": {"team": "pricing"},
    "created_at": NOON,
    "next_fire_time": None,
}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("state = PAUSED OR state = ACTIVE", True),
        ("state != ACTIVE", False),
        ('name = "Daily*"', True),
        ('name = "daily*"', False),
        ("labels.team:* AND labels.team != scraping", True),
        ("labels.region:*", False),
        ("labels.region != eu", False),
        ("created_at >= 2026-03-02T12:00:00Z AND created_at < 2026-03-02T12:00:00.001Z", True),
        ("created_at > 2026-03-02T12:00:00Z", False),
        ("next_fire_time < 2099-01-01T00:00:00Z", False),
    ],
)
def test_a_filter_fits_what_has_such_values(text: str, fits: bool) -> None:
    assert parse_filter(text, JOB_FIELDS).matches(A_JOB) is fits


@pytest.mark.parametrize(
    ("text", "filter_text", "order"),
    [
        ("", "", Order("created_at", descending=True)),
        ("", "state = ACTIVE", Order("created_at", descending=True)),
        ("", "name = a*", Order("name")),
        ("", "next_fire_time > 2026-03-02T12:00:00Z", Order("next_fire_time")),
        ("create_time", "name = a*", Order("created_at")),
        ("name desc", "", Order("name", descending=True)),
        (" name  asc ", "", Order("name")),
    ],
)
def test_a_list_is_ordered_as_asked_or_by_what_its_filter_is_about(text: str, filter_text: str, order: Order) -> None:
    assert parse_order(text, JOB_ORDERS, parse_filter(filter_text, JOB_FIELDS)) == order


@pytest.mark.parametrize("text", ["state", "name up", "name desc desc", "created_at, name", "desc", "x" * 10_000])
def test_an_order_that_a_list_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_order(text, JOB_ORDERS, Filter())
    assert "created_at, created_at desc, name, name desc" in str(error.value)


def test_executions_have_fields_and_orders_of_their_own() -> None:
    chosen = parse_filter("state = WAITING AND finished_at > 2026-03-02T12:00:00Z", EXECUTION_FIELDS)
    assert parse_order("", EXECUTION_ORDERS, chosen) == Order("finished_at", descending=True)
    with pytest.raises(InvalidInput):
        parse_filter("state = CLOSED", EXECUTION_FIELDS)


# docs/filters.md:


def rows(first_heading: str) -> list[list[str]]:
    """Return the rows of the page's table that begins with this heading."""
    _, _, table = PAGE.read_text().partition(f"| {first_heading} |")
    lines = takewhile(lambda line: line.startswith("|"), table.splitlines()[2:])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("row", rows("filter"), ids=lambda row: row[0])
def test_every_filter_in_the_page_is_one(row: list[str]) -> None:
    text = row[0].strip("`")
    assert parsed(text)


@pytest.mark.parametrize(("kind", "fields"), [("jobs", JOB_FIELDS), ("executions", EXECUTION_FIELDS)])
def test_the_page_has_every_field_and_how_it_is_compared(kind: str, fields: dict[str, Field]) -> None:
    signs = {field: row for field, *row in rows(f"field of {kind}")}
    assert list(signs) == [f"`{name}`" for name in fields]
    for name, field in fields.items():
        possible = [f"`{sign}*`" if sign == ":" else f"`{sign}`" for sign in POSSIBLE[field.kind]]
        assert signs[f"`{name}`"][0] == " ".join(possible)


def test_the_page_has_every_order() -> None:
    orders = {row[0]: row[1] for row in rows("list")}
    for kind, known in (("jobs", JOB_ORDERS), ("executions", EXECUTION_ORDERS)):
        assert orders[kind].startswith(", ".join(f"`{order.field}`" for order in known))

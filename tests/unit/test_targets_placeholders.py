"""Parameters of which some are known only later: what can be checked now is, by the contract of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import empty_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict

from shared.domain.errors import InvalidInput
from shared.expressions import parse_template, roots
from shared.expressions.kinds import BOOLEAN, NULL, NUMBER, TEXT, Kind, ListOf, MapOf, Record, described, kind_of
from shared.expressions.placeholder import Placeholder
from shared.targets import Method, Target, Targets
from shared.targets.kinds import message_kind
from shared.targets.parameters import build_message
from tests.unit.test_targets_parameters import POOL, build, refusals

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

ORDER = POOL.FindMessageTypeByName("shop.Order")
ITEM = message_kind(POOL.FindMessageTypeByName("shop.Item"))
OBJECT = MapOf(None)

FITTING: list[tuple[str, list[Kind]]] = [
    ("count", [NUMBER, TEXT]),
    ("big_number", [NUMBER, TEXT]),
    ("ratio", [NUMBER, TEXT]),
    ("flag", [BOOLEAN]),
    ("text", [TEXT]),
    ("raw", [TEXT]),
    ("colour", [NUMBER, TEXT]),
    ("item", [OBJECT, MapOf(OBJECT), MapOf(BOOLEAN)]),
    ("items", [ListOf(OBJECT), ListOf(None)]),
    ("by_name", [MapOf(OBJECT), OBJECT]),
    ("by_number", [MapOf(BOOLEAN), OBJECT]),
    ("at", [TEXT]),
    ("span", [TEXT]),
    ("mask", [TEXT]),
    ("times", [ListOf(TEXT), ListOf(None)]),
    ("wrapped", [NUMBER, TEXT]),
    ("free", [OBJECT, MapOf(OBJECT), MapOf(BOOLEAN)]),
    ("packed", [OBJECT, MapOf(OBJECT), MapOf(BOOLEAN)]),
]
KINDS: list[Kind] = [
    NUMBER, TEXT, BOOLEAN, OBJECT, ListOf(OBJECT), ListOf(None), ListOf(TEXT), MapOf(OBJECT), MapOf(BOOLEAN),
]  # fmt: skip


def later(kind: Kind | None = None, text: str = "${x}") -> Placeholder:
    return Placeholder(text, kind)


@pytest.mark.parametrize(("field", "fitting"), FITTING)
def test_a_value_that_is_known_later_fits_where_one_of_its_kind_may(field: str, fitting: list[Kind]) -> None:
    for kind in (None, NULL, *fitting):
        assert not build({field: later(kind)}).ListFields()
    for kind in KINDS:
        if kind not in fitting and kind != OBJECT:
            (refused,) = refusals({field: later(kind)})
            assert refused.startswith(f"parameters.{field}: ${{x}} is {described(kind)}")


def test_any_kind_fits_a_field_of_any_json() -> None:
    for kind in KINDS:
        build({"anything": later(kind)})


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"text": later(ListOf(None))}, "text: ${x} is a list, and not a string"),
        ({"text": later(NUMBER)}, "text: ${x} is a number, and not a string"),
        ({"flag": later(TEXT, "is ${x}")}, "flag: is ${x} is a string, and not a bool (true or false)"),
        ({"items": later(ITEM)}, "items: ${x} is an object, and not a list (of which each is an Item (an object))"),
        ({"items": [{}, later(TEXT)]}, "items[1]: ${x} is a string, and not an Item (an object)"),
        ({"times": later(ListOf(NUMBER))}, "times: ${x} is a list of which each is a number, and not a Timestamp"),
        ({"by_number": {"1": later(TEXT)}}, "by_number[1]: ${x} is a string, and not a bool"),
        (
            {"by_number": later(Record("r", {"1": BOOLEAN, "2": TEXT}))},
            "by_number: ${x} is an object in which a value is a string, and not a bool",
        ),
        (
            {"item": later(Record("r", {"price": NUMBER, "prize": NUMBER}))},
            "item: ${x} is an object with a field prize, which Item does not have",
        ),
        (
            {"items": later(ListOf(Record("r", {"price": TEXT, "parts": ListOf(Record("r", {"price": BOOLEAN}))})))},
            "items: ${x} is a list of which each is an object whose field parts is a list of which each is an object",
        ),
        ({"item": {"price": later(BOOLEAN)}}, "item.price: ${x} is a boolean, and not a double"),
        ({"wrapped": later(BOOLEAN)}, "wrapped: ${x} is a boolean, and not an int32"),
    ],
)
def test_what_can_not_fit_is_refused_with_a_sentence(parameters: dict[str, object], sentence: str) -> None:
    (refused,) = refusals(parameters)
    assert refused.startswith(f"parameters.{sentence}")


def test_all_else_is_checked_beside_what_is_known_later() -> None:
    assert refusals({"one": later(TEXT), "other": "b"}) == ["parameters.other: only one of one and other may be set"]
    assert refusals({"big_number": later(), "bigNumber": "1"}) == [
        "parameters.bigNumber: it is given twice, also as big_number"
    ]
    found = refusals({"cuont": later(), "text": 1, "items": [later(), {"prise": 1}]})
    assert [field.partition(":")[0] for field in found] == [
        "parameters.cuont",
        "parameters.text",
        "parameters.items[1].prise",
    ]


def test_what_is_known_later_may_stand_within_free_json_and_packed_messages() -> None:
    build({"free": {"a": [later(), {"b": later(TEXT)}]}, "anything": [later()], "packed": later()})
    build({"packed": {"@type": "type.googleapis.com/shop.Item", "price": later(NUMBER)}})
    build({"packed": {"@type": later(TEXT), "price": 1}})
    assert "packed" in refusals({"packed": {"@type": "type.googleapis.com/shop.Item", "prise": 1, "price": later()}})[0]


def test_a_required_field_may_be_known_later_and_one_that_is_missing_is_still_found() -> None:
    build({"id": later(TEXT)}, "old.Old")
    build({"id": "1", "next": {"id": later(TEXT)}}, "old.Old")
    assert refusals({"next": later()}, "old.Old") == ["parameters.id: it is required"]


def well_known(kind: Descriptor, parameters: dict[str, object]) -> None:
    build_message(kind, parameters, POOL)


def test_a_whole_request_that_stands_under_value_may_be_known_later() -> None:
    well_known(timestamp_pb2.Timestamp.DESCRIPTOR, {"value": later(TEXT)})
    well_known(struct_pb2.Struct.DESCRIPTOR, {"a": later(TEXT)})
    with pytest.raises(InvalidInput, match=r"^parameters.value: \$\{x\} is a number, and not a Timestamp"):
        well_known(timestamp_pb2.Timestamp.DESCRIPTOR, {"value": later(NUMBER)})


# The kinds of results:


def agrees(value: Any, kind: Kind | None) -> bool:
    """Return whether a value is of a kind."""
    match kind:
        case None:
            return True
        case ListOf(item):
            return isinstance(value, list) and all(agrees(each, item) for each in value)
        case MapOf(inner):
            return isinstance(value, dict) and all(agrees(each, inner) for each in value.values())
        case Record(_, fields):
            return isinstance(value, dict) and all(agrees(each, fields[name]) for name, each in value.items())
    return kind_of(value) is kind


def test_the_kinds_of_a_result_are_those_of_its_json_form() -> None:
    order = build(
        {
            "big_number": "5", "colour": "RED", "item": {"price": 1, "parts": [{}]}, "items": [{}], "one": "x",
            "by_name": {"a": {}}, "by_number": {"7": True}, "at": "2026-01-31T08:00:00Z", "span": "1s", "raw": "AQI=",
            "free": {"a": 1}, "anything": [1], "wrapped": 5, "mask": "text", "times": ["2026-01-31T08:00:00Z"],
            "packed": {"@type": "type.googleapis.com/shop.Item"},
        }
    )  # fmt: skip
    result = MessageToDict(
        order, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, descriptor_pool=POOL
    )
    kind = message_kind(ORDER)
    assert isinstance(kind, Record)
    assert agrees(result, kind)
    assert result.keys() | {"other"} == set(kind.fields)
    assert [kind.fields[name] for name in ("big_number", "colour", "raw", "at", "wrapped", "anything", "free")] == [
        TEXT, TEXT, TEXT, TEXT, NUMBER, None, MapOf(None),
    ]  # fmt: skip


def test_a_result_fits_a_request_of_its_own_type_however_deep_it_nests() -> None:
    build({"item": later(ITEM), "items": later(ListOf(ITEM)), "by_name": later(MapOf(ITEM))})


def test_an_empty_result_has_no_fields() -> None:
    kind = message_kind(empty_pb2.Empty.DESCRIPTOR)
    assert isinstance(kind, Record)
    assert not kind.fields


def test_a_result_that_is_no_object_is_known_under_value() -> None:
    pool = DescriptorPool()
    for module in (struct_pb2, timestamp_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    timestamp = pool.FindMessageTypeByName("google.protobuf.Timestamp")
    method = Method("Now", "shop.Clock", False, False, timestamp, timestamp, pool)
    assert method.result_kind == Record("Timestamp", {"value": TEXT})
    assert method.result(method.response_class(seconds=0)) == {"value": "1970-01-01T00:00:00Z"}


# From a template to a call:

TARGETS = Targets(
    [
        Target("scraper-service", "localhost:1", ("scraper.v1.ScraperService",)),
        Target("pricing-service", "localhost:1", ("pricing.v1.PricingService",)),
    ]
)


def check(parameters: dict[str, Any]) -> None:
    """Check a call of pricing-service by a step that comes after one of scraper-service."""
    scraped = TARGETS.method("scraper-service", "ScrapeCompetitorPrices").result_kind
    schema = roots({"parameters": None}, {"collect": Record("step collect", {"result": scraped})})
    template = parse_template(parameters)
    template.check(schema)
    TARGETS.check("pricing-service", "ComprehensivePriceAnalysis", template.placeholders(schema))


def test_a_step_that_takes_what_the_one_before_it_gives_is_checked_without_calling_either() -> None:
    complete = "steps.collect.result.competitors[?outcome == 'OUTCOME_COMPLETE'].competitor_id"
    check({"competitor_ids": f"${{{complete}}}", "since": "${steps.collect.result.observed_at}"})
    check({"competitor_ids": ["${steps.collect.result.competitors[0].competitor_id}", "${parameters.one}"]})


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        (
            "competitor_ids",
            "${steps.collect.result.competitors}",
            "is a list of which each is an object, and not a str",
        ),
        ("competitor_ids", "${steps.collect.result.competitors[*].id}", "CompetitorResult has no field id (its fields"),
        ("since", "${steps.collect.result.observation_count}", "is a number, and not a Timestamp (RFC 3339, as"),
        (
            "sinse",
            "${steps.collect.result.observed_at}",
            "ComprehensivePriceAnalysisRequest has no such field; did you",
        ),
    ],
)
def test_a_step_that_can_not_take_it_is_refused(field: str, value: str, sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check({field: value})
    (violation,) = refused.value.violations
    assert violation.field == f"parameters.{field}"
    assert violation.description.removeprefix(value).lstrip(": ").startswith(sentence)

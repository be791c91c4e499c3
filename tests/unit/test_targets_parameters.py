import json
import time

import pytest
from google.protobuf import (
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    text_format,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message

from shared.domain.errors import InvalidInput
from shared.targets.parameters import build_message

FILE = """
    name: "shop.proto" package: "shop" syntax: "proto3"
    dependency: ["google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/struct.proto",
      "google/protobuf/wrappers.proto", "google/protobuf/field_mask.proto", "google/protobuf/any.proto"]
    enum_type { name: "Colour" value { name: "NONE" number: 0 } value { name: "RED" number: 1 } }
    message_type { name: "Item"
      field { name: "price" number: 1 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
      field { name: "parts" number: 2 type_name: ".shop.Item" label: LABEL_REPEATED }
    }
    message_type { name: "Order"
      field { name: "count" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
      field { name: "big_number" json_name: "bigNumber" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
      field { name: "unsigned" number: 3 type: TYPE_UINT32 label: LABEL_OPTIONAL }
      field { name: "ratio" number: 4 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
      field { name: "flag" number: 5 type: TYPE_BOOL label: LABEL_OPTIONAL }
      field { name: "text" number: 6 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "raw" number: 7 type: TYPE_BYTES label: LABEL_OPTIONAL }
      field { name: "colour" number: 8 type_name: ".shop.Colour" label: LABEL_OPTIONAL }
      field { name: "item" number: 9 type_name: ".shop.Item" label: LABEL_OPTIONAL }
      field { name: "items" number: 10 type_name: ".shop.Item" label: LABEL_REPEATED }
      field { name: "by_name" number: 11 type_name: ".shop.Order.ByNameEntry" label: LABEL_REPEATED }
      field { name: "by_number" number: 12 type_name: ".shop.Order.ByNumberEntry" label: LABEL_REPEATED }
      field { name: "one" number: 13 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
      field { name: "other" number: 14 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
      field { name: "at" number: 15 type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
      field { name: "span" number: 16 type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL }
      field { name: "free" number: 17 type_name: ".google.protobuf.Struct" label: LABEL_OPTIONAL }
      field { name: "anything" number: 18 type_name: ".google.protobuf.Value" label: LABEL_OPTIONAL }
      field { name: "wrapped" number: 19 type_name: ".google.protobuf.Int32Value" label: LABEL_OPTIONAL }
      field { name: "mask" number: 20 type_name: ".google.protobuf.FieldMask" label: LABEL_OPTIONAL }
      field { name: "packed" number: 21 type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL }
      field { name: "times" number: 22 type_name: ".google.protobuf.Timestamp" label: LABEL_REPEATED }
      oneof_decl { name: "choice" }
      nested_type { name: "ByNameEntry" options { map_entry: true }
        field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
        field { name: "value" number: 2 type_name: ".shop.Item" label: LABEL_OPTIONAL } }
      nested_type { name: "ByNumberEntry" options { map_entry: true }
        field { name: "key" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
        field { name: "value" number: 2 type: TYPE_BOOL label: LABEL_OPTIONAL } }
    }
"""

PROTO2 = """
    name: "old.proto" package: "old" syntax: "proto2"
    message_type { name: "Old"
      field { name: "id" number: 1 type: TYPE_STRING label: LABEL_REQUIRED }
      field { name: "next" number: 2 type_name: ".old.Old" label: LABEL_OPTIONAL }
    }
"""


TOO_LARGE = "is too large for a JSON number, which is exact below 2^53; write it as a string"
AN_ANY = 'an Any (an object with "@type", a message type of the target)'
NO_FIELD = "Item has no such field (its fields: price, parts)"


def pool() -> DescriptorPool:
    made = DescriptorPool()
    for module in (
        any_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    ):
        made.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for text in (FILE, PROTO2):
        made.AddSerializedFile(text_format.Parse(text, FileDescriptorProto()).SerializeToString())
    return made


POOL = pool()


def build(parameters: dict[str, object], kind: str = "shop.Order") -> Message:
    return build_message(POOL.FindMessageTypeByName(kind), parameters, POOL)


def refusals(parameters: dict[str, object], kind: str = "shop.Order") -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        build(parameters, kind)
    return [str(violation) for violation in refused.value.violations]


def test_every_kind_of_field_is_built_from_its_json_form() -> None:
    parameters: dict[str, object] = {
        "count": 3.0,  # JSON numbers of a Struct are doubles
        "bigNumber": "9007199254740993",
        "unsigned": 4.0,
        "ratio": 1,
        "flag": True,
        "text": "é",
        "raw": "AQI",
        "colour": "RED",
        "item": {"price": 1.5, "parts": [{"price": 2.0, "parts": []}]},
        "items": [{}, {"price": 1}],
        "by_name": {"a": {"price": 1}},
        "by_number": {"7": True},
        "one": "x",
        "at": "2026-01-31T08:00:00Z",
        "span": "1.5s",
        "free": {"a": [1, None, {"b": "c"}]},
        "anything": None,
        "wrapped": 5.0,
        "mask": "text,item.price",
        "packed": {"@type": "type.googleapis.com/shop.Item", "price": 3},
        "times": ["2026-01-31T08:00:00+01:00"],
    }
    built = MessageToDict(build(parameters), descriptor_pool=POOL, preserving_proto_field_name=True)
    assert built == {
        "count": 3,
        "big_number": "9007199254740993",
        "unsigned": 4,
        "ratio": 1.0,
        "flag": True,
        "text": "é",
        "raw": "AQI=",
        "colour": "RED",
        "item": {"price": 1.5, "parts": [{"price": 2.0}]},
        "items": [{}, {"price": 1.0}],
        "by_name": {"a": {"price": 1.0}},
        "by_number": {"7": True},
        "one": "x",
        "at": "2026-01-31T08:00:00Z",
        "span": "1.500s",
        "free": {"a": [1.0, None, {"b": "c"}]},
        "anything": None,
        "wrapped": 5,
        "mask": "text,item.price",
        "packed": {"@type": "type.googleapis.com/shop.Item", "price": 3.0},
        "times": ["2026-01-31T07:00:00Z"],
    }


def test_null_leaves_a_field_unset() -> None:
    nothing = dict.fromkeys(("count", "items", "at", "one", "by_name"))
    assert build(nothing | {"other": "x"}) == build({"other": "x"})


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ({"count": "many"}, 'parameters.count: "many" is not an int32'),
        ({"count": 3.5}, "parameters.count: 3.5 is not an int32"),
        ({"count": True}, "parameters.count: true is not an int32"),
        ({"count": [1]}, "parameters.count: [1] is not an int32"),
        ({"count": 2.0**31}, "parameters.count: 2147483648 is not an int32 (-2147483648 to 2147483647)"),
        ({"unsigned": -1.0}, "parameters.unsigned: -1 is not a uint32 (0 to 4294967295)"),
        ({"big_number": 2.0**53 + 2}, f"parameters.big_number: 9007199254740994.0 {TOO_LARGE}"),
        ({"ratio": True}, "parameters.ratio: true is not a double"),
        ({"ratio": "x"}, 'parameters.ratio: "x" is not a double'),
        ({"flag": "true"}, 'parameters.flag: "true" is not a bool (true or false)'),
        ({"text": 5.0}, "parameters.text: 5 is not a string"),
        ({"raw": "*"}, 'parameters.raw: "*" is not bytes (in base64)'),
        ({"raw": 5}, "parameters.raw: 5 is not bytes (in base64)"),
        ({"colour": "BLUE"}, 'parameters.colour: "BLUE" is not a Colour (NONE, RED)'),
        ({"colour": 7}, "parameters.colour: 7 is not a Colour (NONE, RED)"),
        ({"colour": "7"}, 'parameters.colour: "7" is not a Colour (NONE, RED)'),
        ({"colour": 0.5}, "parameters.colour: 0.5 is not a Colour (NONE, RED)"),
        ({"colour": True}, "parameters.colour: true is not a Colour (NONE, RED)"),
        ({"item": 5}, "parameters.item: 5 is not an object (the fields of an Item: price, parts)"),
        ({"item": {"price": "x"}}, 'parameters.item.price: "x" is not a double'),
        ({"items": {}}, "parameters.items: {} is not a list (of which each is an Item (an object))"),
        ({"items": [{}, {"parts": [{"price": "x"}]}]}, 'parameters.items[1].parts[0].price: "x" is not a double'),
        ({"by_name": []}, "parameters.by_name: [] is not an object (of which each value is an Item (an object))"),
        ({"by_name": {"a": {"cost": 1}}}, f"parameters.by_name[a].cost: {NO_FIELD}"),
        ({"by_number": {"x": True}}, 'parameters.by_number[x]: the key "x" is not an int32'),
        ({"by_number": {"1": "x"}}, 'parameters.by_number[1]: "x" is not a bool (true or false)'),
        ({"one": "a", "other": "b"}, "parameters.other: only one of one and other may be set"),
        ({"big_number": 1, "bigNumber": 2}, "parameters.bigNumber: it is given twice, also as big_number"),
        ({"at": "today"}, 'parameters.at: "today" is not a Timestamp (RFC 3339, as "2026-01-31T08:00:00Z")'),
        ({"times": [5]}, 'parameters.times[0]: 5 is not a Timestamp (RFC 3339, as "2026-01-31T08:00:00Z")'),
        ({"span": "5 minutes"}, 'parameters.span: "5 minutes" is not a Duration (seconds with an s, as "90s")'),
        ({"free": []}, "parameters.free: [] is not an object"),
        ({"wrapped": "x"}, 'parameters.wrapped: "x" is not an int32'),
        ({"wrapped": 1e10}, "parameters.wrapped: 10000000000 is not an int32 (-2147483648 to 2147483647)"),
        ({"packed": {"@type": "x/shop.No"}}, f'parameters.packed: {{"@type": "x/shop.No"}} is not {AN_ANY}'),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_was_expected(parameters: dict[str, object], refusal: str) -> None:
    assert refusals(parameters) == [refusal]


def test_an_unknown_field_is_told_with_those_there_are() -> None:
    (refusal,) = refusals({"cuont": 1})
    assert refusal.startswith("parameters.cuont: Order has no such field; did you mean count? (its fields: count, big_")
    assert refusal.endswith("and 2 more)")


def test_all_violations_come_at_once() -> None:
    refused = refusals({"count": "x", "item": {"price": "y", "size": 1}, "items": [1, {"price": []}], "nope": 1})
    assert [refusal.partition(":")[0] for refusal in refused] == [
        "parameters.count",
        "parameters.item.price",
        "parameters.item.size",
        "parameters.items[0]",
        "parameters.items[1].price",
        "parameters.nope",
    ]


def test_a_long_value_is_cut_in_the_sentence() -> None:
    (refusal,) = refusals({"count": "x" * 1000})
    assert len(refusal) < 150


def test_json_that_is_nested_without_end_is_refused() -> None:
    item: dict[str, object] = {}
    for _ in range(90):
        item = {"parts": [item]}
    (refusal,) = refusals({"item": item})
    assert refusal.endswith("it is nested too deep (at most 50 levels)")
    value = json.loads("[" * 200 + "]" * 200)
    assert "not a Value (any JSON, at most 100 levels deep)" in refusals({"anything": value})[0]


def test_required_fields_of_older_protos_are_named() -> None:
    assert refusals({"next": {}}, "old.Old") == ["parameters.id: it is required", "parameters.next.id: it is required"]


def test_a_request_without_an_object_as_its_json_form_is_given_under_value() -> None:
    assert MessageToJson(build({"value": "90s"}, "google.protobuf.Duration")) == '"90s"'
    assert refusals({"seconds": 90}, "google.protobuf.Duration") == [
        'parameters: expected only "value", a Duration (seconds with an s, as "90s")'
    ]
    assert refusals({"value": 90}, "google.protobuf.Duration")[0].startswith("parameters.value: 90 is not a Duration")
    assert MessageToDict(build({"a": 1}, "google.protobuf.Struct")) == {"a": 1.0}
    assert refusals({"a": 1}, "google.protobuf.Empty") == ["parameters.a: Empty has no fields"]


@pytest.mark.parametrize("number", [2.0**53, -(2.0**53)])
def test_the_double_that_two_whole_numbers_become_is_refused_for_whole_numbers_only(number: float) -> None:
    # 9007199254740993 arrives as 2^53, too
    assert refusals({"big_number": number}) == [f"parameters.big_number: {number} {TOO_LARGE}"]
    build({"big_number": number - 1 if number > 0 else number + 1, "ratio": number, "free": {"a": number}})


def test_of_tens_of_thousands_of_mistakes_a_hundred_are_looked_for() -> None:
    began = time.process_time()
    assert len(refusals({f"unknown_{n}": 1 for n in range(100_000)})) == 100
    assert len(refusals({"items": [{"price": "x"}] * 100_000})) == 100
    assert time.process_time() - began < 1


def test_a_key_of_any_length_is_named_cut() -> None:
    (said,) = refusals({"by_name": {"k" * 100_000: {"price": "x"}}})
    assert len(said) < 300

"""Messages to values and back: total, whatever a client sends; tokens; who calls."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.jobs.drafts import new_draft
from scheduler_service.transport.caller import read_caller
from scheduler_service.transport.convert import duration, struct, timestamp, to_instant, to_mapping, to_span
from scheduler_service.transport.pages import read_token, write_token
from scheduler_service.watching import watch_tokens
from shared.proto import scheduler_service_pb2 as pb
from tests.builders import DEFAULTS

if TYPE_CHECKING:
    from shared.domain.errors import Violation

INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
INSTANTS = st.datetimes(timezones=st.just(UTC))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=20,
)


@given(INT64, INT32)
def test_any_timestamp_is_an_instant_or_a_violation(seconds: int, nanos: int) -> None:
    found: list[Violation] = []
    instant = to_instant("at", Timestamp(seconds=seconds, nanos=nanos), found)
    assert (instant is None) == (len(found) == 1)


@given(INT64, INT32)
def test_any_duration_is_a_span_or_a_violation(seconds: int, nanos: int) -> None:
    found: list[Violation] = []
    span = to_span("timeout", Duration(seconds=seconds, nanos=nanos), found)
    assert (span is None) == (len(found) == 1)
    assert span is None or span >= timedelta(0)


@given(INSTANTS)
def test_an_instant_survives_the_way_there_and_back(instant: datetime) -> None:
    message = timestamp(instant)
    assert message is not None
    assert to_instant("at", message, []) == instant


@given(st.timedeltas(timedelta(0), timedelta(days=3_000_000)))
def test_a_span_survives_the_way_there_and_back(span: timedelta) -> None:
    assert to_span("timeout", duration(span), []) == span


@given(st.dictionaries(st.text(), PLAIN))
def test_whatever_json_holds_can_be_written(values: dict[str, Any]) -> None:
    found: list[Violation] = []
    to_mapping("result", struct(values), found)
    assert found == []


def test_numbers_come_back_as_they_were_meant() -> None:
    values = {"whole": 7, "half": 0.5, "large": 1e300, "list": [1, None, {"a": True}]}
    assert to_mapping("parameters", struct(values), []) == values


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused_where_it_stands(number: float) -> None:
    found: list[Violation] = []
    given_struct = Struct()
    given_struct.update({"a": [{"b": number}]})
    to_mapping("parameters", given_struct, found)
    assert [violation.field for violation in found] == ["parameters.a[0].b"]


@given(st.binary(max_size=300))
def test_no_request_makes_reading_raise(data: bytes) -> None:
    request = pb.CreateScheduledJobRequest()
    try:
        request.MergeFromString(data)
    except Exception:  # noqa: BLE001 - not a message at all: gRPC refuses it before us
        return
    new_draft(request, "mine", DEFAULTS, [])


# Tokens


@given(st.datetimes(timezones=st.just(UTC)), st.text(st.characters(exclude_categories=["Cs"])), st.text(max_size=20))
def test_a_token_leads_back_to_its_position_in_its_list_only(instant: datetime, name: str, listing: str) -> None:
    instant = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    listing = listing.encode(errors="replace").decode()
    token = write_token(listing, (instant, name))
    assert read_token(listing, token, []) == (instant, name)
    found: list[Violation] = []
    assert read_token(listing + "x", token, found) is None
    assert [violation.field for violation in found] == ["page_token"]


@given(st.text(min_size=1))
def test_no_text_makes_reading_a_token_raise(text: str) -> None:
    found: list[Violation] = []
    assert read_token("jobs", text, found) is None
    assert len(found) == 1


@pytest.mark.parametrize(
    "said", ["null", "[]", "[null,1]", '[null,"x"]', '["x",{}]', '[1e999,"x"]', f'[{10**30},"x"]', "[" * 50_000]
)
def test_no_token_that_somebody_has_made_makes_reading_it_raise(said: str) -> None:
    for listing, read in (("jobs", read_token), ("watched", watch_tokens.read_token)):
        token = urlsafe_b64encode(sha256(f"{listing}\0{said}".encode()).digest()[:12] + said.encode()).decode()
        found: list[Violation] = []
        assert read(listing, token, found) is None
        assert len(found) == 1


@pytest.mark.parametrize("said", ["[0,0,0]", "[0,0,0,{}]", '[0,0,null,"x"]', "[0,1e30]", '[0,0,0,"x",1]'])
def test_no_token_of_a_stream_that_somebody_has_made_makes_reading_it_raise(said: str) -> None:
    token = urlsafe_b64encode(sha256(f"watched\0{said}".encode()).digest()[:12] + said.encode()).decode()
    found: list[Violation] = []
    assert watch_tokens.read_token("watched", token, found) is None
    assert len(found) == 1


# Callers

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("metadata", "peer", "by"),
    [
        ([("x-actor", " anna ")], "ipv4:10.0.0.1:5", "anna"),
        ([("x-actor", "a" * 300)], "", "a" * 200),
        ([("x-actor", "")], "ipv4:10.0.0.1:5", "10.0.0.1:5"),
        ([], "ipv6:%5B::1%5D:5", "[::1]:5"),
        ([("x-actor-bin", b"anna")], "unix:/tmp/s", "unix:/tmp/s"),
    ],
)
def test_the_actor_is_named_else_the_peer(metadata: list[tuple[str, str | bytes]], peer: str, by: str) -> None:
    assert read_caller(metadata, peer).by == by


def test_a_trace_goes_on_and_a_wrong_one_is_replaced() -> None:
    assert read_caller([("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")], "").trace_id == TRACE
    for wrong in (
        "",
        "x",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ):
        begun = read_caller([("traceparent", wrong)], "").trace_id
        assert len(begun) == 32
        assert begun != TRACE


def test_what_is_nested_too_deep_for_a_message_is_a_text() -> None:
    lists: object = []
    objects: dict[str, object] = {}
    for _ in range(200):
        lists, objects = [lists], {"in": objects}
    execution = pb.Execution(
        result=struct({"lists": lists, "objects": objects, "deep": json.loads("[" * 40 + "]" * 40)})
    )
    sent = pb.ListExecutionsResponse(executions=[execution]).SerializeToString()
    (read,) = pb.ListExecutionsResponse.FromString(sent).executions
    values = to_mapping("result", read.result, [])
    assert values["deep"] == json.loads("[" * 40 + "]" * 40)
    found, depth = values["objects"], 0
    while isinstance(found, dict):
        found, depth = found["in"], depth + 1
    assert json.dumps(objects).replace(" ", "") == ('{"in":' * depth + str(found) + "}" * depth).replace(" ", "")

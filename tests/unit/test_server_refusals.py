"""Statuses: the code and the details of every refusal, within what a response's headers hold."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from google.rpc.error_details_pb2 import BadRequest, ResourceInfo, RetryInfo
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from scheduler_service.refusals import (
    MOST_HEADER_BYTES,
    Conflict,
    NoSuch,
    Taken,
    header_bytes,
    internal_status,
    refusal_status,
    shortened,
    store_status,
)
from shared.domain.errors import (
    FailedPrecondition,
    InvalidInput,
    ResourceExhausted,
    SchedulerError,
    Unavailable,
    Violation,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)


@pytest.mark.parametrize(
    ("refused", "code", "details"),
    [
        (InvalidInput([Violation("name", "a name is required")]), 3, BadRequest),
        (NoSuch("job", "x"), 5, ResourceInfo),
        (Taken("job", "x"), 6, ResourceInfo),
        (ResourceExhausted("full"), 8, None),
        (FailedPrecondition("not now"), 9, None),
        (Conflict("changed"), 10, None),
        (Unavailable("away"), 14, RetryInfo),
    ],
)
def test_every_refusal_has_its_code_and_details(refused: SchedulerError, code: int, details: Any) -> None:
    status = refusal_status(refused)
    assert status.code == code
    assert status.message == str(refused)
    assert [detail.Is(details.DESCRIPTOR) for detail in status.details] == ([True] if details else [])


@given(st.lists(st.builds(Violation, TEXTS, TEXTS), max_size=60))
def test_violations_of_any_number_length_and_script_fit_and_none_is_lost_silently(violations: list[Violation]) -> None:
    status = refusal_status(InvalidInput(violations))
    assert header_bytes(status) <= MOST_HEADER_BYTES
    named = BadRequest()
    assert status.details[0].Unpack(named)
    shown = len(named.field_violations)
    if violations:
        assert shown
    if shown and named.field_violations[-1].description == f"and {len(violations) - shown + 1:,} more":
        shown = len(violations)
    assert shown == len(violations)


@given(TEXTS)
def test_what_is_shortened_takes_no_more_than_it_may_on_the_wire(text: str) -> None:
    cut = shortened(text, 50)
    assert len(quote(cut, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")) <= 50
    assert cut == text or (cut.endswith("...") and text.startswith(cut[:-3]))


@given(TEXTS)
def test_a_long_name_fits_too(name: str) -> None:
    assert header_bytes(refusal_status(NoSuch("job", name))) <= MOST_HEADER_BYTES
    assert header_bytes(refusal_status(Unavailable(name))) <= MOST_HEADER_BYTES


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("x"),
        NetworkTimeout("x"),
        NotPrimaryError("x"),
        ServerSelectionTimeoutError("x"),
        ExecutionTimeout("x"),
    ],
)
def test_a_store_that_does_not_answer_is_unavailable(error: AutoReconnect) -> None:
    status = store_status(error)
    assert status is not None
    assert (status.code, status.details[0].Is(RetryInfo.DESCRIPTOR)) == (14, True)


@pytest.mark.parametrize("error", [OperationFailure("x"), DuplicateKeyError("x")])
def test_an_error_that_trying_again_does_not_mend_is_ours(error: OperationFailure) -> None:
    assert store_status(error) is None
    assert internal_status("id-1").message.startswith("internal error id-1")

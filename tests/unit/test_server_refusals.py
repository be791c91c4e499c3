"""Statuses: the code and the details of every refusal, within what a response's headers hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, ResourceInfo, RetryInfo
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

from scheduler_service.transport.refusals import (
    MOST_HEADER_BYTES,
    Conflict,
    NoSuch,
    NotDeleted,
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
    Reason,
    ResourceExhausted,
    SchedulerError,
    Unavailable,
    Violation,
)

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)


@pytest.mark.parametrize(
    ("refused", "code", "reason", "details"),
    [
        (InvalidInput([Violation("name", "a name is required")]), 3, "INVALID_INPUT", BadRequest),
        (NoSuch("job", "x"), 5, "NOT_FOUND", ResourceInfo),
        (NoSuch("job", "x", deleted=NEW_YEAR), 5, "DELETED", ResourceInfo),
        (Taken("job", "x"), 6, "ID_TAKEN", ResourceInfo),
        (NotDeleted("job", "x"), 6, "NOT_DELETED", ResourceInfo),
        (ResourceExhausted("full"), 8, "LIMIT_EXCEEDED", None),
        (FailedPrecondition("not now", reason=Reason.JOB_COMPLETED), 9, "JOB_COMPLETED", PreconditionFailure),
        (FailedPrecondition("not now"), 9, "FAILED_PRECONDITION", PreconditionFailure),
        (Conflict("changed"), 10, "CONTENDED", None),
        (Unavailable("away"), 14, "UNAVAILABLE", RetryInfo),
    ],
)
def test_every_refusal_has_its_code_details_and_a_reason(
    refused: SchedulerError, code: int, reason: str, details: Any
) -> None:
    status = refusal_status(refused)
    assert status.code == code
    assert status.message == str(refused)
    *others, last = status.details
    assert [detail.Is(details.DESCRIPTOR) for detail in others] == ([True] if details else [])
    info = ErrorInfo()
    assert last.Unpack(info)
    assert (info.reason, info.domain) == (reason, "scheduler.v1")


@pytest.mark.parametrize("reason", [Reason.INVALID_INPUT, Reason.REQUEST_ID_REUSED])
def test_each_violation_has_the_reason_of_the_refusal_also_the_one_that_says_how_many_are_left_out(
    reason: Reason,
) -> None:
    named = BadRequest()
    violations = [Violation("name", "x" * 500)] * 40
    assert refusal_status(InvalidInput(violations, reason=reason)).details[0].Unpack(named)
    assert named.field_violations[-1].description.endswith(" more")
    assert {each.reason for each in named.field_violations} == {reason.value}


def test_what_a_program_may_want_of_a_refusal_are_facts_beside_its_reason() -> None:
    info = ErrorInfo()
    gone = NoSuch("job", "x", deleted=NEW_YEAR, until=NEW_YEAR + timedelta(days=30))
    assert refusal_status(gone).details[-1].Unpack(info)
    assert dict(info.metadata) == {"deleted_at": "2026-01-01T00:00:00Z", "purge_time": "2026-01-31T00:00:00Z"}
    assert all(fact in str(gone) for fact in info.metadata.values())


@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), TEXTS), TEXTS)
def test_facts_of_any_length_fit_too(facts: dict[str, str], said: str) -> None:
    refused = Conflict(said, reason=Reason.ETAG_MISMATCH, facts=facts)
    assert header_bytes(refusal_status(refused)) <= MOST_HEADER_BYTES


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

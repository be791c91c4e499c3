"""The Python client's pure parts: what is asked of the API, what its refusals become, and when a call is repeated."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

import scheduler_client
from scheduler_client import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    LimitReached,
    NotFound,
    SchedulerError,
    Unavailable,
    calls,
    cron,
    every,
    once,
)
from scheduler_client.call import PACKAGE, Call, Pages, Stream
from scheduler_client.channel import SERVICE_CONFIG, SERVICES, metadata_of
from scheduler_client.errors import Details, error_of
from scheduler_client.methods import Methods
from scheduler_client.patience import AWAY_FOR, Patience
from shared.proto import scheduler_service_pb2 as pb

MODULES = (calls.jobs, calls.executions, calls.planning, calls.targets, calls.statistics, calls.operations)
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
GIVEN = {
    "requests": (), "execution_ids": (), "at": NOON, "to": NOON, "start": NOON, "end": NOON, "request": None,
}  # fmt: skip


def builders() -> dict[str, Any]:
    """Return all that makes calls, by name."""
    return {
        name: found
        for module in MODULES
        for name, found in vars(module).items()
        if inspect.isfunction(found) and found.__module__ == module.__name__ and not name.startswith("_")
        if "request" not in inspect.signature(found).parameters
    }


def asked(build: Any) -> Any:
    """Return a call with something for all that it requires."""
    required = [
        name
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return build(*(GIVEN.get(name, "x") for name in required))


# The API:


def test_every_method_of_the_api_has_one_of_the_client_with_its_messages() -> None:
    found = {asked(build).method: asked(build) for build in builders().values()}
    pool = descriptor_pool.Default()
    in_api = {
        f"{service}/{name}": method
        for service in SERVICES
        for name, method in pool.FindServiceByName(f"{PACKAGE}.{service}").methods_by_name.items()
    }
    assert set(found) == set(in_api)
    for name, method in in_api.items():
        assert found[name].request.DESCRIPTOR.full_name == method.input_type.full_name
        assert found[name].answer.DESCRIPTOR.full_name == method.output_type.full_name
        expected = Stream if method.server_streaming else Call | Pages
        assert isinstance(found[name], expected), name
        assert isinstance(found[name], Pages) == ("page_token" in method.input_type.fields_by_name), name


def test_both_clients_have_them_all() -> None:
    assert {name for name in vars(Methods) if not name.startswith("_")} == set(builders())
    for name in builders():
        assert inspect.getdoc(vars(Methods)[name]), name


def test_what_is_repeated_by_itself_only_reads_or_has_a_request_id() -> None:
    reading = ("Get", "List", "Preview", "Describe", "Explain", "Forecast", "Export", "Watch", "Wait", "Audit")
    probing = ("TestTarget", "Diagnose")
    for build in builders().values():
        call = asked(build)
        name = call.method.partition("/")[2]
        assert name.startswith((*reading, *probing)) != hasattr(call.request, "request_id"), name
        if hasattr(call.request, "request_id"):
            assert 16 <= len(call.request.request_id) <= 128
            assert call.request.request_id != asked(build).request.request_id
    (policy,) = SERVICE_CONFIG["methodConfig"]
    assert {entry["service"] for entry in policy["name"]} == {f"{PACKAGE}.{service}" for service in SERVICES}


def test_a_request_id_of_ones_own_is_kept() -> None:
    assert calls.executions.run("nightly", request_id="mine").request.request_id == "mine"
    assert calls.jobs.create(pb.CreateScheduledJobRequest(request_id="mine")).request.request_id == "mine"


def test_a_request_that_was_made_by_hand_can_be_repeated_too() -> None:
    assert calls.jobs.create(pb.CreateScheduledJobRequest()).request.request_id
    assert calls.jobs.update(pb.UpdateScheduledJobRequest(job_id="nightly")).request.request_id


# Values:


def test_schedules_are_written_as_one_says_them() -> None:
    assert cron("0 8 * * *", tz="America/New_York") == pb.ScheduleConfig(
        type="cron", config={"expression": "0 8 * * *"}, timezone="America/New_York"
    )
    both = cron("0 8 * * *", "30 17 * * FRI", jitter=timedelta(minutes=1), max_runs=3, end=NOON)
    assert list(both.expressions) == ["0 8 * * *", "30 17 * * FRI"]
    assert (dict(both.config), both.jitter.seconds, both.max_runs) == ({}, 60, 3)
    assert both.end_time.ToDatetime(UTC) == NOON
    assert dict(every("1h30m").config) == {"every": "1h30m"}
    assert dict(every(timedelta(hours=1)).config) == dict(every(3600).config) == {"seconds": "3600"}
    assert dict(once(NOON).config) == {"at": "2030-01-31T12:00:00+00:00"}


def test_what_no_schedule_can_be_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="needs an expression"):
        cron()
    with pytest.raises(ValueError, match="whole number of seconds"):
        every(0.5)
    with pytest.raises(ValueError, match="has no time zone"):
        once(NOON.replace(tzinfo=None))


@pytest.mark.parametrize("span", [1e30, -1e30, 4e11, float("inf"), float("nan"), timedelta.max])
@pytest.mark.parametrize(
    "ask",
    [
        lambda span: calls.operations.diagnose(timeout=span),
        lambda span: calls.operations.audit(overdue_after=span),
        lambda span: calls.targets.test_target("scraper-service", timeout=span),
        lambda span: calls.statistics.statistics(window=span),
        lambda span: calls.executions.run("prices", wait=span),
        lambda span: calls.planning.forecast(span=span),
        lambda span: calls.planning.forecast(bucket=span),
        lambda span: calls.jobs.update_job("prices", timeout=span),
        lambda span: calls.jobs.update_job("prices", expires=span),
        lambda span: cron("0 8 * * *", jitter=span),
        lambda span: every("1h", jitter=span),
        every,
    ],
)
def test_a_span_that_no_message_holds_is_refused_before_anything_is_sent(ask: Any, span: Any) -> None:
    with pytest.raises(ValueError, match=r"is too large|is not a span"):
        ask(span)


def test_a_job_is_described_in_pythons_words_and_asked_for_in_the_apis() -> None:
    call = calls.jobs.create_job(
        name="Nightly",
        target="scraper-service",
        method="ScrapeCompetitorPrices",
        parameters={"competitor_ids": ["amazon"], "max_products": 2, "share": 0.5},
        schedule=every("1h"),
        timeout=90,
        labels={"team": "pricing"},
    )
    request = call.request
    assert (request.name, request.job_type, request.target_service) == ("Nightly", pb.CUSTOM, "scraper-service")
    assert (request.target_method, request.timeout.seconds) == ("ScrapeCompetitorPrices", 90)
    assert scheduler_client.to_dict(request.parameters) == {
        "competitor_ids": ["amazon"], "max_products": 2, "share": 0.5,
    }  # fmt: skip
    assert not request.HasField("priority")
    assert not request.validate_only


def test_a_field_that_no_job_has_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="a job has no targett"):
        calls.jobs.create_job(name="x", targett="y")  # type: ignore[call-arg]


def test_an_update_changes_what_is_given_and_what_is_cleared() -> None:
    request = calls.jobs.update_job("nightly", method="Other", labels={}, clear=["parameters"], etag="e1").request
    assert list(request.update_mask.paths) == ["target_method", "labels", "parameters"]
    assert (request.job.target_method, request.job.etag) == ("Other", "e1")


def test_an_actor_that_cannot_travel_is_refused() -> None:
    assert metadata_of("anna") == (("x-actor", "anna"),)
    with pytest.raises(ValueError, match="ASCII"):
        metadata_of("änna")


# Refusals:


class Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, bytes], ...] = ()) -> None:
        self._told = (code, details, trailing)

    def code(self) -> grpc.StatusCode:
        return self._told[0]

    def details(self) -> str:
        return self._told[1]

    def trailing_metadata(self) -> Any:
        return self._told[2]


def status(*details: Any) -> tuple[tuple[str, bytes], ...]:
    found = Status(code=3, message="-")
    for detail in details:
        found.details.add().Pack(detail)
    return ((Details.STATUS, found.SerializeToString()),)


def test_a_refusal_has_all_that_the_service_said() -> None:
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    bad = BadRequest(field_violations=[BadRequest.FieldViolation(field="name", description="it is empty")])
    info = ErrorInfo(reason="BAD_NAME", domain="scheduler", metadata={"limit": "200"})
    details = status(retry, bad, info, ResourceInfo(resource_type="job", resource_name="nightly"))
    error = error_of(Failed(grpc.StatusCode.INVALID_ARGUMENT, "name: it is empty", details))
    assert isinstance(error, InvalidInput)
    assert str(error) == "name: it is empty"
    assert [(each.field, each.description) for each in error.violations] == [("name", "it is empty")]
    assert (error.reason, error.metadata, error.retry_after) == ("BAD_NAME", {"limit": "200"}, 1.5)
    assert error.resource == ("job", "nightly")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.ABORTED, Conflict),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.INTERNAL, SchedulerError),
    ],
)
def test_each_code_has_its_exception_also_without_details(code: grpc.StatusCode, kind: type[SchedulerError]) -> None:
    error = error_of(Failed(code, "", ((Details.STATUS, b"no status"),)))
    assert type(error) is kind
    assert code.name in str(error)
    assert (error.reason, error.violations, error.retry_after) == ("", (), None)


# Patience:


def limited(after: int) -> SchedulerError:
    retry = RetryInfo()
    retry.retry_delay.FromSeconds(after)
    return error_of(Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests", status(retry)))


AWAY = error_of(Failed(grpc.StatusCode.UNAVAILABLE, "away"))
LATE = error_of(Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "late"))


def test_a_call_waits_as_long_as_a_server_that_limits_it_says_but_not_past_its_deadline() -> None:
    patience = Patience(calls.jobs.get_job("x"), 30, now=100)
    assert patience.left(104) == 26
    assert patience.after(limited(3), 104) == 3
    with pytest.raises(LimitReached):
        patience.after(limited(3), 128)


def test_what_gRPC_has_repeated_already_is_not_repeated_again() -> None:  # noqa: N802
    with pytest.raises(Unavailable):
        Patience(calls.jobs.get_job("x"), 30, now=0).after(AWAY, 1)
    with pytest.raises(DeadlineExceeded):
        Patience(calls.executions.wait("x", timeout=5), 30, now=0).after(LATE, 5)


def test_a_wait_without_an_end_bears_with_deadlines_and_a_restart_but_not_for_ever() -> None:
    patience = Patience(calls.executions.wait("x"), 30, now=0)
    assert patience.after(LATE, 10_000) == 0
    pauses = [patience.after(AWAY, 10_000 + second) for second in range(8)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    for second in range(10, int(AWAY_FOR), 10):
        assert patience.after(AWAY, 10_000 + second) == 5
    with pytest.raises(Unavailable):
        patience.after(AWAY, 10_000 + AWAY_FOR)
    patience.went_well()
    assert patience.after(AWAY, 20_000) == 0.1


def test_a_server_that_was_there_for_a_while_may_be_away_again() -> None:
    patience = Patience(calls.executions.wait("x"), 30, now=0)
    assert patience.after(AWAY, 0) == 0.1
    assert patience.after(LATE, 600) == 0
    assert patience.after(AWAY, 1000) == 0.1
    assert patience.after(AWAY, 1400) == 0.1


def test_a_watch_goes_on_after_its_last_token_and_does_not_tell_signs_of_life() -> None:
    progress = calls.executions.watch_executions(job_id="nightly").begin()
    assert progress.request.resume_token == ""
    assert progress.takes(pb.WatchExecutionsResponse(execution=pb.Execution(execution_id="e"), resume_token="1"))
    assert not progress.takes(pb.WatchExecutionsResponse(resume_token="2"))
    assert (progress.request.job_id, progress.request.resume_token) == ("nightly", "2")


def test_the_service_config_is_json_that_grpc_takes() -> None:
    policy = json.loads(json.dumps(SERVICE_CONFIG))["methodConfig"][0]["retryPolicy"]
    assert policy["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert 2 <= policy["maxAttempts"] <= 5

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import grpc
import grpc_testing
import pytest
import structlog

from shared.domain.errors import Unavailable
from shared.domain.execution import Failure, Trigger
from shared.domain.retry import RetryPolicy
from shared.proto import scraper_service_pb2 as pb
from shared.store.executions import Claimed
from shared.targets import Target, Targets
from shared.targets.contract import Contract
from worker.answers import Succeeded
from worker.target import Cancellation, TargetCaller, call_metadata

SERVICE = pb.DESCRIPTOR.services_by_name["ScraperService"]
METHOD = SERVICE.methods_by_name["ScrapeCompetitorPrices"]
SCRAPER = Target("scraper-service", "scraper.example:1", (SERVICE.full_name,))
RETRYABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


def claimed(
    method: str = "ScrapeCompetitorPrices", service: str = "scraper-service", parameters: object = None
) -> Claimed:
    return Claimed(
        execution_id="uid.1.20260131T080000Z",
        nonce="n",
        attempt=2,
        tries=2,
        job_id="prices",
        job_name="Prices",
        trigger=Trigger.SCHEDULE,
        nominal_time=datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=1))),
        target_service=service,
        target_method=method,
        parameters=json.dumps({"competitor_ids": ["amazon"]} if parameters is None else parameters),
        timeout=timedelta(seconds=30),
        retry=RetryPolicy(4, timedelta(seconds=1), timedelta(seconds=2), 2),
        retry_until=None,
        queue="scraping",
        trace_id="0123456789abcdef0123456789abcdef",
    )


class Played:
    """A caller whose target is played by the test: take() what it was called with, and answer."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
        self.addresses: list[str] = []
        self.caller = TargetCaller(Targets([SCRAPER]), RETRYABLE, self._connect)
        self._threads = threads

    def _connect(self, address: str) -> grpc.Channel:
        self.addresses.append(address)
        channel: grpc.Channel = self.channel
        return channel

    def call(self, attempt: Claimed, cancelled: Cancellation | None = None) -> Future[Succeeded | Failure]:
        return self._threads.submit(self.caller.call, attempt, cancelled or Cancellation())

    def take(self) -> tuple[dict[str, str], Any, Any]:
        metadata, request, rpc = self.channel.take_unary_unary(METHOD)
        return dict(metadata), request, rpc

    def answer(self, code: grpc.StatusCode, details: str = "", response: object = None) -> None:
        self.take()[2].terminate(response, (), code, details)


@pytest.fixture
def played() -> Iterator[Played]:
    with ThreadPoolExecutor(2) as threads:
        yield Played(threads)


def test_a_jobs_own_lists_decide_what_is_tried_again(played: Played) -> None:
    own = RetryPolicy(retryable_codes=frozenset({"INTERNAL"}), non_retryable_codes=frozenset({"TARGET_UNKNOWN"}))
    attempt = replace(claimed(), retry=own)
    for code, retryable in ((grpc.StatusCode.INTERNAL, True), (grpc.StatusCode.UNAVAILABLE, False)):
        outcome = played.call(attempt)
        played.answer(code)
        failure = outcome.result(10)
        assert isinstance(failure, Failure)
        assert failure.retryable is retryable
    gone = played.call(replace(attempt, target_service="gone")).result(10)
    assert isinstance(gone, Failure)
    assert (gone.code, gone.retryable) == ("TARGET_UNKNOWN", False)


def test_a_call_carries_the_request_and_says_which_attempt_it_is(played: Played) -> None:
    outcome = played.call(claimed())
    metadata, request, rpc = played.take()
    rpc.terminate(pb.ScrapeCompetitorPricesResponse(observation_count=3), (), grpc.StatusCode.OK, "")
    assert request == pb.ScrapeCompetitorPricesRequest(competitor_ids=["amazon"])
    assert metadata["x-execution-id"] == "uid.1.20260131T080000Z"
    assert metadata["x-job-id"] == "prices"
    assert metadata["x-nominal-time"] == "2026-01-31T08:00:00Z"
    assert metadata["x-attempt"] == "2"
    version, trace, span, flags = metadata["traceparent"].split("-")
    assert (version, trace, flags) == ("00", claimed().trace_id, "01")
    assert len(span) == 16
    assert int(span, 16)
    assert isinstance(outcome.result(10), Succeeded)


def test_a_result_has_the_protos_names_and_shows_what_is_zero(played: Played) -> None:
    outcome = played.call(claimed())
    played.answer(grpc.StatusCode.OK, response=pb.ScrapeCompetitorPricesResponse(observation_count=3))
    assert outcome.result(10) == Succeeded(
        {
            "observation_count": 3,
            "already_stored_count": 0,
            "failed_page_count": 0,
            "incomplete_competitor_ids": [],
            "competitors": [],
            "unlisted_product_ids": [],
        }
    )


def test_each_attempt_has_a_span_of_its_own() -> None:
    spans = {dict(call_metadata(replace(claimed(), attempt=attempt)))["traceparent"] for attempt in (1, 2, 3)}
    assert len(spans) == 3


def test_metadata_stays_ascii_whatever_the_ids() -> None:
    sent = dict(call_metadata(replace(claimed(), job_id="prix-é\n")))
    assert sent["x-job-id"] == "prix-%C3%A9%0A"


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        (code, code.name in RETRYABLE)
        for code in grpc.StatusCode
        if code not in (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED)
    ],
)
def test_a_status_becomes_a_failure_with_the_targets_words(
    played: Played, code: grpc.StatusCode, retryable: bool
) -> None:
    outcome = played.call(claimed())
    played.answer(code, "as the target says")
    assert outcome.result(10) == Failure(code.name, "as the target says", retryable)


def test_a_method_the_target_does_not_have_is_called_once(played: Played) -> None:
    outcome = played.call(claimed())
    played.answer(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    assert outcome.result(10) == Failure("UNIMPLEMENTED", "Method not found!", False)


def test_our_deadline_is_told_with_its_length(played: Played) -> None:
    outcome = played.call(claimed())
    played.answer(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    assert outcome.result(10) == Failure("DEADLINE_EXCEEDED", "scraper-service did not answer within 30 s", True)


def test_a_call_lasts_as_long_as_the_target_takes(played: Played) -> None:
    outcome = played.call(claimed())
    _, _, rpc = played.take()
    assert not outcome.done()
    rpc.send_initial_metadata(())
    assert not outcome.done()
    rpc.terminate(pb.ScrapeCompetitorPricesResponse(), (), grpc.StatusCode.OK, "")
    assert isinstance(outcome.result(10), Succeeded)


def test_calls_of_one_address_share_a_channel(played: Played) -> None:
    outcomes = [played.call(claimed()), played.call(claimed())]
    for _ in outcomes:
        played.answer(grpc.StatusCode.OK, response=pb.ScrapeCompetitorPricesResponse())
    assert all(isinstance(outcome.result(10), Succeeded) for outcome in outcomes)
    assert played.addresses == ["scraper.example:1"]


def test_a_cancel_before_the_call_prevents_it(played: Played) -> None:
    cancelled = Cancellation()
    cancelled.cancel("the job was deleted")
    assert played.call(claimed(), cancelled).result(10) == Failure("CANCELLED", "the job was deleted", False)
    assert played.addresses == []


def test_a_cancel_while_the_call_begins_reaches_it(played: Played) -> None:
    cancelled = Cancellation()

    def connect(_address: str) -> grpc.Channel:
        cancelled.cancel("just now")
        cancelled.cancel("too late to matter")
        channel: grpc.Channel = played.channel
        return channel

    outcome = TargetCaller(Targets([SCRAPER]), RETRYABLE, connect).call(claimed(), cancelled)
    assert outcome == Failure("CANCELLED", "just now", False)
    played.take()[2].cancelled()


def test_a_target_that_cancels_is_told_apart_from_us(played: Played) -> None:
    cancelled = Cancellation()
    outcome = played.call(claimed(), cancelled)
    played.answer(grpc.StatusCode.CANCELLED, "the target stops")
    assert outcome.result(10) == Failure("CANCELLED", "the target stops", False)
    assert cancelled.failure is None


@pytest.mark.parametrize(
    ("attempt", "code", "field"),
    [
        (claimed(method="Gone"), "UNIMPLEMENTED", "target_method"),
        (claimed(parameters={"gone": 1, "max_products": "x"}), "INVALID_ARGUMENT", "parameters.gone"),
    ],
)
def test_a_call_that_no_longer_fits_is_not_made_and_not_tried_again(
    played: Played, attempt: Claimed, code: str, field: str
) -> None:
    outcome = played.caller.call(attempt, Cancellation())
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.retryable) == (code, False)
    assert outcome.message.startswith(f"{field}: ")
    assert played.addresses == []


def test_a_target_that_this_worker_does_not_know_is_tried_again_and_told_from_the_targets_own_not_found(
    played: Played,
) -> None:
    outcome = played.caller.call(claimed(service="gone"), Cancellation())
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.retryable) == ("TARGET_UNKNOWN", True)
    assert outcome.message.startswith("target_service: 'gone' is not a target")
    assert outcome.message.endswith("; this worker's targets.yaml lacks it, and it is not registered")
    assert played.addresses == []


def test_a_contract_that_can_not_be_read_now_is_tried_again() -> None:
    def read(_target: Target) -> Contract:
        raise Unavailable("the contract of shop at shop.example:1 can't be read")

    caller = TargetCaller(Targets([Target("shop", "shop.example:1")], read=read), RETRYABLE)
    outcome = caller.call(claimed(service="shop"), Cancellation())
    assert outcome == Failure("UNAVAILABLE", "the contract of shop at shop.example:1 can't be read", True)


def test_a_mistake_of_ours_is_logged_and_keeps_its_text_to_itself() -> None:
    def connect(_address: str) -> grpc.Channel:
        raise RuntimeError("secret")

    with structlog.testing.capture_logs() as lines:
        outcome = TargetCaller(Targets([SCRAPER]), frozenset({"INTERNAL"}), connect).call(claimed(), Cancellation())
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.retryable) == ("INTERNAL", False)
    assert "secret" not in outcome.message
    (line,) = [line for line in lines if line["action"] == "target_call_crashed"]
    assert line["error_id"] in outcome.message
    assert line["exc_info"]


def test_a_cancellation_is_heard_from_any_thread() -> None:
    cancelled, ended = Cancellation(), threading.Event()
    cancelled.watch(ended.set)
    thread = threading.Thread(target=cancelled.cancel, args=["now"])
    thread.start()
    assert ended.wait(60)
    thread.join(60)

"""The call of one attempt: request, metadata, deadline, cancelling, and what came of it."""

from __future__ import annotations

import json
import threading
import time
import uuid
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import grpc

from shared.domain.errors import FailedPrecondition, InvalidInput, Unavailable
from shared.domain.execution import Failure, rfc3339
from shared.domain.retry import TARGET_UNKNOWN
from shared.log import get_logger
from worker.answers import Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from shared.store.executions import Claimed
    from shared.targets import Method, Targets

log = get_logger()

EXECUTION_ID: Final = "x-execution-id"
"""The same for all attempts: the target's idempotency key."""
JOB_ID: Final = "x-job-id"
NOMINAL_TIME: Final = "x-nominal-time"
"""RFC 3339, UTC."""
ATTEMPT: Final = "x-attempt"
"""1 is the first."""
TRACEPARENT: Final = "traceparent"
"""W3C Trace Context: the trace is the execution's, the span the attempt's."""

CHANNEL_OPTIONS: Final = (
    # A target that vanished without a word is noticed between its answers. Servers take pings more often than every
    # five minutes for an attack, by default, and end the connection with the calls on it.
    ("grpc.keepalive_time_ms", 6 * 60 * 1000),
    ("grpc.keepalive_timeout_ms", 20 * 1000),
    # A call may wait in silence for hours; by default pings stop after two without data.
    ("grpc.http2.max_pings_without_data", 0),
    # By default up to two minutes, in which all calls fail although the target is back.
    ("grpc.max_reconnect_backoff_ms", 5 * 1000),
    # A larger answer is RESOURCE_EXHAUSTED, which is retried in vain; 64 KiB of it are kept in any case. It bounds
    # the memory that an answer may take in each of the worker's slots.
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
)

_CODE_OF_FIELD: Final = {"target_service": TARGET_UNKNOWN, "target_method": "UNIMPLEMENTED"}
"""What a call is answered whose target, or method, is gone since the job was created.

TARGET_UNKNOWN is no status of gRPC: it is this worker, not the target, that says so.
"""


class Cancellation:
    """Lets another thread end an attempt's call: before it has begun, in flight, or to no effect when it is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._handing_back = False
        self._end: Callable[[], object] | None = None

    @property
    def failure(self) -> Failure | None:
        """What the call was asked to end with, if it was."""
        return self._failure

    def hands_back(self, outcome: Failure) -> bool:
        """Return whether a call ended with this failure because it was to be handed back."""
        return self._handing_back and outcome is self._failure

    def cancel(self, reason: str, *, retryable: bool = False, hand_back: bool = False) -> bool:
        """End the call, so that the target sees it cancelled; the attempt fails with CANCELLED and this reason.

        retryable: for reasons of ours, as a lost lease, after which the work is still to be done. hand_back: the
        attempt is not to count; another worker is to do the work.
        The first to cancel is heard; returns whether it is this one. Does not wait for the call to end.
        """
        with self._lock:
            if self._failure is not None:
                return False
            self._failure = Failure("CANCELLED", reason, retryable or hand_back)
            self._handing_back = hand_back
            end = self._end
        if end is not None:
            end()
        return True

    def watch(self, end: Callable[[], object]) -> None:
        """Call `end` when the call is cancelled; at once if it was already."""
        with self._lock:
            self._end = end
            asked = self._failure is not None
        if asked:
            end()


def open_channel(address: str) -> grpc.Channel:
    """Return a channel for calls that may be long and silent. It connects when it is first used."""
    return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)


class TargetCaller:
    """Calls targets, over one channel an address. Safe to use from any number of threads.

    Channels are made at the first call, so after the fork of a pool that forks; build it anywhere, use it there.
    """

    def __init__(
        self,
        targets: Targets,
        retryable_codes: frozenset[str],
        connect: Callable[[str], grpc.Channel] = open_channel,
    ) -> None:
        """Take the codes (as UNAVAILABLE) of the failures to try again where a job names none."""
        self._targets = targets
        self._retryable = retryable_codes
        self._connect = connect
        self._channels: dict[str, grpc.Channel] = {}
        self._callables: dict[tuple[str, str], tuple[Method, Any]] = {}
        self._lock = threading.Lock()

    def call(self, claimed: Claimed, cancelled: Cancellation) -> Succeeded | Failure:
        """Make the call of an attempt and wait for its end; never raises.

        The gRPC deadline is the attempt's timeout. Reading a contract that is not known yet takes up to five seconds
        before. A Failure with CANCELLED and the reason that `cancelled` was given is the end of a call cancelled
        by us; one that was answered in spite of it has Succeeded.
        """
        started = time.monotonic()
        try:
            outcome = cancelled.failure or self._call(claimed, cancelled)
        except Exception:
            error_id = uuid.uuid4().hex
            log.exception("The worker failed to make a call", action="target_call_crashed", error_id=error_id)
            said = f"the worker failed to make the call; its log has it under {error_id}"
            outcome = Failure("INTERNAL", said, retryable=False)
        log.debug(
            "The call has ended",
            action="target_call_ended",
            code=outcome.code if isinstance(outcome, Failure) else "OK",
            seconds=round(time.monotonic() - started, 3),
        )
        return outcome

    def close(self) -> None:
        """Close all channels; calls in flight end as CANCELLED."""
        with self._lock:
            channels, self._channels = self._channels, {}
            self._callables.clear()
        for channel in channels.values():
            channel.close()

    def _call(self, claimed: Claimed, cancelled: Cancellation) -> Succeeded | Failure:
        try:
            address = self._targets.address(claimed.target_service)
            method, request = self._build(claimed)
        except InvalidInput as refused:
            code = _CODE_OF_FIELD.get(refused.violations[0].field, "INVALID_ARGUMENT")
            lacks = "; this worker's targets.yaml lacks it, and it is not registered" if code == TARGET_UNKNOWN else ""
            return self._failure(claimed, code, f"{refused}{lacks}")
        except Unavailable as away:
            return self._failure(claimed, "UNAVAILABLE", str(away))
        except FailedPrecondition as refused:
            return self._failure(claimed, "FAILED_PRECONDITION", str(refused))

        outcome = self._send(address, method, request, claimed, cancelled)
        if isinstance(outcome, Failure) and outcome.code == "UNIMPLEMENTED":
            # The target may have been deployed anew. Of a contract read anew the next execution profits; this one
            # only where its method is found under another path, so that nothing is called twice.
            self._targets.forget(claimed.target_service)
            try:
                again, request = self._build(claimed)
            except (InvalidInput, Unavailable, FailedPrecondition):
                return outcome
            if again.path != method.path:
                return self._send(address, again, request, claimed, cancelled)
        return outcome

    def _build(self, claimed: Claimed) -> tuple[Method, Message]:
        return self._targets.build(claimed.target_service, claimed.target_method, json.loads(claimed.parameters))

    def _send(
        self, address: str, method: Method, request: Message, claimed: Claimed, cancelled: Cancellation
    ) -> Succeeded | Failure:
        log.debug(
            "Calling the target",
            action="target_call_started",
            target=claimed.target_service,
            address=address,
            method=method.full_name,
            timeout_seconds=claimed.timeout.total_seconds(),
        )
        # Without wait_for_ready: a target that refuses connections is UNAVAILABLE now, not DEADLINE_EXCEEDED later.
        call = self._callable(address, method, type(request))
        in_flight = call.future(request, timeout=claimed.timeout.total_seconds(), metadata=call_metadata(claimed))
        cancelled.watch(in_flight.cancel)
        try:
            response = in_flight.result()
        except grpc.FutureCancelledError:
            return cancelled.failure or self._failure(claimed, "CANCELLED", "the channel was closed")
        except grpc.RpcError as error:
            return self._rpc_failure(error, claimed, cancelled)
        try:
            return Succeeded(method.result(response))
        except ValueError as error:
            # The work was done; to fail it now would have it done again.
            log.warning("The answer can't be shown", action="result_unreadable", reason=str(error))
            return Succeeded({"unreadable": str(error)})

    def _rpc_failure(self, error: grpc.RpcError, claimed: Claimed, cancelled: Cancellation) -> Failure:
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.CANCELLED and cancelled.failure is not None:
            return cancelled.failure
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and details in {"", "Deadline Exceeded"}:
            details = f"{claimed.target_service} did not answer within {claimed.timeout.total_seconds():g} s"
        return self._failure(claimed, code.name, details or f"{claimed.target_service} gave no reason")

    def _failure(self, claimed: Claimed, code: str, message: str) -> Failure:
        return Failure(code, message, retryable=claimed.retry.retries(code, self._retryable))

    def _callable(self, address: str, method: Method, request: type[Message]) -> Any:
        """Return what calls a method at an address; made anew when the contract was read anew."""
        with self._lock:
            known = self._callables.get((address, method.path))
            if known is not None and known[0] is method:
                return known[1]
            if address not in self._channels:
                self._channels[address] = self._connect(address)
            made = self._channels[address].unary_unary(
                method.path,
                request_serializer=request.SerializeToString,
                response_deserializer=method.response_class.FromString,
            )
            self._callables[address, method.path] = method, made
            return made


def call_metadata(claimed: Claimed) -> tuple[tuple[str, str], ...]:
    """Return what each call of an attempt carries beside its request."""
    return (
        (EXECUTION_ID, _ascii(claimed.execution_id)),
        (JOB_ID, _ascii(claimed.job_id)),
        (NOMINAL_TIME, rfc3339(claimed.nominal_time)),
        (ATTEMPT, str(claimed.attempt)),
        (TRACEPARENT, f"00-{claimed.trace_id}-{span_id_of(claimed.execution_id, claimed.attempt)}-01"),
    )


def span_id_of(execution_id: str, attempt: int) -> str:
    """Return the W3C span id (16 hex digits) of an attempt; derived, so that whoever asks later gets the same."""
    return md5(f"{execution_id}/{attempt}".encode(), usedforsecurity=False).hexdigest()[:16]


def _ascii(text: str) -> str:
    """Return a metadata value: gRPC refuses a call with any that is not printable ASCII; others are %-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_PRINTABLE)


_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F)))

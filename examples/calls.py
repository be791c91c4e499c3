"""What surrounds every call: the ids on its log lines, and what its failures look like to the caller."""

import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import grpc
from pymongo.errors import ConnectionFailure

from shared.log import bound, get_logger

log = get_logger()

# In quotes: only the stubs of these classes have type parameters.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_TRACEPARENT_PARTS = 4


class Calls(grpc.aio.ServerInterceptor):
    """Binds the ids of a call to its log lines, logs its outcome, and keeps internal errors inside.

    MongoDB not answering is UNAVAILABLE; any other exception is INTERNAL with an id that is also in the log.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the methods of our services; health checks and reflection pass as they are."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.unary_unary is None or method.startswith("/grpc."):
            return handler
        behaviour = handler.unary_unary

        async def call(request: Any, context: Context) -> Any:
            with bound(method=method, **log_ids(context.invocation_metadata() or ())):
                return await _answer(behaviour, request, context)

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


async def _answer(behaviour: Callable[[Any, Any], Any], request: Any, context: Context) -> Any:
    started = time.monotonic()
    log.info("Call received", action="call_started")
    code = "CANCELLED"  # by the caller, its deadline, or our stop; what is raised then is not an Exception
    try:
        response = await behaviour(request, context)
        code = "OK"
    except grpc.aio.AbortError:
        code = grpc.StatusCode(context.code()).name
        raise
    except ConnectionFailure as error:
        code = "UNAVAILABLE"
        log.warning("MongoDB does not answer", action="store_unavailable", error=type(error).__name__)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "MongoDB does not answer; try again later")
    except Exception:
        code, error_id = "INTERNAL", uuid.uuid4().hex
        log.exception("A call failed by a mistake of ours", action="call_crashed", error_id=error_id)
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error; the log has it under {error_id}")
    finally:
        log.info("Call ended", action="call_ended", code=code, seconds=round(time.monotonic() - started, 3))
    return response


def log_ids(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return the ids that the scheduler sends with a call, under the names of its own log lines."""
    sent = {key: value for key, value in metadata if isinstance(value, str)}
    ids = {
        "execution_id": sent.get("x-execution-id", ""),
        "job_id": sent.get("x-job-id", ""),
        "attempt": sent.get("x-attempt", ""),
        "trace_id": _trace_id(sent.get("traceparent", "")),
    }
    return {name: value for name, value in ids.items() if value}


def _trace_id(traceparent: str) -> str:
    """Return the trace id of a W3C `traceparent` (version-traceid-parentid-flags), or nothing when it is not one."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= _TRACEPARENT_PARTS else ""

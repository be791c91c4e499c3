"""Every metric of every process, with its labels: the one place that names them. docs/metrics.md is held to this."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from shared.log import get_logger
from shared.settings import stop

if TYPE_CHECKING:
    from collections.abc import Sequence

log = get_logger()

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600)

SERVER_REQUESTS: Final = Counter("scheduler_server_requests", "Requests answered.", ["method", "code"])
SERVER_DURATION: Final = Histogram(
    "scheduler_server_request_duration_seconds", "From a request to its answer.", ["method"], buckets=_SECONDS
)
SERVER_STREAMS: Final = Gauge("scheduler_server_streams", "Streams that are open.", ["method"])

SERVER_DRIFTED: Final = Gauge(
    "scheduler_server_drifted_jobs",
    "Jobs that do not fit their targets' contracts, by this server's last health check.",
)

BEAT_FIRES: Final = Counter(
    "scheduler_beat_fires", "Executions that this beat started: of schedules, and of backfills.", ["queue"]
)
BEAT_DECISIONS: Final = Counter(
    "scheduler_beat_decisions", "Occurrences decided by this beat, by what was decided.", ["decision"]
)
BEAT_LATENESS: Final = Histogram(
    "scheduler_beat_lateness_seconds",
    "From the nominal time of what a schedule fires to the broker's confirm.",
    buckets=(*_SECONDS, 60, 600),
)
BEAT_TICK: Final = Histogram("scheduler_beat_tick_duration_seconds", "One look for due jobs.", buckets=_SECONDS)
BEAT_TICK_FAILURES: Final = Counter("scheduler_beat_tick_failures", "Looks for due jobs that failed.")
BEAT_PARKED: Final = Counter("scheduler_beat_jobs_parked", "Jobs set aside because they cannot be planned.")
BEAT_RESCUE_FAILURES: Final = Counter("scheduler_beat_rescue_failures", "Attempts that could not be rescued.")
BEAT_NEWER: Final = Gauge("scheduler_beat_newer_jobs", "Jobs of this beat's partitions that only newer beats plan.")
BEAT_LEFT: Final = Counter(
    "scheduler_beat_jobs_left", "Times that a job was left to newer beats, for what one of them has decided of it."
)
BEAT_PARTITIONS: Final = Gauge("scheduler_beat_partitions", "Partitions that this beat holds, of 64.")
BEAT_CLOCK_SKEW: Final = Gauge("scheduler_beat_clock_skew_seconds", "This host's clock minus the database's.")
BEAT_RELAYED: Final = Counter("scheduler_beat_relayed", "Messages sent by the relay.", ["why"])
BEAT_RESCUED: Final = Counter("scheduler_beat_rescued", "Attempts taken from silent workers.", ["outcome"])
BEAT_PARTS: Final = Counter(
    "scheduler_beat_parts", "Parts of fan-outs and workflows that this beat started or skipped."
)
BEAT_WHOLES: Final = Counter(
    "scheduler_beat_wholes", "Fan-outs and workflows that ended when their parts had.", ["outcome"]
)
BEAT_ADVANCE_FAILURES: Final = Counter(
    "scheduler_beat_advance_failures",
    "Fan-outs and workflows that were ended because they cannot be read, and calls of a canvas that could not be made.",
)
BEAT_REVISED: Final = Counter(
    "scheduler_beat_jobs_revised", "Jobs that were given new zone rules or new days of a calendar.", ["why"]
)

PUBLISHED: Final = Counter("scheduler_published", "Messages that the broker confirmed.", ["queue"])
PUBLISH_FAILURES: Final = Counter("scheduler_publish_failures", "Messages that the broker did not confirm.", ["queue"])

WORKER_EXECUTIONS: Final = Counter("scheduler_worker_attempts", "Attempts that ended.", ["queue", "target", "outcome"])
WORKER_DURATION: Final = Histogram(
    "scheduler_worker_call_duration_seconds", "Of the call to the target.", ["target"], buckets=_LONG_SECONDS
)
WORKER_RETRIES: Final = Counter("scheduler_worker_retries", "Attempts that lead to another one.", ["target"])
WORKER_RUNNING: Final = Gauge("scheduler_worker_running", "Attempts in progress.")
WORKER_LEASES_LOST: Final = Counter("scheduler_worker_leases_lost", "Attempts given up because their lease had ended.")
WORKER_STRAYS: Final = Counter("scheduler_worker_stray_messages", "Messages that found nothing to do.")
WORKER_PARKED: Final = Counter("scheduler_worker_parked", "Executions ended because they cannot be read.")
WORKER_POISON: Final = Counter("scheduler_worker_poison_messages", "Messages that are not ours, and were rejected.")


LAST_PORT: Final = 65_535


def serve(host: str, port: int, *, alternatives: int = 0) -> None:
    """Serve the metrics over HTTP; on a taken port try the next ones, then end the process with one sentence.

    alternatives: how many further ports may be tried, for processes of which several run on one host.
    """
    ports: Sequence[int] = range(port, min(port + alternatives, LAST_PORT) + 1)
    for candidate in ports:
        try:
            start_http_server(candidate, addr=host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                stop(f"metrics cannot be served on {host}:{candidate}: {error}")
        else:
            log.info("metrics are served", action="metrics_serving", address=f"http://{host}:{candidate}/metrics")
            return
    stop(f"port {port} for metrics is taken: end what listens there, or set another one (*_METRICS_PORT)")

"""The Celery app's configuration: the same for beat, which publishes, and for workers, which consume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery import Celery, signals

from shared.domain.job import JobType
from shared.messaging.control import Control
from shared.messaging.queues import EXECUTIONS_EXCHANGE, Queues

if TYPE_CHECKING:
    from shared.settings import Settings

RUN_EXECUTION: Final = "scheduler.run_execution"
"""The one task that messages name; its argument is an execution id."""

ANSWER_TIMEOUT: Final = 10.0
"""Seconds without an answer, or in which nothing more can be written, after which a connection to RabbitMQ is given up.
By itself py-amqp would wait as long as the connection seems open: for ever, where a balancer takes the bytes and nobody
answers."""

OURS: Final = ("celery.", "scheduler.")
"""How the names of tasks begin that are not users': Celery's own, and the one that messages name."""


@signals.setup_logging.connect
def _keep_our_logs(**_: object) -> None:
    """Tell Celery that logging is set up: with a receiver of this signal it leaves that alone."""


def make_app(settings: Settings, queues: Queues, kind: type[Celery] = Celery) -> Celery:
    """Return a Celery app of the given kind. Connects to nothing until it is used."""
    app = kind("scheduler", broker=settings.celery_broker_url, backend=settings.celery_result_backend, control=Control)
    app.conf.update(
        task_queues=queues.declarations(),
        task_default_queue=queues.by_type[JobType.CUSTOM],
        task_default_exchange=EXECUTIONS_EXCHANGE.name,
        # A misspelt `-Q` fails instead of consuming a queue that nobody fills.
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        result_serializer="json",
        result_expires=settings.result_expires,
        enable_utc=True,
        timezone="UTC",
        # Late and one at a time: an early acknowledgement lets the broker push messages that then wait behind busy
        # slots while other workers are free.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # With the reduction, threads of the pool and the main thread read from the same connection after a reconnect,
        # and wait for each other until the broker gives the connection up: half a minute without a run (seen).
        worker_enable_prefetch_count_reduction=False,
        # STARTED is written after the claim, by the task: a stray copy must not overwrite a result with it.
        task_track_started=False,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        # A worker that reconnects before the broker has noticed that it was gone finds its own exclusive queue locked,
        # takes that for final, and ends (seen). One that is neither exclusive nor durable is refused by RabbitMQ 4.3; a
        # durable one is deleted when nobody has consumed it for control_queue_expires; its name is Control's to choose.
        control_queue_exclusive=False,
        control_queue_durable=True,
        control_queue_expires=10,
        broker_channel_error_retry=True,
        broker_heartbeat=10,
        broker_transport_options={"read_timeout": ANSWER_TIMEOUT, "write_timeout": ANSWER_TIMEOUT},
        # Redis away costs an attempt a moment, not its slot for minutes.
        redis_socket_connect_timeout=2,
        redis_socket_timeout=2,
        result_backend_transport_options={"retry_policy": {"timeout": 3.0, "max_retries": 2}},
        beat_scheduler="beat.scheduler:DatabaseScheduler",
        beat_max_loop_interval=0.5,
        worker_pool=settings.worker_pool,
        worker_max_tasks_per_child=settings.worker_max_tasks_per_child,
    )
    return app

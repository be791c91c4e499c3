"""The worker's composition root, with the one task that messages name. Loaded where Celery starts a worker.

What a process needs to run executions is built once a process, after a fork: gRPC channels and MongoDB clients do not
survive one. Importing this module connects to nothing.
"""

from __future__ import annotations

import logging
import os
import signal
from datetime import timedelta
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from billiard.process import current_process
from celery import bootsteps, signals
from celery.app.task import Task
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.exceptions import Ignore, Reject, Retry
from celery.platforms import EX_OK
from celery.worker import state as worker_state

from shared import garbage, metrics
from shared import log as logs
from shared.domain.execution import State
from shared.domain.zones import tzdata_version
from shared.heartbeat import Heartbeat
from shared.log import get_logger
from shared.messaging.app import RUN_EXECUTION
from shared.release import release
from shared.settings import stop
from shared.store.mongo import connect
from shared.store.processes import About, Kind
from shared.targets import RegistryError, load_targets
from shared.targets.registrations import Registrations
from shared.tasks.app import celery_app, own_backend, queues, settings
from shared.tasks.registry import load_tasks
from shared.tasks.results import ExecutionFailed, ResultCopy
from worker import interrupts, prefetch
from worker.app import name_of_pool
from worker.copies import Copies
from worker.keeper import Keeper
from worker.ledger import Ledger, StoppingError
from worker.orphans import Orphans
from worker.pool import Pool
from worker.progress import ProgressEvents
from worker.rates import RateLimits
from worker.results import copy_of, describe, has_copy
from worker.run import Runner
from worker.stopping import Stopping
from worker.target import TargetCaller
from worker.tasks import TaskCaller

if TYPE_CHECKING:
    from types import FrameType

    from worker.run import Outcome

log = get_logger()

OTHER_METRICS_PORTS: Final = 50
STORE_NAME: Final = "grpc-scheduler worker"
"""How MongoDB's logs and profiler name this process."""

try:
    _targets = load_targets(settings)
except RegistryError as refused:
    stop(str(refused))
_tasks = load_tasks(celery_app, settings.task_modules, queues)

_lock = Lock()
_runners: dict[int, Runner] = {}
_orphans: dict[str, Orphans] = {}
_results = ResultCopy(celery_app.backend)
_copies = Copies(_results)
_stopping = Stopping(settings.shutdown_grace)


def runner(worker: str) -> Runner:
    """Return this process's runner; build it, and start its keeper, when there is none yet."""
    with _lock:
        pid = os.getpid()
        if pid not in _runners:
            _runners.clear()  # a fork's copy of its parent's is of no use
            _runners[pid] = _build(worker)
        return _runners[pid]


def _build(worker: str) -> Runner:
    lease = timedelta(seconds=settings.execution_lease)
    database = connect(settings.mongodb_url, appname=STORE_NAME)
    ledger = Ledger(database, worker, lease, _stopping)
    keeper = Keeper(ledger, lease, _stopping, ProgressEvents(celery_app, worker).send)
    keeper.start()
    metrics.serve(settings.bind_host, settings.worker_metrics_port, alternatives=OTHER_METRICS_PORTS)
    Registrations(database, _targets).start()
    caller = TargetCaller(_targets, settings.retryable_codes)
    tasks = TaskCaller(
        _tasks,
        RateLimits(database, worker),
        settings.retryable_codes,
        worker,
        limits_by_signal=interrupts.in_main_thread(),
    )
    return Runner(ledger, keeper, caller, worker, tasks)


def orphans(worker: str) -> Orphans:
    """Return what the process that holds a prefork pool ends the attempts of dead children with."""
    if worker not in _orphans:
        lease = timedelta(seconds=settings.execution_lease)
        _orphans[worker] = Orphans(
            lambda: connect(settings.mongodb_url, appname=STORE_NAME),
            worker,
            lease,
            _stopping,
            # Not _results, which children inherit: one that is forked during a write would wait for that for ever.
            ResultCopy(own_backend()),
            settings.retryable_codes,
        )
    return _orphans[worker]


class _StopStep(bootsteps.StartStopStep):
    """Knows of every way in which a worker is stopped, before the pool waits for what runs."""

    requires = ("celery.worker.components:Pool",)

    def stop(self, worker: Any) -> None:
        _stopping.begin()
        if isinstance(worker.pool, PreforkPool):
            vars(worker.pool)["_pool"].kill_after_grace(_stopping)
        log.info("worker stops", action="worker_stopping", grace_seconds=settings.shutdown_grace)


celery_app.steps["worker"].add(_StopStep)
celery_app.conf.worker_consumer = "worker.consumer:Consumer"
PreforkPool.Pool = Pool


@signals.worker_ready.connect
def _stop_by_signal(**_: object) -> None:
    """Stop by the same rule whatever the signal and the pool.

    Celery's own handlers wait for what runs without end, or cut it off: those of SIGQUIT, and of a second SIGINT.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, _on_signal)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """Begin to stop; at the second signal, or SIGQUIT, without further grace. Logs nothing: locks may be held."""
    if _stopping.asked() or number == signal.SIGQUIT:
        _stopping.hurry()
    else:
        _stopping.begin()
    worker_state.should_stop = EX_OK  # type: ignore[assignment]


@celery_app.task(
    name=RUN_EXECUTION,
    bind=True,
    base=Task,
    # The copy of the result is ours to write: Celery would let Redis being away fail the task.
    ignore_result=True,
    throws=(ExecutionFailed,),
    Request="worker.request:Request",
)
def run_execution(self: Task[Any, Any], execution_id: str) -> Any:
    """Run an execution. The message is a hint: a duplicate or late one finds nothing to do."""
    if _stopping.asked():
        raise Reject("the worker stops", requeue=True)
    try:
        with interrupts.attempt():
            ours = runner(self.request.hostname or "worker")
            outcome = ours.run(execution_id)
            if outcome.state is None:
                # Its first worker may have died between the outcome and its copy.
                lacks = (self.request.delivery_info or {}).get("redelivered") and not _results.has_ended(execution_id)
            else:
                lacks = has_copy(outcome) and not _copy(execution_id, outcome, self.request)
            # Of what is to be tried again, the next attempt may have ended before this copy was written, over its own.
            if lacks or outcome.state is State.PENDING:
                ours.lacks_copy(execution_id)
    except StoppingError as stopping:
        raise Reject(str(stopping), requeue=True) from stopping
    if outcome.state is State.SUCCEEDED:
        return outcome.result
    if outcome.state is State.FAILED:
        raise ExecutionFailed(describe(outcome))
    if outcome.state is State.PENDING:
        # Celery and Flower call it a retry; the next message is the relay's to send.
        raise Retry(describe(outcome))
    raise Ignore(outcome.reason)


def _copy(execution_id: str, outcome: Outcome, request: Any) -> bool:
    """Write Celery's copy of an outcome, or leave it to be written soon; return whether that is done with."""
    if outcome.state is State.SUCCEEDED and not outcome.awaited and _copies.put(execution_id, outcome.result, request):
        return True
    return _results.write(execution_id, *copy_of(outcome), request=request)


@signals.setup_logging.connect
def _configure_logs(**_: object) -> None:
    logs.configure("celery-worker", settings.log_level, settings.log_format)
    for repeated in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(repeated).setLevel(logging.WARNING)  # our own lines say it with the ids
    logging.getLogger("celery.worker.request").addFilter(_tell_what_is_unacknowledged)


def _tell_what_is_unacknowledged(record: logging.LogRecord) -> bool:
    """Say in a line of ours what kombu says with a trace, as CRITICAL, of all that runs when a connection is lost."""
    if not str(record.msg).startswith(("Couldn't ack", "Couldn't reject")):
        return True
    log.warning("a message is not acknowledged", action="message_unacknowledged", reason=record.getMessage())
    return False


@signals.worker_ready.connect
def _build_early(sender: Any, **_: object) -> None:
    """Be complete before the first message; and serve metrics also while there is none."""
    if not isinstance(sender.pool, PreforkPool):
        runner(sender.hostname)
        _copies.start()
        signals.worker_shutdown.connect(lambda **_: _copies.stop(), weak=False)
        garbage.spare_what_is_there()
        garbage.look_less_often()


@signals.worker_ready.connect
def _say_alive(sender: Any, **_: object) -> None:
    """Begin to tell people that this worker lives: one heartbeat a worker, also where its pool has processes."""

    def about() -> About:
        return About(
            name=sender.hostname,
            kind=Kind.WORKER,
            version=release(),
            tzdata_version=tzdata_version(),
            queues=tuple(sorted(sender.app.amqp.queues.consume_from)),
            pool=name_of_pool(type(sender.pool)),
            concurrency=_size(sender.pool),
        )

    heartbeat = Heartbeat(connect(settings.mongodb_url, appname=STORE_NAME), about)
    heartbeat.start()
    signals.worker_shutdown.connect(lambda **_: heartbeat.stop(), weak=False)


@signals.worker_ready.connect
def _look_at_the_broker(sender: Any, **_: object) -> None:
    """Warn where RabbitMQ lets a worker hold what it has no slot for. The worker does not wait for that."""
    Thread(name="prefetch", target=prefetch.warn_unless_shared, args=(sender.app,), daemon=True).start()


def _size(pool: Any) -> int:
    """Return how many executions a pool runs at a time."""
    try:
        return int(pool.num_processes)
    except AttributeError:
        return 0  # a prefork pool that has been taken down: the worker ends


@signals.worker_process_init.connect
def _build_in_child(sender: str, **_: object) -> None:
    """Do the same in the processes of the prefork pool; the solo pool sends the signal in the worker itself."""
    interrupts.run_in_main_thread(is_worker=current_process().name == "MainProcess")
    runner(sender)

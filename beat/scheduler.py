"""The scheduler class that `celery beat` runs: it asks the database what is due, and never loads the schedule."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from celery.beat import Scheduler
from pymongo.errors import PyMongoError

from beat.advance import Advance
from beat.backfill import Backfills
from beat.calendars import Calendars
from beat.configured import Configured, read_entries, report_left
from beat.consequences import Consequences
from beat.copies import Copies
from beat.expire import Expire
from beat.fire import COMING, Fire
from beat.follow import Follow
from beat.look import Look, Sought
from beat.newer import OfNewerRelease
from beat.partitions import Partitions
from beat.relay import Relay
from beat.rescue import Rescue, StoreReturns
from beat.revise import Revise
from beat.rollup import LEASE, Rollup
from beat.zone_rules import ZoneRules
from beat.zones import Zones
from shared import log as logs
from shared import metrics
from shared.calendars import load_calendars
from shared.defaults import job_defaults
from shared.domain.errors import InvalidInput, Unavailable
from shared.domain.zones import tzdata_version
from shared.heartbeat import Heartbeat
from shared.log import get_logger
from shared.messaging.dispatcher import Sender
from shared.messaging.publisher import Publisher
from shared.messaging.queues import load_queues
from shared.release import release
from shared.settings import load_settings, stop
from shared.store import backfills, canvas, executions, parts, submitted
from shared.store.layout import lay_out
from shared.store.mongo import connect
from shared.store.processes import About, Kind
from shared.tasks.registry import load_tasks
from shared.tasks.results import ResultCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from celery import Celery

log = get_logger()

OTHER_METRICS_PORTS: Final = 20
HOUR: Final = 3600.0
AFTER_FAILURE: Final = 10.0
RENEWALS: Final = 3
"""Times that the partitions are renewed within their lease: one may fail, and after two they are lost for a while."""
BUSY: Final = 0.02
IDLE: Final = 0.2
"""Seconds between two looks at what waits for its parts, when the last one found something, and at the most: how long
after a step the next one starts. A look that finds nothing is one question, answered by four empty indexes, and for
firing by the first entries of a fifth."""
RECENT: Final = 1.2
"""Seconds for which backfills and the housekeeping trust a look of the relay's, which makes one a second; when it does
not, they make their own. A new backfill starts by so much later, and a lost worker is noticed so much later, and the
housekeeping's own rhythm, after its lease."""
BETWEEN_ROUNDS: Final = 5.0
"""Seconds between two rounds of the housekeeping when no look finds anything for it: jobs that are done are deleted by
these, and rescue compares the clocks of the database and of this host, which must not have drifted apart meanwhile.
Only these two: the rest is what the look is for."""
BETWEEN_ROLLUPS: Final = 5.0
"""Seconds between two looks for minutes that have ended."""
LEFT_TO_NEWER: Final = LEASE.total_seconds() + 2 * BETWEEN_ROLLUPS
"""Seconds for which a beat that met a row of a newer release does not roll up. Others look meanwhile, also when the
turn could not be given up; if it took it again first, it would keep that row from those that can read it."""
CLOSE_TIMEOUT: Final = 5.0
"""Seconds that messages which were handed over get when beat is stopped; the rest is the next beat's relay's."""


class DatabaseScheduler(Scheduler):
    """Beat's composition root: `celery beat` constructs it, so that it has to build what it needs itself.

    Celery constructs it twice, the first time with lazy=True, when it must not connect.
    """

    def __init__(self, app: Celery, **kwargs: Any) -> None:
        self._ready = False
        self._housekeeping: _Housekeeping | None = None
        self._failing_since: float | None = None
        self._asked_to_stop = False
        super().__init__(app, **kwargs)

    def setup_schedule(self) -> None:
        """Build the duties and start their threads. Nothing is asked of the servers yet: they may be away."""
        settings = load_settings()
        logs.configure("celery-beat", settings.log_level, settings.log_format)
        name = f"beat@{socket.gethostname()}:{os.getpid()}"
        returns = StoreReturns()
        self._database = connect(settings.mongodb_url, appname="grpc-scheduler beat", event_listeners=[returns])
        partitions = Partitions(self._database, name, timedelta(seconds=settings.partition_lease))
        queues = load_queues(settings.config_dir, settings.extra_queues)
        publisher = Publisher(self.app, queues)
        ended = Sought(
            executions.COLLECTION,
            (parts.settled_filter, parts.advance_filter, canvas.followed_filter, executions.uncopied_filter),
        )
        lease = timedelta(seconds=settings.execution_lease)
        overdue = Sought(
            executions.COLLECTION,
            (
                executions.expired_filter,
                partial(executions.ahead_filter, lease=lease),
                submitted.expired_filter,
                executions.may_pause_filter,
            ),
        )
        started = Sought(backfills.COLLECTION, (backfills.due_filter,))
        self._relay = Relay(
            self._database,
            partitions,
            Sender(self._database, publisher, name),
            publisher,
            sorted(queues.names),
            name,
            backfills=started,
            overdue=overdue,
        )
        look = Look(self._database, partitions, ended=ended, coming=COMING)
        self._fire = Fire(self._database, partitions, self._relay.hand_over, name, look)
        rescue = Rescue(self._database, partitions, returns, lease, name)
        self._zone_rules = ZoneRules(self._database)
        revise = Revise(self._database)
        zones = Zones(self._database, revise)
        known_calendars = load_calendars(settings.config_dir)
        self._revising = _Revising(zones, Calendars(self._database, known_calendars, revise))
        results = ResultCopy(self.app.backend)
        self._advancing = _Advancing(
            look,
            (
                Advance(self._database, partitions, self._relay.hand_over, name),
                Follow(self._database, partitions, self.app, results),
                Copies(self._database, partitions, self.app, results),
            ),
            self._relay.look,
            Backfills(self._database, partitions, self._relay.hand_over, name),
        )
        self._rollup = Rollup(self._database, name)
        self._rolling_up = _RollingUp(self._rollup)
        self._configured: Configured | None = None
        if settings.task_modules:
            defaults = job_defaults(settings, queues, known_calendars)
            try:
                entries = read_entries(self.app, load_tasks(self.app, settings.task_modules, queues), defaults)
            except InvalidInput as refused:
                stop(str(refused))
            self._configured = Configured(self._database, entries, defaults)
        self._partitions = partitions
        self._heartbeat = Heartbeat(
            self._database,
            lambda: About(
                name=name,
                kind=Kind.BEAT,
                version=release(),
                tzdata_version=tzdata_version(),
                partitions=len(partitions.held),
            ),
        )
        consequences = Consequences(self._database, partitions, name, timedelta(days=settings.undelete_days))
        expire = Expire(self._database, partitions, name)
        self._housekeeping = _Housekeeping(
            partitions,
            self._relay.look,
            (rescue, expire, consequences),
            (rescue.watch_clock, consequences.delete_done),
            settings.partition_lease / RENEWALS,
        )
        metrics.serve(settings.bind_host, settings.beat_metrics_port, alternatives=OTHER_METRICS_PORTS)
        # Celery's handlers close the scheduler inside the signal handler, where locks of the MongoDB client may be
        # held by the very frame that was interrupted.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        log.info("beat starts", action="beat_starting", name=name)

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """Fire what is due; return the seconds to sleep. Raises nothing but SystemExit: it would end beat."""
        if self._asked_to_stop:
            raise SystemExit(0)
        try:
            with metrics.BEAT_TICK.time():
                if not self._ready:
                    self._prepare()
                sleep = self._fire.run_once()
        except Exception as error:  # noqa: BLE001 - see the docstring
            metrics.BEAT_TICK_FAILURES.inc()
            self._note_failure(error)
            return 0.5
        if self._failing_since is not None:
            log.info("beat works again", action="tick_recovered", after=round(monotonic() - self._failing_since, 1))
            self._failing_since = None
        return sleep

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_stop = True

    def close(self) -> None:
        """Send what was handed over, and give the partitions back. May be called more than once."""
        housekeeping, self._housekeeping = self._housekeeping, None
        if housekeeping is None:
            return
        housekeeping.stop()
        self._revising.stop()
        self._advancing.stop()
        self._rolling_up.stop()
        if self._ready:
            self._relay.stop(CLOSE_TIMEOUT)
            try:
                self._partitions.close()
                self._rollup.close()
            except PyMongoError as error:
                log.warning("partitions were left to their leases", action="close_failed", error=str(error))
            self._heartbeat.stop()
        self._database.client.close()
        log.info("beat stopped", action="beat_stopped")

    def _prepare(self) -> None:
        """Make sure of all that beat needs in the store, from its collections to its partitions; start the threads."""
        lay_out(self._database)
        self._zone_rules.keep()
        if self._configured is not None:
            self._configured.run_once()
        else:
            report_left(self._database)
        self._partitions.prepare()
        self._partitions.run_once()
        if self._housekeeping is not None:
            self._housekeeping.start()
        self._revising.start()
        self._relay.start()
        self._advancing.start()
        self._rolling_up.start()
        self._heartbeat.start()
        self._ready = True
        log.info("beat is ready", action="beat_ready")

    def _note_failure(self, error: Exception) -> None:
        """Log the beginning of an outage of the store, and every failure of another kind."""
        if not isinstance(error, PyMongoError):
            log.error("tick failed", action="tick_failed", exc_info=error)
        elif self._failing_since is None:
            log.warning("the store cannot be reached", action="tick_failed", error=str(error))
        if self._failing_since is None:
            self._failing_since = monotonic()


class _Background(Thread):
    """A thread of beat; what it does until it is stopped is each one's own."""

    def __init__(self, name: str, patience: float = CLOSE_TIMEOUT) -> None:
        """patience: seconds that it gets to end when it is stopped."""
        super().__init__(name=name, daemon=True)
        self._patience = patience
        self._stopping = Event()

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(self._patience)


class _Housekeeping(_Background):
    """Renews the partitions, rescues, expires and draws the consequences, apart from firing: neither waits for it."""

    def __init__(
        self,
        partitions: Partitions,
        look: Look,
        duties: Sequence[Rescue | Expire | Consequences],
        unlooked_for: Sequence[Callable[[], object]],
        interval: float,
    ) -> None:
        """duties: run when the look has found something overdue.

        unlooked_for: what of them no look finds anything for; run every BETWEEN_ROUNDS when it has not.
        """
        super().__init__("housekeeping", patience=2 * interval)
        self._unlooked_for = unlooked_for
        self._partitions = partitions
        self._look = look
        self._duties = duties
        self._interval = interval
        self._next_round = 0.0

    def run(self) -> None:
        wait = self._interval
        while not self._stopping.wait(wait):
            began = monotonic()
            try:
                self._partitions.run_once()
                found = self._look.found(since=monotonic() - RECENT)
                if monotonic() >= self._next_round or "overdue" in found:
                    self._next_round = monotonic() + BETWEEN_ROUNDS
                    duties = [duty.run_once for duty in self._duties] if "overdue" in found else self._unlooked_for
                    for duty in duties:
                        duty()
            except PyMongoError as error:
                log.warning("the store cannot be reached", action="housekeeping_failed", error=str(error))
            except Exception:  # a thread that ended unnoticed would lose the partitions
                log.exception("housekeeping failed", action="housekeeping_failed")
            # The leases go on meanwhile, however long the rest has taken.
            wait = max(0.0, self._interval - (monotonic() - began))


class _Advancing(_Background):
    """Goes on with what has ended a part, apart from firing: a fan-out of ten thousand items takes seconds."""

    def __init__(
        self,
        look: Look,
        duties: Sequence[Advance | Follow | Copies],
        look_for_backfills: Look,
        backfills: Backfills,
    ) -> None:
        super().__init__("advancing")
        self._look = look
        self._duties = duties
        self._look_for_backfills = look_for_backfills
        self._backfills = backfills

    def run(self) -> None:
        wait = IDLE
        while not self._stopping.wait(wait):
            try:
                wait = BUSY if self._run_once() else min(IDLE, 2 * wait)
            except (PyMongoError, Unavailable) as error:
                wait = AFTER_FAILURE / 10
                log.warning("the store cannot be reached", action="advance_failed", error=str(error))
            except Exception:  # a thread that ended unnoticed would leave all that waits for its parts
                wait = AFTER_FAILURE
                log.exception("advancing failed", action="advance_failed")

    def _run_once(self) -> bool:
        """Do what there is to do; return whether there was anything."""
        busy = [duty.run_once() for duty in self._duties] if "ended" in self._look.found() else []
        if "backfills" in self._look_for_backfills.found(since=monotonic() - RECENT):
            busy.append(self._backfills.run_once())
        return any(busy)


class _RollingUp(_Background):
    """Counts what has ended, apart from what may not wait; and rests as long as it worked, so as to take no more."""

    def __init__(self, rollup: Rollup) -> None:
        super().__init__("rolling-up")
        self._rollup = rollup

    def run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            began = monotonic()
            try:
                wait = monotonic() - began if self._rollup.run_once() else BETWEEN_ROLLUPS
            except OfNewerRelease as error:
                wait = LEFT_TO_NEWER
                log.warning("rolling up is left to a newer beat", action="rollup_left_to_newer", error=str(error))
                with suppress(PyMongoError):  # the lease ends by itself
                    self._rollup.close()
            except PyMongoError as error:
                wait = AFTER_FAILURE
                log.warning("the store cannot be reached", action="rollup_failed", error=str(error))
            except Exception:  # the thread is to try again
                wait = AFTER_FAILURE
                log.exception("rolling up failed", action="rollup_failed")


class _Revising(_Background):
    """Looks for zones and calendars that have changed: at start and every hour, apart from what may not wait."""

    def __init__(self, zones: Zones, calendars: Calendars) -> None:
        super().__init__("revising")
        self._zones = zones
        self._calendars = calendars

    def run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = 0.0 if self._zones.run_once() or self._calendars.run_once() else HOUR
            except PyMongoError as error:
                wait = AFTER_FAILURE
                log.warning("the store cannot be reached", action="revising_failed", error=str(error))
            except Exception:  # the thread is to try again
                wait = HOUR
                log.exception("looking for changed zones and calendars failed", action="revising_failed")

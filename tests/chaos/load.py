"""The work that goes on meanwhile: jobs of several kinds, and clients that edit, pause, delete and run them by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from random import Random
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict

from shared.proto import scheduler_service_pb2 as pb
from shared.proto import scheduler_service_pb2_grpc as pb_grpc
from tests.chaos.plans import EVERY, FILLED, SHIFTED, Plans

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

STEADY: Final = 8
"""Jobs that fire every second and are left alone: what shows that the service is whole."""

CHURNED: Final = 12
"""Jobs that clients change all the time."""

LONG: Final = 3
"""Jobs whose calls outlast a lease."""

TYPES: Final = (pb.SCRAPING, pb.ANALYSIS, pb.MONITORING, pb.MAINTENANCE, pb.CUSTOM)
"""So that all queues are used."""

TRANSIENT: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
PATIENCE: Final = 4.0
"""Seconds that a request may take before it is sent again."""

LONGEST_OUTAGE: Final = 120.0
"""Seconds after which a server that gives no answer counts as lost; no fault takes that long."""


REMEMBERED: Final = 15
"""Requests that may be made again. A job's document knows its last 20 edits, should an answer not have been noted."""


@dataclass(frozen=True)
class Acknowledged:
    """What the server has promised to a client."""

    what: str
    """created, paused, resumed, deleted, undeleted, rescheduled, executed, cancelled."""
    job_id: str
    token: str = ""
    """The reason that was given; of an execution, its id."""
    attempt: int = 0
    """Of a cancelled execution: the attempt that still ran then, which may be answered before it is reached; or 0."""


@dataclass
class Churned:
    """A job that clients change, and what they know of it."""

    job_id: str
    seconds: int
    paused: bool = False
    deleted: bool = False


class Load(Thread):
    """Creates its jobs at once, then changes some of them until stopped."""

    def __init__(self, address: str, seed: int, fires_per_second: float, lease: float) -> None:
        super().__init__(name="load", daemon=True)
        self.acknowledged: list[Acknowledged] = []
        self.answered: list[float] = []
        """When the server has answered a request, in seconds since the epoch."""
        self.refused: list[str] = []
        """Answers that no outage explains: each is a violation."""
        self.jobs: list[str] = []
        self._channel = grpc.insecure_channel(address, options=_RECONNECT)
        self._stub = pb_grpc.SchedulerServiceStub(self._channel)
        self._random = Random(seed)
        self._lease = lease
        self._fires_per_second = fires_per_second
        self._stopping = Event()
        self._given_up = False
        self._churned: list[Churned] = []
        self._shifted = [Churned(job_id, EVERY) for job_id in SHIFTED]
        self._answers: list[tuple[Callable[..., Any], Any, Any]] = []
        self.repeated = 0
        self.plans = Plans(self._channel, self._ask, Random(seed + 1))
        self._numbers = count(1)

    def create(self) -> None:
        """Create all jobs."""
        for number in range(STEADY):
            # Of every second one no execution waits for a lost one: it tells of faults soon after a purge as well.
            policies = pb.Policies(overlap=pb.Policies.OVERLAP_ALLOW, max_concurrent=200) if number % 2 else None
            self._create(f"steady-{number}", {"seconds": "1"}, TYPES[number % len(TYPES)], policies, seconds=0.3)
        # What makes up the number of fires. Half by interval, half by cron, as two engines of our own are behind them.
        for number in range(max(0, round(self._fires_per_second) - STEADY)):
            schedule = {"seconds": "1"} if number % 2 else {"expression": "* * * * * *"}
            self._create(f"bulk-{number}", schedule, TYPES[number % len(TYPES)])
        self._create("short", {"seconds": "2"}, pb.SCRAPING, seconds=0.7)
        self._create("cron", {"expression": "*/3 * * * * *"}, pb.SCRAPING, seconds=1.5)
        for number in range(LONG):
            self._create(f"long-{number}", {"seconds": str(3 + number)}, pb.ANALYSIS, seconds=self._lease * 1.5)
        self._create("fails-once", {"seconds": "2"}, pb.MONITORING, fail_code="UNAVAILABLE", fail_attempts=1)
        self._create("fails-late", {"seconds": "5"}, pb.CUSTOM, fail_code="UNAVAILABLE", fail_attempts=2, seconds=0.4)
        self._create("fails-always", {"seconds": "7"}, pb.CUSTOM, fail_code="UNAVAILABLE")
        self._create("is-refused", {"seconds": "6"}, pb.MAINTENANCE, fail_code="INVALID_ARGUMENT")
        for name, (schedule, seconds, policies) in (POLICIES | SHIFTED | FILLED).items():
            self._create(name, schedule, pb.CUSTOM, policies, seconds=seconds)
        for name, (seconds, flow) in FLOWS.items():
            self._create_flow(name, {"seconds": str(seconds)}, flow)
        for _ in range(CHURNED):
            self._churned.append(self._new_churned())

    def run(self) -> None:
        """Change jobs until stopped, as two clients at a time: the one edits, the other plans."""
        planner = Thread(target=self._plan, name="plans", daemon=True)
        planner.start()
        while not self._stopping.wait(self._random.uniform(0.05, 0.4)):
            self.step()
        planner.join()

    def _plan(self) -> None:
        random = self.plans.random
        while not self._stopping.wait(random.uniform(0.05, 0.4)):
            what = random.choices(("shift", "fill", "pause"), (30, 10, 2))[0]
            if what == "shift":
                self.plans.shift()
            elif what == "fill":
                self.plans.fill()
            else:
                self._pause_or_resume(random.choice(self._shifted))

    def step(self) -> None:
        """Change one job, and wait until the server has promised it."""
        index = self._random.randrange(len(self._churned))
        job = self._churned[index]
        what = self._random.choices(
            ("pause", "reschedule", "edit", "delete", "execute", "cancel", "retry", "repeat"),
            (30, 25, 10, 8, 15, 15, 5, 10),
        )[0]
        if what == "repeat":
            self._repeat()
        elif what == "cancel":
            self._cancel()
        elif what == "retry":
            self._retry()
        elif job.deleted:
            self._undelete_or_replace(index)
        else:
            self._change_one(job, what)

    def _change_one(self, job: Churned, what: str) -> None:
        if what == "pause":
            self._pause_or_resume(job)
        elif what == "reschedule":
            job.seconds = job.seconds % 4 + 1
            update = pb.ScheduledJob(schedule_config=_schedule({"seconds": str(job.seconds)}))
            self._ask(self._stub.UpdateScheduledJob, pb.UpdateScheduledJobRequest(job_id=job.job_id, job=update))
            self._note("rescheduled", job.job_id)
        elif what == "edit":
            update = pb.ScheduledJob(description=f"edited, and edited again {self._next()} times")
            self._ask(self._stub.UpdateScheduledJob, pb.UpdateScheduledJobRequest(job_id=job.job_id, job=update))
        elif what == "delete":
            token = f"deleted {self._next()}"
            request = pb.DeleteScheduledJobRequest(
                job_id=job.job_id, reason=token, cancel_running=self._random.random() < 0.5
            )
            self._ask(self._stub.DeleteScheduledJob, request)
            self._note("deleted", job.job_id, token)
            self.jobs.remove(job.job_id)
            job.deleted = True
        else:
            self._execute(job.job_id)

    def _undelete_or_replace(self, index: int) -> None:
        """Take a deletion back, or leave the job deleted and have a new one in its place."""
        job = self._churned[index]
        if self._random.random() < 0.4:
            self._churned[index] = self._new_churned()
            return
        token = f"undeleted {self._next()}"
        request = pb.UndeleteScheduledJobRequest(job_id=job.job_id, reason=token)
        answer = self._ask(self._stub.UndeleteScheduledJob, request)
        if answer is None:
            return
        self._note("undeleted", job.job_id, token)
        self.jobs.append(job.job_id)
        job.deleted = False
        if (answer.job.state == pb.ScheduledJob.STATE_PAUSED) is not job.paused:
            self.refused.append(f"{job.job_id} was undeleted, and is not as it was: {answer.job.state}")

    def _repeat(self) -> None:
        """Make a request again that was answered a while ago: it gets the first answer, and does nothing."""
        if not self._answers:
            return
        method, request, first = self._random.choice(self._answers)
        answer = self._ask(method, request)
        self.repeated += 1
        # Of what was run by hand the answer shows how it is by now.
        if answer is not None and (_identity(answer) or answer) != (_identity(first) or first):
            self.refused.append(f"{type(request).__name__} {request}: {first}, and when repeated {answer}")

    def stop(self) -> None:
        """End the thread, when the request that it is about has been answered."""
        self._stopping.set()
        self.join()

    def pause_all(self) -> None:
        """Pause all jobs that are left, so that the ledger comes to an end that can be judged."""
        paused = {job.job_id for job in (*self._churned, *self._shifted) if job.paused}
        for job_id in self.jobs:
            if job_id not in paused:
                self._change(self._stub.PauseScheduledJob, pb.PauseScheduledJobRequest, "paused", job_id)

    def hang_up(self) -> None:
        """Close the connection to the server; nothing can be asked after it."""
        self._given_up = True
        if self.is_alive():
            self.stop()
        self._channel.close()

    def look(self) -> None:
        """Ask the server for something, once, with little patience: does it answer?"""
        try:
            self._stub.GetJobStatus(pb.GetJobStatusRequest(job_id="steady-0"), timeout=1)
        except grpc.RpcError:
            return
        self.answered.append(time.time())

    def _execute(self, job_id: str) -> str:
        """Run a job by hand, and return the execution's id; empty when that was refused."""
        request = pb.ExecuteJobRequest(job_id=job_id)
        answer = self._ask(self._stub.ExecuteJobNow, request)
        if answer is None:
            return ""
        self._note("executed", job_id, answer.execution_id)
        return str(answer.execution_id)

    def _cancel(self) -> None:
        """Cancel a run of a job with long calls, or with parts: one by hand, which has just begun, or the latest."""
        job_id = self._random.choice([*(f"long-{number}" for number in range(LONG)), *FLOWS])
        if self._random.random() < 0.5:
            execution_id = self._execute(job_id)
        else:
            states = [
                pb.Execution.STATE_PENDING,
                pb.Execution.STATE_QUEUED,
                pb.Execution.STATE_RUNNING,
                pb.Execution.STATE_WAITING,
            ]
            found = self._ask(self._stub.ListExecutions, pb.ListExecutionsRequest(job_id=job_id, states=states))
            execution_id = found.executions[0].execution_id if found and found.executions else ""
        if not execution_id:
            return
        request = pb.CancelExecutionRequest(execution_id=execution_id, reason="as clients do")
        # It may have ended meanwhile, or by a try whose answer was lost.
        answer = self._ask(self._stub.CancelExecution, request, {grpc.StatusCode.FAILED_PRECONDITION})
        if answer is not None:
            runs = answer.execution.state == pb.Execution.STATE_RUNNING
            attempt = answer.execution.attempt if runs else 0
            self.acknowledged.append(Acknowledged("cancelled", job_id, execution_id, attempt))

    def _retry(self) -> None:
        """Have an execution that failed for good tried anew, as one of its own; of parts those that failed."""
        job_id = self._random.choice(("is-refused", *FLOWS))
        states = [pb.Execution.STATE_FAILED, pb.Execution.STATE_CANCELLED]
        found = self._ask(self._stub.ListExecutions, pb.ListExecutionsRequest(job_id=job_id, states=states))
        if found is None or not found.executions:
            return
        request = pb.RetryExecutionRequest(execution_id=found.executions[0].execution_id)
        # It may be retried already, by an earlier request of ours.
        answer = self._ask(self._stub.RetryExecution, request, {grpc.StatusCode.FAILED_PRECONDITION})
        if answer is not None:
            self._note("executed", job_id, answer.execution_id)

    def _pause_or_resume(self, job: Churned) -> None:
        if job.paused:
            self._change(self._stub.ResumeScheduledJob, pb.ResumeScheduledJobRequest, "resumed", job.job_id)
        else:
            self._change(self._stub.PauseScheduledJob, pb.PauseScheduledJobRequest, "paused", job.job_id)
        job.paused = not job.paused

    def _change(self, method: Callable[..., Any], request: Callable[..., Any], what: str, job_id: str) -> None:
        token = f"{what} {self._next()}"
        self._ask(method, request(job_id=job_id, reason=token))
        self._note(what, job_id, token)

    def _new_churned(self) -> Churned:
        job = Churned(f"churned-{self._next()}", self._random.randint(1, 4))
        seconds = self._random.choice((0.0, 0.0, 0.3, 1.0))
        self._create(job.job_id, {"seconds": str(job.seconds)}, self._random.choice(TYPES), seconds=seconds)
        return job

    def _create(
        self,
        job_id: str,
        schedule: dict[str, str],
        job_type: pb.JobType,
        policies: pb.Policies | None = None,
        **parameters: object,
    ) -> None:
        request = pb.CreateScheduledJobRequest(
            job_id=job_id,
            name=f"Job {job_id}",
            job_type=job_type,
            target_service="recorder",
            target_method="Record",
            parameters={"label": job_id, **parameters},
            schedule_config=_schedule(schedule),
            policies=policies,
        )
        self._send_creation(request)

    def _create_flow(self, job_id: str, schedule: dict[str, str], flow: dict[str, Any]) -> None:
        request = pb.CreateScheduledJobRequest(
            job_id=job_id, name=f"Job {job_id}", job_type=pb.CUSTOM, schedule_config=_schedule(schedule)
        )
        self._send_creation(ParseDict(flow, request))

    def _send_creation(self, request: pb.CreateScheduledJobRequest) -> None:
        job_id = request.job_id
        retry = pb.RetryPolicy(max_attempts=5, multiplier=1)
        retry.initial_backoff.FromTimedelta(timedelta(seconds=0.3))
        request.retry_policy.CopyFrom(retry)
        request.timeout.FromTimedelta(timedelta(seconds=60))
        self._ask(self._stub.CreateScheduledJob, request)
        self.jobs.append(job_id)
        self._note("created", job_id)

    def _ask(
        self,
        method: Callable[..., Any],
        request: Any,
        fine: AbstractSet[grpc.StatusCode] = frozenset(),
    ) -> Any:
        """Send a request until the server answers; None when it answers that there is nothing to do, by `fine`.

        What changes something has a request id, so that a repeated one gets the first answer, whatever has happened.
        """
        changes = "request_id" in request.DESCRIPTOR.fields_by_name
        if changes and not request.request_id:
            request.request_id = f"request {self._next()}"
        deadline = time.monotonic() + LONGEST_OUTAGE
        while True:
            try:
                answer = method(request, timeout=PATIENCE)
            except grpc.RpcError as error:
                if error.code() in TRANSIENT and time.monotonic() < deadline and not self._given_up:
                    time.sleep(0.2)
                    continue
                if error.code() not in fine:
                    said = str(request).replace("\n", " ")
                    self.refused.append(f"{type(request).__name__} {said}: {error.code()} {error.details()}")
                return None
            self.answered.append(time.time())
            if changes:
                self._answers = [*self._answers[1 - REMEMBERED :], (method, request, answer)]
            return answer

    def _note(self, what: str, job_id: str, token: str = "") -> None:
        self.acknowledged.append(Acknowledged(what, job_id, token))

    def _next(self) -> int:
        return next(self._numbers)


LATE: Final = Duration(seconds=1)
POLICIES: Final = {
    "buffers-one": ({"seconds": "2"}, 3.0, pb.Policies(overlap=pb.Policies.OVERLAP_BUFFER_ONE)),
    "buffers-all": ({"seconds": "3"}, 2.0, pb.Policies(overlap=pb.Policies.OVERLAP_BUFFER_ALL, buffer_limit=4)),
    "cancels-previous": ({"seconds": "4"}, 7.0, pb.Policies(overlap=pb.Policies.OVERLAP_CANCEL_PREVIOUS)),
    "allows": ({"seconds": "1"}, 1.5, pb.Policies(overlap=pb.Policies.OVERLAP_ALLOW, max_concurrent=4)),
    "fires-all": (
        {"seconds": "2"},
        0.1,
        pb.Policies(misfire=pb.Policies.MISFIRE_FIRE_ALL, misfire_limit=5, misfire_grace=LATE),
    ),
    "skips-late": ({"seconds": "1"}, 0.1, pb.Policies(misfire=pb.Policies.MISFIRE_SKIP, misfire_grace=LATE)),
    "fails-when-lost": ({"seconds": "4"}, 3.0, pb.Policies(on_worker_lost=pb.Policies.WORKER_LOST_FAIL)),
}
"""Jobs with other than the default policies: schedule, seconds of a call, policies."""

_RECORD: Final = {"target_service": "recorder", "target_method": "Record"}
_ITEM: Final = {
    "label": "${item.label}",
    "seconds": 0.1,
    "fail_code": "${item.code || ''}",
    "fail_attempts": "${item.attempts || `0`}",
}


def _items(label: str, number: int, **codes: str) -> list[dict[str, Any]]:
    """Return items of which some fail: those with these numbers, with these codes; for UNAVAILABLE only once."""
    failing = {int(name.removeprefix("n")): code for name, code in codes.items()}
    return [
        {
            "label": f"{label}-{item}",
            **({"code": code, "attempts": int(code == "UNAVAILABLE")} if (code := failing.get(item)) else {}),
        }
        for item in range(number)
    ]


FLOWS: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "fans-out": (
        4,
        {
            **_RECORD,
            "parameters": _ITEM,
            "fan_out": {
                "items": _items("fans-out", 12, n3="INVALID_ARGUMENT", n7="UNAVAILABLE", n11="INVALID_ARGUMENT"),
                "max_parallel": 3,
                "failure_policy": "FAILURE_POLICY_SHARE",
                "min_share": 0.75,
            },
        },
    ),
    "fans-out-strictly": (
        7,
        {
            **_RECORD,
            "parameters": _ITEM,
            "fan_out": {"items": _items("fans-out-strictly", 20, n4="INVALID_ARGUMENT", n9="UNAVAILABLE")},
        },
    ),
    "flows": (
        5,
        {
            "workflow": {
                "steps": [
                    {
                        "name": "collect",
                        **_RECORD,
                        "parameters": {"label": "flows-collect", "fail_code": "UNAVAILABLE", "fail_attempts": 1},
                    },
                    {
                        "name": "each",
                        "after": ["collect"],
                        **_RECORD,
                        "parameters": _ITEM,
                        "fan_out": {"items": _items("flows-each", 5, n2="UNAVAILABLE"), "max_parallel": 2},
                    },
                    {
                        "name": "alarm",
                        "after": ["collect"],
                        **_RECORD,
                        "parameters": {"label": "flows-alarm"},
                        "when": "steps.collect.result.calls < `0`",
                    },
                    {
                        "name": "report",
                        "after": ["each", "alarm"],
                        "requires": "REQUIRES_END",
                        **_RECORD,
                        "parameters": {"label": "flows-report", "seconds": 0.2},
                    },
                ]
            }
        },
    ),
}
"""Jobs whose executions have parts: seconds between two, and what they do."""

_RECONNECT: Final = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 500))


def _identity(answer: Any) -> str:
    return str(getattr(answer, "execution_id", ""))


def _schedule(config: dict[str, str]) -> pb.ScheduleConfig:
    return pb.ScheduleConfig(type="cron" if "expression" in config else "interval", config=config)

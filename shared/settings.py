"""The environment, parsed once at start into a frozen object; a wrong value stops the process with one sentence."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, NoReturn
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.uri_parser import parse_uri

from shared.domain.errors import InvalidInput
from shared.domain.job import LARGEST_PARAMETERS, LONGEST_NAME
from shared.domain.policies import LARGEST_LIMIT, LONGEST_GRACE, Misfire, Overlap, Policies, WorkerLost
from shared.domain.retry import GRPC_CODES, LONGEST_BACKOFF, Jitter, RetryPolicy, RetryWindow

LARGEST_PAGE = 1_000
"""Entries of a page, whatever the settings say."""

PREFORK_CONCURRENCY = 8
"""Processes of a worker whose pool is prefork, where nobody says how many: each takes as much memory as a worker."""

_YEAR = 366 * 86400.0


def _at_most_a_year(seconds: float) -> float:
    if seconds > _YEAR:
        raise ValueError(f"{seconds:g} s is more than a year")
    return seconds


Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_at_most_a_year)]
Backoff = Annotated[float, Field(ge=0, le=LONGEST_BACKOFF.total_seconds(), allow_inf_nan=False)]

Grace = Annotated[float, Field(ge=0, le=LONGEST_GRACE.total_seconds(), allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=1, le=LARGEST_LIMIT)]


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        # The value itself is not repeated in the sentence: it may hold a password.
        if urlsplit(url).scheme not in schemes:
            raise ValueError(f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if url.partition("://")[2].split("/")[0].count("@") > 1:
            raise ValueError("an @ in the user's name or password must be written as %40")
        if url.startswith("mongodb://"):
            try:
                parse_uri(url)
            except (InvalidURI, ConfigurationError, ValueError) as error:
                raise ValueError(f"not an address of MongoDB: {error}") from None
        return url

    return AfterValidator(check)


def _codes(given: frozenset[str]) -> frozenset[str]:
    if unknown := sorted(given - set(GRPC_CODES)):
        raise ValueError(f"{', '.join(unknown)}: no such gRPC status code (known: {', '.join(GRPC_CODES)})")
    return given


def pool_name(given: str) -> str:
    """Return our name of a pool; Celery has two for prefork."""
    return "prefork" if given == "processes" else given


class Settings(BaseSettings):
    """Every setting of every process. Names are the environment's, in lower case; the README's table is held to it."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    mongodb_url: Annotated[str, _url("mongodb", "mongodb+srv")] = Field(
        "mongodb://localhost:27017/scheduler",
        repr=False,
        description="MongoDB, with the database's name (default `scheduler`).",
    )
    celery_broker_url: Annotated[str, _url("amqp", "amqps", "pyamqp")] = Field(
        "amqp://guest:guest@localhost:5672//", repr=False, description="RabbitMQ."
    )
    celery_result_backend: Annotated[str, _url("redis", "rediss")] = Field(
        "redis://localhost:6379/0", repr=False, description="Redis, for Celery's copy of the results."
    )
    grpc_port: Port = Field(50054, description="Port of the gRPC server.")
    bind_host: str = Field(
        "127.0.0.1", description="Where the gRPC server and the metrics listen; 0.0.0.0 in a container."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log events shown."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`json`, `console`, or `auto`: like `console`, whose colours are for terminals only."
    )
    scraper_service_url: str = Field("localhost:50053", description="Address of the target scraper-service.")
    pricing_service_url: str = Field("localhost:50052", description="Address of the target pricing-service.")
    scheduler_service_url: str = Field(
        "", description="Address of the target scheduler-service; empty: localhost and `GRPC_PORT`."
    )
    config_dir: Path = Field(
        Path(__file__).parent.parent / "config",
        description="Folder of jobs.yaml, targets.yaml, queues.yaml and calendars.",
    )
    target_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*",), description="Hosts that `RegisterTarget` may name, comma-separated, as `*.internal,10.1.*`. Workers "
        "send calls there, so narrow it where not everybody who may register a target may reach every host. `none`: no "
        "target may be registered."
    )  # fmt: skip
    task_modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Modules with tasks in Python, comma-separated, importable by every process (`PYTHONPATH`)."
    )
    extra_queues: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Queues beside those of queues.yaml, comma-separated; the same for every process."
    )
    job_timeout: Seconds = Field(
        1800, le=86400, description="Seconds that an attempt may take, for jobs that do not say. Raise RabbitMQ's "
        "consumer_timeout with it."
    )  # fmt: skip
    retry_max_attempts: int = Field(4, description="Attempts in all, the first one included, for jobs that do not say.")
    retry_initial_backoff: Backoff = Field(
        60, description="Seconds before the second attempt, for jobs that do not say."
    )
    retry_max_backoff: Backoff = Field(600, description="Longest wait between attempts, for jobs that do not say.")
    retry_multiplier: float = Field(
        2, allow_inf_nan=False, description="Growth of the wait between attempts, for jobs that do not say."
    )
    retry_jitter: Jitter = Field(
        Jitter.PROPORTIONAL, description="How much the wait between attempts varies, for jobs that do not say: "
        "`PROPORTIONAL` (by a fifth), `FULL` (anything up to it) or `NONE`."
    )  # fmt: skip
    retry_window: RetryWindow = Field(
        RetryWindow.UNLIMITED, description="Until when there are attempts, for jobs that do not say: `UNLIMITED`, or "
        "`UNTIL_NEXT` (not at or after the next nominal time)."
    )  # fmt: skip
    retryable_codes: Annotated[frozenset[str], NoDecode, AfterValidator(_codes)] = Field(
        frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}),
        description="gRPC status codes of a target that are retried, comma-separated, for jobs that do not say.",
    )
    misfire_policy: Misfire = Field(
        Misfire.FIRE_LATEST, description="What becomes of occurrences that are found late: `FIRE_LATEST`, `FIRE_ALL` "
        "or `SKIP`; for jobs that do not say, as all policies here."
    )  # fmt: skip
    misfire_grace: Grace = Field(60, description="Seconds that an occurrence may be late and still count as on time.")
    misfire_limit: Limit = Field(100, description="How many late occurrences `FIRE_ALL` fires at most, the latest.")
    overlap_policy: Overlap = Field(
        Overlap.SKIP, description="What becomes of an occurrence while an earlier one runs: `SKIP`, `BUFFER_ONE`, "
        "`BUFFER_ALL`, `CANCEL_PREVIOUS` or `ALLOW`."
    )  # fmt: skip
    buffer_limit: Limit = Field(100, description="How many occurrences `BUFFER_ALL` lets wait.")
    max_concurrent: Limit = Field(10, description="How many executions of a job `ALLOW` lets run at a time.")
    on_worker_lost: WorkerLost = Field(
        WorkerLost.RETRY, description="What becomes of an attempt whose worker fell silent: `RETRY` or `FAIL`."
    )
    pause_on_failure: int = Field(
        0, ge=0, le=LARGEST_LIMIT, description="Failed executions in a row after which a job is paused; 0 means never."
    )
    delete_after_done: bool = Field(False, description="Whether a job is deleted after its last execution.")
    execution_lease: Seconds = Field(
        15, ge=1, description="Seconds after which the execution of a worker that fell silent is given to another. "
        "Shorter recovers sooner, but a pause of the host may then look like a death."
    )  # fmt: skip
    partition_lease: Seconds = Field(
        3, ge=0.5, description="Seconds after which the jobs of a beat that fell silent are taken over by the others."
    )
    result_expires: Seconds = Field(3600, description="Seconds that Redis keeps Celery's copy of a result.")
    undelete_days: int = Field(30, ge=1, le=36_525, description="Days within which a deleted job can be undeleted.")
    retention_days: int = Field(90, ge=1, le=36_525, description="Days that the records of ended executions are kept.")
    consumer_timeout: Seconds = Field(
        43200, description="RabbitMQ's consumer_timeout in seconds; a job whose timeout is longer is warned about."
    )
    peak_fires_per_minute: int = Field(
        0, ge=0, le=10_000_000, description="Fires in one minute beyond which a job that adds to them is warned about, "
        "and the forecast calls it a peak; 0 means never."
    )  # fmt: skip
    worker_concurrency: int = Field(
        32, ge=1, description="Executions that one worker runs at a time. Where nobody says it, 8 in the `prefork` "
        "pool, of which each is a process. Always one in the `solo` pool."
    )  # fmt: skip
    worker_pool: Annotated[Literal["threads", "prefork", "solo"], BeforeValidator(pool_name)] = Field(
        "threads", description="Celery's pool in the worker."
    )
    worker_max_tasks_per_child: int = Field(
        50, ge=1, description="Attempts after which a process of the `prefork` pool is replaced, with all the memory "
        "that it has come to hold."
    )  # fmt: skip
    shutdown_grace: Seconds = Field(
        10,
        description="Seconds that calls in progress get when the gRPC server or a worker is stopped; a worker then "
        "hands its attempts back, for other workers to make them anew.",
    )
    max_jobs: int = Field(
        1_000_000, ge=1, description="Jobs that may be stored, deleted ones that are kept included; docs/limits.md has "
        "more on all limits."
    )  # fmt: skip
    max_name_length: int = Field(
        LONGEST_NAME, ge=1, le=LONGEST_NAME, description="Characters of a new or changed job's name."
    )
    max_parameters_bytes: int = Field(
        LARGEST_PARAMETERS,
        ge=2,
        le=LARGEST_PARAMETERS,
        description="Bytes of JSON of a new or changed job's parameters.",
    )
    max_page_size: int = Field(
        LARGEST_PAGE, ge=1, le=LARGEST_PAGE, description="Entries that a client may ask for on a page of a list."
    )
    max_message_bytes: int = Field(
        4 * 1024 * 1024, ge=64 * 1024, le=64 * 1024 * 1024, description="Bytes of a request. While a large one is "
        "decoded, the server answers nobody else."
    )  # fmt: skip
    max_streams: int = Field(
        10_000, ge=1, description="Streams open at a time, of watchers and audits, at each server."
    )
    max_streams_per_caller: int = Field(2_000, ge=1, description="Of these, those of one caller.")
    max_requests_per_second: float = Field(
        0, ge=0, allow_inf_nan=False, description="Requests a second of one caller, at each server, after as many at "
        "once; 0 means no limit."
    )  # fmt: skip
    server_processes: int = Field(
        1, ge=1, le=64, description="Processes of the gRPC server, which share its port; each uses one core at most, "
        "and has limits, connections to the stores and memory of its own."
    )  # fmt: skip
    server_metrics_port: Port = Field(
        9464, description="Prometheus port of the gRPC server; of several processes the first one's."
    )
    beat_metrics_port: Port = Field(9465, description="Prometheus port of beat; the next free one if it is taken.")
    worker_metrics_port: Port = Field(
        9466, description="Prometheus port of a worker; the next free one if it is taken."
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        for name in ("retryable_codes", "target_hosts", "task_modules", "extra_queues"):
            given = values.get(name)
            if isinstance(given, str):
                values[name] = tuple(item.strip() for item in given.split(",") if item.strip())
        return values

    @model_validator(mode="after")
    def _check_retry(self) -> Settings:
        try:
            _ = self.retry_policy
        except InvalidInput as refused:
            sentences = [
                f"{v.field.replace('retry_policy.', 'RETRY_').upper()}: {v.description}" for v in refused.violations
            ]
            raise ValueError("; ".join(sentences)) from None
        return self

    def concurrency(self, pool: str) -> int:
        """Return how many executions a worker with this pool, by its pool_name, runs at a time."""
        if pool == "solo":
            return 1  # more is what a worker would hold beside it
        said = "worker_concurrency" in self.model_fields_set
        return PREFORK_CONCURRENCY if pool == "prefork" and not said else self.worker_concurrency

    @property
    def retry_policy(self) -> RetryPolicy:
        """The retry policy of jobs that do not say."""
        return RetryPolicy(
            self.retry_max_attempts,
            timedelta(seconds=self.retry_initial_backoff),
            timedelta(seconds=self.retry_max_backoff),
            self.retry_multiplier,
            self.retry_jitter,
            retry_window=self.retry_window,
        )

    @property
    def policies(self) -> Policies:
        """The policies of jobs that do not say."""
        return Policies(
            misfire=self.misfire_policy,
            misfire_grace=timedelta(seconds=self.misfire_grace),
            misfire_limit=self.misfire_limit,
            overlap=self.overlap_policy,
            buffer_limit=self.buffer_limit,
            max_concurrent=self.max_concurrent,
            on_worker_lost=self.on_worker_lost,
            pause_on_failure=self.pause_on_failure,
            delete_after_done=self.delete_after_done,
        )


def load_settings() -> Settings:
    """Read the environment, or end the process with a sentence a wrong value; none is repeated: it may be secret."""
    try:
        return Settings()
    except ValidationError as refused:
        stop("; ".join(_sentence(error["loc"], error["msg"]) for error in refused.errors()))


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]).upper() + ": " if location else ""
    return name + message.removeprefix("Value error, ")


def stop(sentence: str) -> NoReturn:
    """End the process at start with one sentence for people."""
    sys.exit(f"error: {sentence}")

"""Ours as the benchmarks run it: a beat of its own process, on a database of private servers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from dev import ready
from dev.run import ROOT
from dev.server import free_port
from shared.domain.job import JobDefaults, JobDraft, define
from shared.messaging.queues import load_queues
from shared.store import jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from dev.servers import Servers
    from shared.domain.job import ScheduleTerms

PATIENCE: Final = 120.0
"""Seconds that beat gets for what is waited for; much more than it takes."""
LOOK: Final = 0.002


def start(servers: Servers, url: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `python -m beat` on a database, with its settings as they are, and what it says in a file."""
    own = {"MONGODB_URL": url, "BEAT_METRICS_PORT": str(free_port())}
    # As users have it: with Python's byte code kept from the start before, which one in five of its seconds is for.
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "beat"],
            cwd=ROOT,
            env={**outer, **servers.environment, **own},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def stop(beat: subprocess.Popen[bytes]) -> None:
    """Stop a beat, which gives its partitions back."""
    beat.terminate()
    beat.wait()


@contextmanager
def running(servers: Servers, url: str, log: Path) -> Iterator[int]:
    """Run a beat; give its process id when it has its partitions."""
    leasing = ready.beat_leasing(url)
    beat = start(servers, url, log)
    try:
        wait_until(lambda: beat.poll() is not None or leasing())
        yield beat.pid
    finally:
        stop(beat)


def wait_until(condition: Callable[[], bool]) -> float:
    """Wait for a condition, and return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + PATIENCE:
            sys.exit(f"error: what was waited for did not come within {PATIENCE:g} s")
        time.sleep(LOOK)
    return time.monotonic() - began


def job_document(job_id: str, terms: ScheduleTerms, now: datetime, **policies: Any) -> dict[str, Any]:
    """Return the document of a job that is created now (UTC), as the server stores it; policies: those it has."""
    queues = load_queues(ROOT / "config")
    draft = JobDraft(
        job_id=job_id, name="Prices", job_type="CUSTOM", target_service="scraper-service",
        target_method="ScrapeCompetitorPrices", schedule=terms, parameters={"competitor_ids": ["amazon"]},
        policies=policies,
    )  # fmt: skip
    definition = define(draft, JobDefaults(queues.names, queues.by_type), now)
    return jobs.new_document(definition, f"uid-{job_id}", now, "benchmark")

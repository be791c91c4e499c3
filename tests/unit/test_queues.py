"""queues.yaml: which queues there are, and which kind of job goes where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.domain.job import JobType
from shared.messaging.queues import load_queues

if TYPE_CHECKING:
    from pathlib import Path


def test_one_queue_can_be_that_of_several_types(tmp_path: Path):
    (tmp_path / "queues.yaml").write_text(
        "queues:\n"
        "  work: {job_type: [SCRAPING, ANALYSIS, CUSTOM]}\n"
        "  house: {job_type: [MAINTENANCE, MONITORING]}\n"
        "  manual: {}\n"
    )
    queues = load_queues(tmp_path)
    assert queues.names == {"work", "house", "manual"}
    assert queues.by_type == {
        JobType.SCRAPING: "work",
        JobType.ANALYSIS: "work",
        JobType.CUSTOM: "work",
        JobType.MAINTENANCE: "house",
        JobType.MONITORING: "house",
    }


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path):
    (tmp_path / "queues.yaml").write_text(
        "queues:\n  a: {job_type: [SCRAPING, CUSTOM]}\n  b: {job_type: [CUSTOM, WORK]}\n  Dead Letter: {}\n"
    )
    with pytest.raises(SystemExit) as stopped:
        load_queues(tmp_path)
    for said in (
        "b.job_type: CUSTOM already goes to a",
        "b.job_type: 'WORK' is not a job type",
        "'Dead Letter' is not a name for a queue",
        "the queue 'manual' is needed",
        "no queue has the job type ANALYSIS, MONITORING, MAINTENANCE",
    ):
        assert said in str(stopped.value)

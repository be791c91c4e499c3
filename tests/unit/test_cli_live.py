"""`schedctl watch` and `schedctl workers`: what their tables show."""

from __future__ import annotations

import pytest
from rich.console import Console

from cli.live import _table
from cli.numbers import WORKERS
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import statistics_service_pb2 as statistics_pb


@pytest.mark.parametrize("width", [200, 130, 110])
def test_a_narrow_terminal_shortens_ids_and_reasons_and_nothing_that_tells_how_it_goes(width: int) -> None:
    failed = pb.Execution(
        execution_id="01m8agd088k250g9zge3ctcenz.b.01m8agp7wjsgg0g2xhz37kpg51.20261125T070000Z",
        job_id="daily-competitor-scraping",
        state=pb.Execution.STATE_FAILED,
        trigger=pb.Execution.TRIGGER_SCHEDULE,
        attempt=1,
        max_attempts=4,
        error={
            "message": "the shop answered with a very long sentence, which no terminal has room for, of what is wrong"
        },
    )
    failed.nominal_time.FromJsonString("2026-11-25T07:00:00Z")
    console = Console(width=width)
    with console.capture() as shown:
        console.print(_table([failed]))
    (_, line) = shown.get().splitlines()
    assert len(line) <= width
    for told in (
        "2026-11-25T07:00:00Z",
        "FAILED",
        "daily-competitor-scraping",
        "SCHEDULE",
        "1/4",
        "the sh"[: width // 55],
    ):
        assert told in line


def test_a_worker_that_is_silent_is_shown_with_how_long_it_has_been() -> None:
    process = statistics_pb.ListWorkersResponse.Process(name="worker@a:1")
    process.heard_at.FromJsonString("2026-11-25T07:00:00Z")
    heard_of = WORKERS.columns["heard of"]
    assert str(heard_of(process)) == "2026-11-25T07:00:00Z"
    process.silent_for.FromJsonString("22.400s")
    assert str(heard_of(process)) == "2026-11-25T07:00:00Z (silent for 22 s)"

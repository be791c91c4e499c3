"""However a run ends, it takes all that it started with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dev.run import ROOT
from tests.acceptance.system import wait_until
from tests.chaos.faults import PROCESSES


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path, number: signal.Signals):
    folder = tmp_path / "run"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos", "--seed=1", f"--keep={folder}"],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            wait_until(lambda: "strike 1" in log.read_text(), "the first strike", 120)
            assert len(_pids(folder)) > len(PROCESSES)
            process.send_signal(number)
            process.wait(60)
        finally:
            process.kill()
    wait_until(lambda: not _pids(folder), "all have ended", 60)


def _pids(folder: Path) -> list[int]:
    """Return the processes of a run: those whose environment or command line names its folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in said:
            found.append(int(process.name))
    return found

"""The commands of the pages in docs/ run as they stand, in their order, against the running system."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dev.run import ROOT
from tests.acceptance.test_terminal import BUILDING, STANDARD_ADDRESS, grpcurl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.system import System

__all__ = ["grpcurl"]  # a fixture

PAGES = (
    "doctor", "executions", "explain", "filters", "forecast", "import-export", "jobs", "occurrences", "policies",
    "requests", "schedules", "statistics", "targets",
)  # fmt: skip
"""Each stands by itself. A block `sh` has to go well, one of `console` to be refused with the words that follow it."""


@pytest.mark.timeout(BUILDING)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_their_order(page: str, running: System, grpcurl: Path, tmp_path: Path):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"^```(sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    schedctl = tmp_path / "schedctl"
    schedctl.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cli "$@"\n')
    schedctl.chmod(0o755)
    environment = {
        **running.environment,
        "PATH": os.pathsep.join([str(tmp_path), str(grpcurl.parent), running.environment["PATH"]]),
        "SCHEDCTL_SERVER": running.address,
        "HOME": str(tmp_path),
    }
    for kind, block in blocks:
        command, _, expected = block.removeprefix("$ ").partition("\n") if kind == "console" else (block, "", "")
        answer = subprocess.run(
            ["bash", "-euc", command.replace(STANDARD_ADDRESS, running.address)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = answer.stdout + answer.stderr
        assert (answer.returncode == 0) == (kind == "sh"), f"{command}\n{said}"
        assert said.startswith(expected.rstrip()), f"{command}\n{said}"

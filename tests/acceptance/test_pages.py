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

PAGES = ("docs/jobs.md", "docs/executions.md")
"""Each stands by itself: it makes the jobs that it names, and deletes them at the end."""


@pytest.mark.timeout(BUILDING)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_their_order(page: str, running: System, grpcurl: Path, tmp_path: Path):
    commands = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    assert commands
    schedctl = tmp_path / "schedctl"
    schedctl.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cli "$@"\n')
    schedctl.chmod(0o755)
    environment = {
        **running.environment,
        "PATH": os.pathsep.join([str(tmp_path), str(grpcurl.parent), running.environment["PATH"]]),
        "SCHEDCTL_SERVER": running.address,
        "HOME": str(tmp_path),
    }
    for command in commands:
        answer = subprocess.run(
            ["bash", "-euc", command.replace(STANDARD_ADDRESS, running.address)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"

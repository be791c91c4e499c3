"""Clients in other languages: their stubs are generated from protos/, compiled, and make a call."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.run import ROOT
from tests.acceptance.test_terminal import BUILDING, STANDARD_ADDRESS

if TYPE_CHECKING:
    from tests.acceptance.system import System


@pytest.mark.timeout(BUILDING)
@pytest.mark.parametrize(("language", "toolchain"), [("go", "go"), ("typescript", "npm")])
def test_a_client_is_generated_and_compiled_and_lists_the_jobs(
    language: str, toolchain: str, running: System, tmp_path: Path
):
    if not shutil.which(toolchain):
        pytest.skip(f"{toolchain} is not installed, so the client in {language} could not be tried")
    # A copy: what is generated and compiled does not belong into the tree.
    for folder in ("protos", f"examples/clients/{language}"):
        generated = shutil.ignore_patterns("node_modules", "gen", "dist", "schedulerv1")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=generated)
    (commands,) = re.findall(
        rf"^```sh\n(cd examples/clients/{language}\n.*?)^```$",
        (ROOT / "docs/clients.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert STANDARD_ADDRESS in commands
    answer = subprocess.run(
        ["bash", "-euc", commands.replace(STANDARD_ADDRESS, running.address)],
        cwd=tmp_path,
        env={**running.environment, "PATH": f"{Path(sys.executable).parent}:{running.environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=BUILDING - 60,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert {"health-check-services", "cleanup-old-execution-records"} <= set(answer.stdout.split())

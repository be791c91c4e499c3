"""The peers' own virtual environment, below .local: made when it is first needed, or when what is pinned changed."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from dev.run import ROOT

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
FOLDER: Final = ROOT / ".local" / "peers"


def python() -> Path:
    """Return the peers' interpreter; they are installed first, which takes half a minute, unless they are there.

    Exits with what pip said when that fails.
    """
    interpreter = FOLDER / "bin" / "python"
    installed = FOLDER / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if installed.exists() and installed.read_text() == wanted:
        return interpreter
    print("   installing the peers into .local/peers ...", flush=True)
    venv.create(FOLDER, clear=True, symlinks=True, with_pip=True)
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    answer = subprocess.run(
        [str(interpreter), *install], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if answer.returncode:
        sys.exit(f"error: the peers cannot be installed:\n{answer.stdout}")
    installed.write_text(wanted)
    return interpreter


def version(distribution: str) -> str:
    """Return the version of a peer that is pinned."""
    pins = (line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    return {pin[0]: pin[1] for pin in pins}[distribution]

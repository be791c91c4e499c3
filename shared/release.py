"""The release of this software."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path


@cache
def release() -> str:
    """Return the version: of the installed package, else of the working tree; empty where neither tells."""
    try:
        return metadata.version("grpc-scheduler")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"
        if not project.is_file():
            return ""
        version: str = tomllib.loads(project.read_text())["project"]["version"]
        return version

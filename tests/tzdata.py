"""Another version of the package tzdata, as an upgrade would install it: for this process, or for one to be started."""

from __future__ import annotations

import struct
import sys
from contextlib import contextmanager
from importlib.resources import as_file, files
from shutil import copytree
from typing import TYPE_CHECKING

import pytest

from shared.domain import schedule, zones
from shared.store import zone_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def fixed(ahead: int) -> bytes:
    """Return the rules, in the format TZif, of a zone that is always so many seconds ahead of UTC."""
    return from_then_on(0, ahead, ahead)


def from_then_on(instant: int, before: int, after: int) -> bytes:
    """Return the rules of a zone that is `before` seconds ahead of UTC until an instant, and `after` from then on."""
    types = b"".join(struct.pack(">lbb", ahead, 0, 0) for ahead in (before, after)) + b"+X\0"
    header = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 1, 2, 3)
    in_four_bytes = header + struct.pack(">l", min(instant, 2**31 - 1)) + b"\1" + types
    in_eight_bytes = header + struct.pack(">q", instant) + b"\1" + types
    ahead = f"{abs(after) // 3600:02}:{abs(after) // 60 % 60:02}:{abs(after) % 60:02}"
    return in_four_bytes + in_eight_bytes + f"\n<+X>{'-' if after >= 0 else ''}{ahead}\n".encode()


def install(folder: Path, version: str, changed: Mapping[str, bytes | None]) -> Path:
    """Put a package tzdata into a folder: the present one with some zones' rules changed, or taken out (None)."""
    with as_file(files("tzdata")) as present:
        copytree(present, folder / "tzdata", ignore=lambda *_: {"__pycache__"})
    package = folder / "tzdata"
    (package / "__init__.py").write_text(f'__version__ = "{version}"\n')
    names = (package / "zones").read_text().split()
    for name, data in changed.items():
        file = package.joinpath("zoneinfo", *name.split("/"))
        if data is None:
            names.remove(name)
            file.unlink()
        else:
            file.write_bytes(data)
    (package / "zones").write_text("\n".join(names))
    return folder


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Let this process be one that was started with the package in a folder, and knows no rules but its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
            patch.delitem(sys.modules, name)
        patch.syspath_prepend(str(folder))
        patch.setattr(zones, "_registered", {})
        forget()
        yield
    sys.modules.pop("tzdata", None)
    forget()


def forget() -> None:
    """Empty the caches that a new process begins without."""
    for cached in (
        zones.zone,
        zones.zone_names,
        zones.package_rules,
        zones.tzdata_version,
        schedule._cron_of,
        zone_rules.package_documents,
    ):
        cached.cache_clear()

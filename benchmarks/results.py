"""The committed results: results.json with the figures of all rounds, RESULTS.md with their medians."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER: Final = Path(__file__).parent
LIBRARIES: Final = ("celery", "grpcio", "pymongo", "amqp", "uvloop")


INTRODUCTION: Final = """\
Written by `make bench`, the quick ones by `python -m benchmarks --quick`; do not edit. Each figure is a median of \
rounds in which the two sides took turns, the ratio the median of the rounds' ratios, the spread the lowest and the \
highest round. What each benchmark does is said at the top of its module; \
[docs/performance.md](../docs/performance.md) tells what was changed and why."""


class Size(Enum):
    """How much a benchmark measures."""

    FULL = "full"
    QUICK = "quick"


@dataclass(frozen=True)
class Results:
    """What was measured last."""

    stored: dict[str, dict[str, Any]]
    """By size and name of the benchmark: the day, the machine, and the comparisons as JSON."""

    @classmethod
    def read(cls) -> Results:
        """Return the committed results."""
        file = FOLDER / "results.json"
        stored = json.loads(file.read_text()) if file.exists() else {}
        return cls({size.value: stored.get(size.value, {}) for size in Size})

    def of(self, name: str, size: Size) -> list[Comparison]:
        """Return the results of one benchmark; none when it was not run yet."""
        return [Comparison.from_json(each) for each in self.stored[size.value].get(name, {}).get("figures", [])]

    def put(self, name: str, size: Size, found: Sequence[Comparison]) -> None:
        """Take the results of a benchmark that was just run, in place of its earlier ones."""
        self.stored[size.value][name] = {
            "measured": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "figures": [each.to_json() for each in found],
        }

    def write(self) -> None:
        """Write both files."""
        text = json.dumps(self.stored, indent=1, sort_keys=True)
        (FOLDER / "results.json").write_text(f"{text}\n")
        (FOLDER / "RESULTS.md").write_text(self.page())

    def page(self) -> str:
        """Return RESULTS.md."""
        lines = [
            "# Results",
            "",
            INTRODUCTION,
        ]
        for size in Size:
            for name, result in sorted(self.stored[size.value].items()):
                lines += ["", f"## {name}, {size.value}", "", f"{result['measured']}: {result['machine']}.", ""]
                lines += [
                    "| what | ours | spread | against | theirs | ratio | to reach | reached |",
                    "| --- | --- | --- | --- | --- | --- | --- | --- |",
                ]
                figures = self.of(name, size)
                lines += [each.row() for each in figures]
                lines += ["", *(f"- {each.what}: {each.note}" for each in figures if each.note)]
        return "\n".join(lines).rstrip() + "\n"


def machine() -> str:
    """Return what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, {libraries}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()

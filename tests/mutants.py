"""Remove the lines that protect the invariants, one by one, and see that a test fails for each.

The list is tests/mutants.yaml. Each entry is applied in a copy of the tree of its own, and the tests that it names are
run there: `python -m tests.mutants [WORD ...]`, where words choose entries by what they say.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".yaml")
TOOK_PART = 1
"""pytest's exit code when tests ran and some failed; it has others for those that could not run."""


@dataclass(frozen=True)
class Mutant:
    """An edit that removes what protects an invariant, and the tests that shall notice."""

    protects: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def occurrences(self, root: Path) -> int:
        """How often the text to replace is in the file: once, or the list is out of date."""
        return (root / self.file).read_text().count(self.old)

    def apply(self, root: Path) -> None:
        path = root / self.file
        path.write_text(path.read_text().replace(self.old, self.new))


def load() -> list[Mutant]:
    return [
        Mutant(**{**entry, "protects": str(entry["protects"]), "tests": tuple(entry["tests"])})
        for entry in yaml.safe_load(LIST.read_text())
    ]


def copy_tree(to: Path) -> None:
    """Copy what git knows, and what is new and not ignored; the virtual environment is shared."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def pytest_run(tests: Sequence[str], root: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line", *tests]
    environment: dict[str, Any] = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def try_out(mutant: Mutant) -> tuple[Mutant, str, str]:
    """Return the first test that caught it, or nothing, and what pytest said."""
    if (found := mutant.occurrences(ROOT)) != 1:
        return mutant, "", f"its text is {found} times in {mutant.file}"
    with TemporaryDirectory(prefix="mutant-") as folder:
        copy_tree(Path(folder))
        mutant.apply(Path(folder))
        code, said = pytest_run(mutant.tests, Path(folder))
    caught = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    return mutant, caught[1] if caught and code == TOOK_PART else "", said


def main(words: list[str]) -> int:
    mutants = [m for m in load() if all(word.lower() in f"{m.protects}: {m.what}".lower() for word in words)]
    if not mutants:
        print("no mutant has these words")
        return 2
    began, survived = monotonic(), []
    with TemporaryDirectory(prefix="unmutated-") as folder:
        copy_tree(Path(folder))
        code, said = pytest_run(sorted({test for mutant in mutants for test in mutant.tests}), Path(folder))
        if code:
            print(said, "the tests fail without any mutant", sep="\n")
            return 2
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for mutant, caught, said in pool.map(try_out, mutants):
            print(f"{mutant.protects:9} {mutant.what}\n{'':9} {caught or 'SURVIVED'}", flush=True)
            if not caught:
                print(said)
                survived.append(mutant.what)
    print(f"{len(mutants) - len(survived)} of {len(mutants)} caught in {monotonic() - began:.0f} s")
    print(*(f"SURVIVED: {what}" for what in survived), sep="\n", end="\n" if survived else "")
    return bool(survived)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

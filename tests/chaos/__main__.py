"""Break the whole system at random, and prove that it kept its promises: `python -m tests.chaos`, or `make chaos`.

Real processes on private servers, a target that records every call, a schedule of faults that the seed decides. Exits
with 0 when there is no violation, 1 when there is one, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from dev.server import ServerError
from tests.chaos.report import lines
from tests.chaos.run import Unsettled, run


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="decides the faults and the changes of jobs; random if left out")
    parser.add_argument("--minutes", type=float, default=10, help="how long faults go on, at least (%(default)s)")
    parser.add_argument("--fires", type=int, default=10_000, help="occurrences to fire, at least (%(default)s)")
    parser.add_argument("--keep", type=Path, help="a folder for the logs and data of all, which is then kept")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    _say(f"seed {seed}")
    good = False
    try:
        report = run(seed, arguments.minutes, arguments.fires, folder, _say)
        good = not report.violations
        for line in lines(report):
            _say(line)
    except KeyboardInterrupt:
        return 130
    except (Unsettled, ServerError) as error:
        _say(f"FAILED with seed {seed}: {error}")
    finally:
        if good and not arguments.keep:
            shutil.rmtree(folder)
        else:
            _say(f"logs and data are in {folder}")
    return 0 if good else 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the report is the output


if __name__ == "__main__":
    sys.exit(main())

"""`python -m scheduler_service.planning.forecast_process`: compute the load to come, print it as JSON, and end.

A process of its own, and a nice one: with many jobs it computes for minutes, and a thread of the server would make all
its calls slower for as long.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

from scheduler_service.planning.load import read_load
from shared import log as logs
from shared.settings import load_settings
from shared.store.mongo import connect

NICENESS: Final = 10


def main() -> None:
    """Compute once. What it prints is for the server that started it, also if that has ended meanwhile."""
    os.nice(NICENESS)
    settings = load_settings()
    logs.configure("scheduler-service-forecast", settings.log_level, settings.log_format)
    database = connect(settings.mongodb_url, appname="grpc-scheduler forecast")
    load = read_load(database)
    database.client.close()
    json.dump(load.to_json(), sys.stdout, separators=(",", ":"))


if __name__ == "__main__":
    main()

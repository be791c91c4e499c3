"""Serving metrics: a port that can't be had ends the process with a sentence."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from shared import metrics


def test_no_port_beyond_the_last_is_tried() -> None:
    with socket.socket() as taken:
        with suppress(OSError):  # whoever has it, it is taken
            taken.bind(("127.0.0.1", metrics.LAST_PORT))
            taken.listen()
        with pytest.raises(SystemExit, match="port 65535 for metrics is taken"):
            metrics.serve("127.0.0.1", metrics.LAST_PORT, alternatives=9)

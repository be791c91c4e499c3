"""However Ctrl-C meets the command line, it ends as the table of exit codes says, and without a traceback."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from cli import __main__ as command

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGPIPE)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_error_that_ctrl_c_has_led_to_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted_in_a_lock(**_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("release unlocked lock") from None

    monkeypatch.setattr(command, "app", interrupted_in_a_lock)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130


def test_any_other_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(command, "app", broken)
    with pytest.raises(RuntimeError, match="a fault"):
        command.main()

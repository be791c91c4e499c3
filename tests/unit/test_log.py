"""Logs: one event a line with a fixed action, in two forms, never a password, and never a control character."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from shared import log as logs

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "s3cr3t"
URL = f"mongodb://me:{SECRET}@db.example:27017/scheduler"


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def no_route_to(url: str) -> None:
    raise ConnectionError(f"no route to {url}")


def fail_holding(token: str) -> None:
    raise ConnectionError(f"failed with {len(token)} letters")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_of_json_with_its_action_and_context(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("celery-beat", form="json")
    with logs.bound(job_id="job-1", execution_id="uid.0.x"):
        logs.get_logger().info("occurrence\nfires", action="occurrence_fired", count=2)
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "occurrence\nfires",
        "action": "occurrence_fired",
        "count": 2,
        "job_id": "job-1",
        "execution_id": "uid.0.x",
        "level": "info",
        "process": "celery-beat",
    }


def test_the_lines_of_libraries_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("server", form="json")
    logging.getLogger("celery.worker").warning("lost %s", "it")
    (line,) = lines(capsys)
    assert (line["event"], line["action"], line["level"]) == ("lost it", "library:celery", "warning")


def test_less_severe_events_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("server", level="WARNING", form="json")
    logs.get_logger().info("unimportant", action="x")
    logging.getLogger("celery").info("unimportant")
    logs.get_logger().warning("important", action="y")
    assert [line["event"] for line in lines(capsys)] == ["important"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_password_never_reaches_a_log(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure("server", form=form)
    log = logs.get_logger()
    sentence = f"cannot reach {URL}"
    log.warning(sentence, action="a")
    log.warning("x", action="b", error=str(ConnectionError(f"at {URL}: refused")))
    log.warning("x", action="c", urls=[URL], nested={"deep": {"url": URL}})
    log.warning("x", action="d", url=f"redis://:{SECRET}@cache")
    logging.getLogger("kombu").error("cannot connect to %s", f"amqp://me:{SECRET}@mq//")
    try:
        no_route_to(URL)
    except ConnectionError:
        log.exception("failed", action="e")
        logging.getLogger("celery").exception("failed")
    shown = capsys.readouterr().err
    assert SECRET not in shown
    assert shown.count("mongodb://me:***@db.example") == 6


def test_an_error_is_told_with_its_traceback_but_not_with_the_values_of_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("server", form="json")
    try:
        fail_holding(SECRET)
    except ConnectionError:
        logs.get_logger().exception("failed", action="x")
    shown = capsys.readouterr().err
    assert "in fail_holding" in shown
    assert "ConnectionError: failed with 6 letters" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"amqp://me:p@{SECRET}@mq.example//", id="an unquoted @ in it"),
        pytest.param(OSError(f"no route to {URL}"), id="in an exception"),
        pytest.param((URL, [URL.encode()]), id="nested, as bytes"),
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_password_is_masked_wherever_it_stands(capsys: pytest.CaptureFixture[str], form: str, value: object) -> None:
    logs.configure("celery-beat", form=form)
    logs.get_logger().info("trying", action="trying", server=value)
    said = capsys.readouterr().err
    assert "***@" in said
    assert SECRET not in said


CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
CONTROLS += "\u061c\u200e\u200f\u2028\u2029"


def fail_saying(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: f"{ord(control):04x}")
def test_no_control_character_reaches_the_console(capsys: pytest.CaptureFixture[str], control: str) -> None:
    logs.configure("server", form="console")
    log = logs.get_logger()
    text = f"a{control}b"
    with logs.bound(job_id=text):
        log.info(text, action="x", spaced=f"two words{control}", error=ValueError(text), many=[text, {text: text}])
    logging.getLogger("celery").warning("got %s", text)
    shown = capsys.readouterr().err
    assert [char for char in shown if not char.isprintable()] == ["\n", "\n"], "the ends of the two lines"
    assert shown.count(repr(control)[1:-1]) == 8
    assert f"job_id={text!r}" in shown


def test_a_traceback_keeps_its_lines_but_no_other_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("server", form="console")
    try:
        fail_saying("\x1b[2J\x00\r")
    except ValueError:
        logs.get_logger().exception("failed", action="x")
        logging.getLogger("celery").exception("failed")
    shown = capsys.readouterr().err
    assert shown.count(", in fail_saying\n    raise ValueError(text)\nValueError: \\x1b[2J\\x00\\r\n") == 2
    assert {char for char in shown if not char.isprintable()} == {"\n"}


def test_what_needs_no_escape_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("server", form="console")
    logs.get_logger().info("Größe \N{RIGHTWARDS ARROW} \\o/", action="x", path="C:\\new", name="日本")
    shown = capsys.readouterr().err
    assert "Größe \N{RIGHTWARDS ARROW} \\o/" in shown
    assert "path=C:\\new" in shown
    assert "name=日本" in shown


def test_a_long_text_without_a_break_is_written_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("server", form="json")
    text = "c0ffee" * 500_000  # each start of an address in it leads to its end
    logs.get_logger().info("said", action="said", error=text)
    (line,) = lines(capsys)
    assert line["error"] == text

"""The pages' schedctl commands are ones, and its tables are the code's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

import scheduler_client
from cli.__main__ import COMMANDS, app
from cli.arguments import LARGEST
from cli.exits import MEANINGS
from scheduler_client import SchedulerError
from scheduler_client.methods import Methods
from shared.release import release
from tests.unit.test_docs import DOCS, PAGES, ROOT, code, table

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEDCTL = re.compile(r"^(?:\$ )?(?:schedctl|\.venv/bin/python -m cli) +(.+)$", re.MULTILINE)


def commands() -> list[Any]:
    """Return the words of each schedctl command in the pages' blocks."""
    return [
        pytest.param(shlex.split(found, comments=True), id=f"{page.relative_to(ROOT)}: {found}")
        for page in PAGES
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for found in SCHEDCTL.findall(block.replace("\\\n", " "))
    ]


def every_command(group: Any) -> Iterator[Any]:
    for name in group.commands:
        command = group.get_command(None, name)
        yield from every_command(command) if isinstance(command, TyperGroup) else (command,)


def test_every_option_for_a_whole_number_ends_where_the_messages_do() -> None:
    numbers = [
        (command.name, option.name, option.max)
        for command in every_command(typer.main.get_command(app))
        for option in command.params
        if getattr(option, "type_descriptor", None) and option.type_descriptor.annotation in (int, int | None)
    ]
    assert len(numbers) > 5
    assert [number for number in numbers if number[2] != LARGEST] == []


def parsed(words: list[str]) -> Any:
    """Return the context of a command, as it is before it runs; fails for what there is not."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("schedctl", list(words), resilient_parsing=True)
    while isinstance(group, TyperGroup):
        name, *words = words
        group = group.get_command(context, name)
        assert group is not None, f"there is no command {name}"
    return group.make_context(name, list(words))


@pytest.mark.parametrize("words", commands())
def test_every_schedctl_command_in_the_pages_can_be_given(words: list[str]) -> None:
    if "--help" not in words and not words[0].startswith("--"):
        assert parsed(words).command.callback is not None


def test_the_page_shows_every_command() -> None:
    text = (DOCS / "schedctl.md").read_text()
    for section in COMMANDS.values():
        for name in section:
            assert re.search(rf"(schedctl |`){name}\b", text), name


def test_the_exit_codes_of_the_page_are_those_of_the_code() -> None:
    assert table(DOCS / "schedctl.md", "exit code") == [[str(int(each)), said] for each, said in MEANINGS.items()]


def test_the_exceptions_of_the_page_are_those_of_the_client() -> None:
    documented = {code(row[0])[0] for row in table(DOCS / "python-client.md", "exception")}
    kinds = {
        name
        for name, kind in vars(scheduler_client).items()
        if isinstance(kind, type) and issubclass(kind, SchedulerError)
    }
    assert documented == kinds - {"SchedulerError"}


def test_whatever_the_client_can_ask_some_command_asks() -> None:
    source = "".join(path.read_text() for path in (ROOT / "cli").glob("*.py"))
    # Of these the request is made by the command itself, from a document.
    by_request = {"create_job": "create_call(", "update_job": "update("}
    for name in vars(Methods):
        if not name.startswith("_"):
            asked = re.escape(by_request[name]) if name in by_request else rf"\bscheduler(_of_many)?\.{name}\b"
            assert re.search(asked, source), name


def helps(command: Any, path: str = "schedctl") -> Iterator[tuple[str, str]]:
    """Return each command's path and help, those of groups included, as they are on 80 columns."""
    context = command.make_context(path, [], resilient_parsing=True)
    yield path, command.get_help(context)
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            yield from helps(command.get_command(context, name), f"{path} {name}")


def test_no_help_is_cut_short_and_no_usage_has_braces() -> None:
    found = dict(helps(typer.main.get_command(app)))
    assert len(found) > 40
    for path, help_ in found.items():
        assert not re.search(r"[a-z,]\.\.\.$", help_, re.MULTILINE), path
        assert "{" not in help_.splitlines()[0], path
    assert found["schedctl executions retry"].startswith("Usage: schedctl executions retry [OPTIONS] EXECUTION_ID...")


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_what_asks_no_server_loads_nothing_that_would(asked: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "cli", asked]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"scheduler_client", "grpc", "google.protobuf", "pydantic", "rich", "yaml"}


def test_it_tells_its_release() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"schedctl {release()}\n"

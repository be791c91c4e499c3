"""schedctl on a terminal, and as a process: colours, questions, the form, completion, contexts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from dev.server import HOST, free_port
from tests.integration.test_cli_harness import Told, schedctl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.test_server_harness import Running

ROOT = Path(__file__).resolve().parents[2]
COLOURS = re.compile(r"\x1b\[[34]\d")


async def on_terminal(server: Running, *arguments: str, answers: Sequence[tuple[str, str]] = (), **more: str) -> Told:
    """Run the command on a terminal of its own; answer each question when it is asked, in this order."""
    parent, child = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        "setsid", "--ctty", sys.executable, "-m", "cli", *arguments, cwd=ROOT, stdin=child, stdout=child, stderr=child,
        env={**os.environ, "SCHEDCTL_SERVER": server.address, "TERM": "xterm-256color", "COLUMNS": "200", **more},
    )  # fmt: skip
    os.close(child)
    left, shown, seen = list(answers), b"", 0

    def converse() -> None:
        nonlocal shown, seen
        with contextlib.suppress(OSError):  # how a terminal says that the other side is gone
            while part := os.read(parent, 65536):
                shown += part
                if left and left[0][0].encode() in shown[seen:]:
                    seen = len(shown)
                    os.write(parent, f"{left.pop(0)[1]}\n".encode())
        os.close(parent)

    reading = asyncio.create_task(asyncio.to_thread(converse))
    try:
        async with asyncio.timeout(60):
            await asyncio.shield(reading)
    except TimeoutError:
        pass
    finally:
        if process.returncode is None and not reading.done():
            process.kill()
    code = await process.wait()
    await reading
    text = shown.decode(errors="replace").replace("\r\n", "\n")
    assert not left, f"never asked: {left}\n{text}"
    return Told(code, text, "")


async def test_states_have_colours_on_a_terminal_unless_nobody_wants_them(server: Running) -> None:
    await server.create(job_id="prices")
    told = await on_terminal(server, "jobs", "list")
    assert "\x1b[32mACTIVE" in told.out
    told = await on_terminal(server, "jobs", "list", NO_COLOR="1")
    assert "ACTIVE" in told.out
    assert not COLOURS.search(told.out)
    assert "\x1b" not in (await schedctl(server, "jobs", "list")).out


async def test_deleting_asks_on_a_terminal(server: Running) -> None:
    await server.create(job_id="prices")
    told = await on_terminal(server, "jobs", "delete", "prices", answers=[("Delete the job prices?", "no")])
    assert (told.code, "nothing was done" in told.out) == (2, True)
    told = await on_terminal(server, "jobs", "delete", "prices", answers=[("Delete the job prices?", "y")])
    assert (told.code, "the job prices is deleted" in told.out) == (0, True)


FORM = [
    ("Name:", "Prices"),
    ("Id (", "prices"),
    ("Type [CUSTOM]:", "SCRAPING"),
    ("Target", "scraper-service"),
    ("Method", "ScrapeCompetitorPrices"),
    ("Parameters, as JSON", '{"competitor_ids": ["amazon"]}'),
    ("Schedule (", "0 8 * * MON-FRI"),
    ("Time zone", "America/New_York"),
    ("Create this job?", "y"),
]


async def test_the_form_asks_for_what_is_missing_and_shows_when_it_fires(server: Running) -> None:
    told = await on_terminal(server, "jobs", "create", answers=FORM)
    assert (told.code, "the job prices is created" in told.out) == (0, True), told.out
    assert told.out.startswith("workflows, fan-outs and calendars are written in a file"), "before anything is asked"
    (job,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    assert (job["job_type"], job["schedule_config"]["timezone"]) == ("SCRAPING", "America/New_York")
    assert job["parameters"] == {"competitor_ids": ["amazon"]}


async def test_what_was_given_is_not_asked_for_and_no_is_no(server: Running) -> None:
    given = ("prices", "--name", "Prices", "--type", "SCRAPING", "--target", "scraper-service", "--every", "1h")
    answers = [("Method", "ScrapeCompetitorPrices"), ("Parameters", "{}"), ("Create this job?", "n")]
    told = await on_terminal(server, "jobs", "create", *given, answers=answers)
    assert (told.code, "nothing was done" in told.out) == (2, True), told.out
    assert (await schedctl(server, "jobs", "list", "-o", "name")).out == ""


async def test_the_form_asks_again_for_what_the_server_does_not_take(server: Running) -> None:
    await server.create(job_id="taken")
    wrong_first = [
        ("Name:", "n" * 1_000),
        ("Name:", "Prices"),
        ("Id (", "Wrong!"),
        ("Id (", "taken"),
        ("Id (", "prices"),
        ("Type [CUSTOM]:", "SCRAPING"),
        ("Target", "nosuch"),
        ("Target", "scraper-service"),
        ("Method", "Nosuch"),
        ("Method", "ScrapeCompetitorPrices"),
        ("Parameters, as JSON", '{"nosuch": 1}'),
        *FORM[5:],
    ]
    told = await on_terminal(server, "jobs", "create", answers=wrong_first)
    assert (told.code, "the job prices is created" in told.out) == (0, True), told.out
    assert "the id 'taken' is taken" in told.out


async def test_the_answers_are_kept_when_the_job_is_refused_after_all(server: Running, tmp_path: Path) -> None:
    told = await on_terminal(server, "jobs", "create", "--attempts", "1000000", answers=FORM, TMPDIR=str(tmp_path))
    assert (told.code, "--attempts: " in told.out) == (4, True), told.out
    (kept,) = re.findall(r"`schedctl jobs create -f (\S+)` takes them", told.out)
    assert kept.startswith(str(tmp_path))
    assert (await schedctl(server, "jobs", "create", "-f", kept, "--attempts", "3")).code == 0
    (job,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    assert (job["name"], job["schedule_config"]["timezone"]) == ("Prices", "America/New_York")


@pytest.mark.parametrize(("typed", "code"), [("\x03", 130), ("\x04", 2)], ids=["Ctrl-C", "Ctrl-D"])
async def test_the_form_is_left_as_every_question_is(server: Running, typed: str, code: int) -> None:
    told = await on_terminal(server, "jobs", "create", answers=[("Name:", "Prices"), ("Id (", typed)])
    assert told.code == code, told.out
    assert (await schedctl(server, "jobs", "list", "-o", "name")).out == ""


# Contexts


async def test_contexts_name_servers(server: Running, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "SCHEDCTL_SERVER": ""}
    away = f"{HOST}:{free_port()}"

    async def ask(*arguments: str, **more: str) -> Told:
        return await schedctl("", *arguments, environment=home | more)

    assert (await ask("context", "list")).out == ""
    assert (await ask("context", "set", "test", "--server", server.address)).code == 0
    assert (await ask("context", "set", "away", "--server", away)).code == 0
    assert (await ask("context", "list")).lines == [f"  away {away}", f"* test {server.address}"]
    assert (await ask("jobs", "list")).code == 0, "the first is the current one"
    assert (await ask("context", "use", "away")).code == 0
    assert away in (await ask("jobs", "list")).err
    assert (await ask("jobs", "list", "--context", "test")).code == 0
    assert (await ask("jobs", "list", SCHEDCTL_SERVER=server.address)).code == 0, "the variable is nearer"
    assert (await ask("jobs", "list", "--server", server.address)).code == 0
    assert (await ask("context", "delete", "away")).code == 0
    missing = await ask("jobs", "list", "--context", "away")
    assert (missing.code, "there is no context 'away'" in missing.err) == (3, True)
    for command in ("use", "delete"):
        assert (await ask("context", command, "away")).code == 3
    assert oct((tmp_path / "schedctl" / "config.yaml").stat().st_mode)[-3:] == "600"


async def test_contexts_are_listed_for_programs_too(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "SCHEDCTL_SERVER": ""}
    none = await schedctl("", "context", "list", environment=home)
    assert (none.code, none.out, "no contexts" in none.err) == (0, "", True)
    for name, server in (("b", "b.example:1"), ("a", "[::1]:50054")):
        await schedctl("", "context", "set", name, "--server", server, environment=home)
    assert (await schedctl("", "context", "list", "-o", "name", environment=home)).lines == ["a", "b"]
    listed = [
        {"name": "a", "server": "[::1]:50054", "current": False},
        {"name": "b", "server": "b.example:1", "current": True},
    ]
    assert (await schedctl("", "context", "list", "--json", environment=home)).json == listed
    told = await schedctl("", "context", "list", "-o", "yaml", environment=home)
    assert list(yaml.safe_load_all(told.out)) == listed


async def test_what_is_done_to_a_context_is_said_and_what_goes_before_it(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "SCHEDCTL_SERVER": ""}
    told = await schedctl("", "context", "set", "test", "--server", "localhost:1", environment=home)
    assert (told.out, told.err.splitlines()) == (
        "",
        ["the context test is localhost:1", "the current context is test, localhost:1"],
    )
    told = await schedctl("", "context", "use", "test", environment=home | {"SCHEDCTL_SERVER": "other:2"})
    assert told.err.splitlines()[1] == ("warning: SCHEDCTL_SERVER is set, and goes before it: commands ask other:2")
    told = await schedctl("", "context", "delete", "test", environment=home)
    assert told.err == "the context test is removed\n"


@pytest.mark.parametrize(
    ("name", "server", "said"),
    [
        ("a", "http://localhost:50054", "without a scheme"),
        ("a", "localhost", "HOST:PORT"),
        ("a", "localhost:0", "HOST:PORT"),
        ("a", "localhost:65536", "HOST:PORT"),
        ("a", "", "HOST:PORT"),
        ("a", "::1:50054", "HOST:PORT"),
        ("", "localhost:1", "is not a name"),
        ("a b", "localhost:1", "is not a name"),
        ("*", "localhost:1", "is not a name"),
    ],
)
async def test_a_context_that_could_not_be_used_is_not_stored(
    tmp_path: Path, name: str, server: str, said: str
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    told = await schedctl("", "context", "set", name, "--server", server, environment=home)
    assert (told.code, said in told.err) == (2, True)
    assert (await schedctl("", "context", "list", "-o", "name", environment=home)).out == ""


@pytest.mark.parametrize("text", ["[", "contexts: [1]", "contexts: {a: {}}", "- a", "\x00"])
async def test_a_file_of_contexts_that_is_none_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedctl").mkdir()
    (tmp_path / "schedctl" / "config.yaml").write_text(text)
    told = await schedctl("", "jobs", "list", environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert (told.code, len(told.err.splitlines())) == (2, 1)
    assert "config.yaml can't be read" in told.err


# Completion


async def completed(server: str, *words: str) -> list[str]:
    """Return what bash offers for the last word."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ, "SCHEDCTL_SERVER": server, "_SCHEDCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(("schedctl", *words)), "COMP_CWORD": str(len(words)),
        },
    )  # fmt: skip
    out, err = await process.communicate()
    assert err == b""
    return out.decode().split()


async def test_tab_completes_commands_options_and_the_ids_that_the_server_knows(server: Running) -> None:
    for name in ("prices-one", "prices-two", "other"):
        await server.create(job_id=name)
    assert await completed(server.address, "jobs", "hist") == ["history"]
    assert await completed(server.address, "jobs", "pause", "prices") == ["prices-two", "prices-one"]
    assert await completed(server.address, "jobs", "history", "--deci") == ["--decisions"]


async def test_tab_offers_no_ids_when_no_server_answers() -> None:
    assert await completed(f"{HOST}:{free_port()}", "jobs", "pause", "p") == []


# The whole


async def test_a_server_that_is_away_is_one_sentence() -> None:
    address = f"{HOST}:{free_port()}"
    told = await schedctl(address, "jobs", "list")
    assert (told.code, told.out, len(told.err.splitlines())) == (2, "", 1)
    assert address in told.err


@pytest.mark.parametrize("address", ["localhost:99999", "http://localhost:50054", "localhost"])
async def test_what_is_no_address_is_said_at_once(address: str) -> None:
    for told in (await schedctl(address, "jobs", "list"), await schedctl("", "jobs", "list", "--server", address)):
        assert (told.code, told.out) == (2, "")
        assert f"'{address}' is not an address; expected HOST:PORT" in told.err


async def test_it_ends_without_a_word_when_nobody_reads_on() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "--help", cwd=ROOT, stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _, err = await process.communicate()
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")

"""`schedctl`, or `python -m cli`."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from cli.exits import Exit, table

if TYPE_CHECKING:
    from types import FrameType

COMMANDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Jobs and executions": {
        "jobs": ("cli.jobs:app", "List, create, change and run jobs."),
        "executions": ("cli.executions:app", "List, follow, cancel and retry executions."),
        "active": ("cli.executions:active", "Show what runs and waits now."),
        "watch": ("cli.live:watch", "Show executions as they go, in a live table."),
        "dead-letters": ("cli.dead_letters:app", "List, retry or discard what failed for good."),
        "backfills": ("cli.backfills:app", "Run past occurrences again, or for the first time."),
    },
    "Schedules": {
        "explain": ("cli.occurrences:explain", "Say what became of an occurrence, and why."),
        "occurrences": ("cli.occurrences:app", "List, skip, move or restore single occurrences to come."),
        "preview": ("cli.schedules:preview", "Show when a schedule fires, before it is saved."),
        "describe": ("cli.schedules:describe", "Say a schedule in plain words."),
        "forecast": ("cli.forecast:forecast", "Draw how much will fire over the coming hours."),
    },
    "Jobs as a file": {
        "apply": ("cli.declared:apply", "Make the jobs be as a file says."),
        "diff": ("cli.declared:diff", "Show what apply would change."),
        "export": ("cli.declared:export", "Write jobs to a file that apply takes."),
    },
    "Operating": {
        "targets": ("cli.targets:app", "List, get, register and test the services that jobs call."),
        "stats": ("cli.numbers:stats", "Show counts, success, lateness and durations."),
        "queues": ("cli.numbers:queues", "Show what waits, and who takes it."),
        "workers": ("cli.numbers:workers", "Show the live processes, and what each worker runs."),
        "audit": ("cli.audit:audit", "Hold the ledger against the schedules."),
        "doctor": ("cli.doctor:doctor", "Check everything, and say what to do."),
        "context": ("cli.context:app", "Name servers, and choose among them."),
    },
}
"""By section of the help: where a command is, and what it does. None of it is imported until it is used."""


class _Commands(TyperGroup):
    """Imports a command when it is called: `schedctl --help`, and each Tab, shall not wait for what they do not use."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self._where = {name: where for section in COMMANDS.values() for name, (where, _) in section.items()}
        self.commands = {name: TyperCommand(name) for name in self._where}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - its base's signature
        where = self._where.get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        return typer.main.get_command(getattr(import_module(module), attribute))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - its base's signature
        widest = max(map(len, self._where))
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), said) for name, (_, said) in commands.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl(list(table()))


app = typer.Typer(
    name="schedctl",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # an error is a sentence, not a box
)


def _tell(asked: bool) -> None:
    if asked:
        from shared.release import release  # noqa: PLC0415 - not for every start

        typer.echo(f"schedctl {release()}")
        raise typer.Exit


@app.callback()
def _schedctl(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell, is_eager=True, help="Print the release, and end.")
    ] = False,
) -> None:
    """Define and run jobs, ask what became of them and why, and operate the scheduler."""


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    # As other tools end when nobody reads on, as in `schedctl jobs list | head`: without a word about a broken pipe.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # What gRPC's core logs of connections that come and go is for its developers, and would stand among our sentences.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    interrupted = _note_interrupts()
    try:
        app(prog_name="schedctl")
    except Exception:
        # Ctrl-C is an exception in whatever line it meets, within a library's lock for one; what comes of it there is
        # no fault that anybody has to hear of.
        if not interrupted:
            raise
        sys.exit(Exit.INTERRUPTED)


def _note_interrupts() -> list[int]:
    """Have each Ctrl-C noted in the list that is returned, and raise KeyboardInterrupt as ever."""
    noted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background command ignores it
        signal.signal(signal.SIGINT, interrupt)
    return noted


if __name__ == "__main__":
    main()

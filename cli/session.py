"""Commands: the options that all of them have, the way to the server, and how what goes wrong ends them."""

from __future__ import annotations

import getpass
import inspect
import re
import socket
import sys
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeAlias, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from cli.contexts import NO_ADDRESS, Config, ConfigError, NoSuchContextError, is_address, load
from cli.exits import Exit, exit_of
from cli.output import Format, Output, plain
from cli.times import is_past
from scheduler_client import SchedulerClient, SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

F = TypeVar("F", bound="Callable[..., None]")

CONNECT_TIMEOUT: Final = 5.0
"""Seconds that a server may take to accept the connection."""

FOR_MANY: Final = 600.0
"""Seconds that a call about any number of jobs may take: a busy server may need minutes for thousands."""

OutputOption: TypeAlias = Annotated[Format, typer.Option("--output", "-o", help="How results are printed.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="The same as -o json.")]

_SHARED: Final[dict[str, tuple[Any, Any]]] = {
    "server": (
        Annotated[
            str | None,
            typer.Option(help="The server, as HOST:PORT; else SCHEDCTL_SERVER, or a context's.", metavar="ADDRESS"),
        ],
        None,
    ),
    "context": (Annotated[str | None, typer.Option(help="The context whose server is used.", metavar="NAME")], None),
    "output": (OutputOption, Format.TABLE),
    "as_json": (JsonOption, False),
}


class Command(TyperCommand):
    """A command whose usage names what has to be given as our pages do: JOB_ID, not {JOB_ID}."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a call; -2h is two hours ago, not the options -2 and -h."""
        ctx.ignore_unknown_options = any(map(is_past, args))
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line after the command's name."""
        return [re.sub(r"^\{(.+)\}", r"\1", piece) for piece in super().collect_usage_pieces(ctx)]


class Session:
    """One command's run: what it prints, and the server that it asks."""

    def __init__(self, server: str | None, context: str | None, out: Output) -> None:
        self.out = out
        self.options: Mapping[str, str] = {}
        """Options by the server's names of fields: a violation of such a field is told of its option."""
        self._given = (server, context)
        self._client: SchedulerClient | None = None

    @property
    def scheduler(self) -> SchedulerClient:
        """Return the client, connected; end the command with a sentence when no server answers."""
        if self._client is None:
            server = self._server()
            self._client = SchedulerClient(server, actor=actor())
            try:
                self._client.connect(CONNECT_TIMEOUT)
            except TimeoutError:
                fail(
                    f"no server answers at {plain(server)}; start it, or name another with --server, --context"
                    " or SCHEDCTL_SERVER"
                )
        return self._client

    @property
    def scheduler_of_many(self) -> SchedulerClient:
        """Return the client for calls about any number of jobs, which may take longer than others."""
        return self.scheduler.within(FOR_MANY)

    def _server(self) -> str:
        server, context = self._given
        if not server:  # else whatever the file is like
            try:
                server = load().server(server=server, context=context)
            except NoSuchContextError as error:
                fail(plain(str(error)), Exit.NOT_FOUND)
            except ConfigError as error:
                fail(plain(str(error)))
        if not is_address(server):  # at once: gRPC would look for it until the time to connect is over
            fail(f"{plain(server)!r} {NO_ADDRESS}")
        return server

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()

    def warn(self, sentences: Iterable[str]) -> None:
        """Say what was accepted but may surprise."""
        for sentence in sentences:
            typer.echo(f"warning: {plain(sentence)}", err=True)

    def for_each(self, names: Sequence[str], do: Callable[[str], None]) -> None:
        """Do it for one after the other; when one is refused, say which were done before, and which were not begun."""
        for number, name in enumerate(names):
            try:
                do(name)
            except SchedulerError:
                if len(names) > 1:
                    done, left = (plain(", ".join(some)) or "none" for some in (names[:number], names[number + 1 :]))
                    typer.echo(f"{plain(name)} is refused; done before it: {done}; not done after it: {left}", err=True)
                raise

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask, unless the answer was given; end the command unless it is yes. Where nobody answers, it is no."""
        if yes:
            return
        # Not by typer, whose question leaves a blank on standard output, where programs read results.
        typer.echo(f"{question} [y/N]: ", nl=False, err=True)
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):  # nobody is there to answer
            typer.echo(err=True)
        if answer.strip().lower() not in ("y", "yes"):
            fail("nothing was done; --yes does it without asking")


def command(group: typer.Typer, name: str | None = None) -> Callable[[F], F]:
    """Add a function to a group as a command that has the shared options; its first argument is the session.

    An argument that is a dataclass stands for its fields, each an option.
    """

    def add(function: F) -> F:
        hints = get_type_hints(function, include_extras=True)
        taken = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name])
            for each in list(inspect.signature(function).parameters.values())[1:]
        ]
        sets: dict[str, Any] = {each.name: each.annotation for each in taken if is_dataclass(each.annotation)}
        own = [option for each in taken for option in (_fields_of(each.annotation) if each.name in sets else [each])]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for name, (hint, default) in _SHARED.items()
        ]

        @wraps(function)
        def run(**values: Any) -> None:
            server, context, output, as_json = (values.pop(name) for name in _SHARED)
            for argument, kind in sets.items():
                values[argument] = kind(**{each.name: values.pop(each.name) for each in fields(kind)})
            session = Session(server, context, Output(Format.JSON if as_json else output))
            try:
                function(session, **values)
            except SchedulerError as error:
                _end(error, session.options)
            finally:
                session.close()

        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
        del run.__wrapped__  # its signature would be read instead
        group.command(name, cls=Command)(run)
        return function

    return add


def _fields_of(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default if each.default_factory is MISSING else each.default_factory(),
            annotation=hints[each.name],
        )
        for each in fields(kind)
    ]


def group(help: str) -> typer.Typer:  # noqa: A002 - typer's name
    """Return a group of commands."""
    return typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=help)


def alone(function: Callable[..., None]) -> typer.Typer:
    """Return a function as a command that belongs to no group."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    command(app)(function)
    return app


def fail(sentence: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Say why the command could not be carried out, and end with the exit code for that."""
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def _end(error: SchedulerError, options: Mapping[str, str]) -> NoReturn:
    named = [(options.get(each.field.partition("[")[0], each.field), each.description) for each in error.violations]
    violations = [f"{plain(name)}: {plain(said)}".removeprefix(": ") for name, said in named]
    fail("\n".join(violations) or f"{error.code.name}: {plain(error.message)}", exit_of(error))


def actor() -> str:
    """Return who asks: whoever runs the command, as this system calls them."""
    try:
        name = f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user without a name, as in a container
        return ""
    return name if name.isascii() and name.isprintable() else ""


def on_terminal() -> bool:
    """Return whether somebody sits there, and can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def configured() -> Config:
    """Return the contexts; end the command when the file cannot be read."""
    try:
        return load()
    except ConfigError as error:
        fail(plain(str(error)))

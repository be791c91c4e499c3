"""`schedctl context`: names for servers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.completion import context_names
from cli.contexts import NO_ADDRESS, SERVER_VARIABLE, ConfigError, is_address, is_name, save
from cli.exits import Exit
from cli.output import Format, as_json, as_yaml, plain, stdout
from cli.session import Command, JsonOption, OutputOption, configured, fail, group
from scheduler_client.channel import DEFAULT_SERVER

if TYPE_CHECKING:
    from cli.contexts import Config

app = group("Name servers, and choose among them; kept in ~/.config/schedctl/config.yaml.")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The context.", autocompletion=context_names, show_default=False)
]


def _new_name(text: str) -> str:
    if not is_name(text):
        said = "expected letters, digits, '.', '_' and '-', at most 63, the first a letter or digit"
        raise typer.BadParameter(f"{text!r} is not a name for a context; {said}")
    return text


def _address(text: str) -> str:
    if not is_address(text):
        raise typer.BadParameter(f"{text!r} {NO_ADDRESS}")
    return text


NewNameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The context.", autocompletion=context_names, parser=_new_name, show_default=False
    ),
]
ServerOption = Annotated[
    str, typer.Option("--server", metavar="ADDRESS", help="As HOST:PORT.", parser=_address, show_default=False)
]
_CURRENT: Final = "*"


@app.command("list", cls=Command)
def list_(output: OutputOption = Format.TABLE, json_: JsonOption = False) -> None:
    """Show the contexts; the current one has a star."""
    config, console = configured(), stdout()
    output = Format.JSON if json_ else output
    if not config.servers and output is Format.TABLE:
        typer.echo(f"no contexts; `schedctl context set NAME --server {DEFAULT_SERVER}` adds one", err=True)
    for number, (name, server) in enumerate(sorted(config.servers.items())):
        values = {"name": name, "server": server, "current": name == config.current}
        match output:
            case Format.JSON:
                console.print(as_json(values))
            case Format.YAML:
                console.print(("---\n" if number else "") + as_yaml(values).rstrip())
            case Format.NAME:
                console.print(plain(name))
            case Format.TABLE:
                console.print(f"{_CURRENT if name == config.current else ' '} {plain(name)} {plain(server)}")


@app.command(cls=Command)
def use(name: NameArgument) -> None:
    """Make a context the current one."""
    config = _with(name)
    config.current = name
    _save(config)
    _tell_current(config)


@app.command("set", cls=Command)
def set_(name: NewNameArgument, server: ServerOption) -> None:
    """Add or change a context. The first one becomes the current one."""
    config = configured()
    config.servers[name] = server
    config.current = config.current or name
    _save(config)
    typer.echo(f"the context {name} is {server}", err=True)
    if config.current == name:
        _tell_current(config)


def _tell_current(config: Config) -> None:
    typer.echo(f"the current context is {plain(config.current)}, {plain(config.servers[config.current])}", err=True)
    if given := os.environ.get(SERVER_VARIABLE):
        typer.echo(f"warning: {SERVER_VARIABLE} is set, and goes before it: commands ask {plain(given)}", err=True)


@app.command(cls=Command)
def delete(name: NameArgument) -> None:
    """Remove a context."""
    config = _with(name)
    del config.servers[name]
    if config.current == name:
        config.current = ""
    _save(config)
    typer.echo(f"the context {plain(name)} is removed", err=True)


def _with(name: str) -> Config:
    config = configured()
    if name not in config.servers:
        fail(f"there is no context '{plain(name)}'; `schedctl context list` shows them", Exit.NOT_FOUND)
    return config


def _save(config: Config) -> None:
    try:
        save(config)
    except ConfigError as error:
        fail(plain(str(error)))

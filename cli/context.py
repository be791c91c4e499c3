"""`schedctl context`: names for servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.completion import context_names
from cli.contexts import ConfigError, save
from cli.output import plain, stdout
from cli.session import configured, fail, group

if TYPE_CHECKING:
    from cli.contexts import Config

app = group("Name servers, and choose among them; kept in ~/.config/schedctl/config.yaml.")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The context.", autocompletion=context_names, show_default=False)
]
_CURRENT: Final = "*"


@app.command("list")
def list_() -> None:
    """Show the contexts; the current one has a star."""
    config = configured()
    for name, server in sorted(config.servers.items()):
        stdout().print(f"{_CURRENT if name == config.current else ' '} {plain(name)} {plain(server)}")


@app.command()
def use(name: NameArgument) -> None:
    """Make a context the current one."""
    config = _with(name)
    config.current = name
    _save(config)


@app.command("set")
def set_(
    name: NameArgument,
    server: Annotated[str, typer.Option("--server", metavar="ADDRESS", help="As HOST:PORT.", show_default=False)],
) -> None:
    """Add a context, or change it; the first one becomes the current one."""
    config = configured()
    config.servers[name] = server
    config.current = config.current or name
    _save(config)


@app.command()
def delete(name: NameArgument) -> None:
    """Remove a context."""
    config = _with(name)
    del config.servers[name]
    if config.current == name:
        config.current = ""
    _save(config)


def _with(name: str) -> Config:
    config = configured()
    if name not in config.servers:
        fail(f"there is no context '{plain(name)}'; `schedctl context list` shows them")
    return config


def _save(config: Config) -> None:
    try:
        save(config)
    except ConfigError as error:
        fail(plain(str(error)))

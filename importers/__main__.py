"""`python -m importers celery|django|redbeat`: print the jobs of another beat as YAML, or create them.

Exit codes: 0 all is well; 1 something that would have run became no job; 2 the import could not be carried out.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, TypeAlias

import typer

from importers import app as celery_app
from importers import django as tables
from importers import redbeat as keys
from importers import shelf
from importers.app import SourceError
from importers.create import create
from importers.entries import collect
from importers.form import write
from shared.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celery import Celery

    from importers.entries import Entry, Found, Left

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

SOME_LOST: Final = 1
FAILED: Final = 2

AppOption: TypeAlias = Annotated[
    str, typer.Option("--app", help="The Celery app, as module:attribute; its tasks give arguments their names.")
]
ApplyOption: TypeAlias = Annotated[
    str | None, typer.Option("--apply", metavar="SERVER", help="Create the jobs there, instead of printing them.")
]


@app.callback()
def _importers() -> None:
    """Turn what another beat keeps into jobs."""


@app.command()
def celery(
    app_name: AppOption = "",
    file: Annotated[str, typer.Option("--file", help="The file of a beat, as celerybeat-schedule.")] = "",
    apply: ApplyOption = None,
) -> None:
    """Import the beat_schedule of a Celery app, or what its beat has kept in a file."""

    def read(loaded: Celery | None) -> Iterable[Entry | Left]:
        if file:
            return shelf.entries_of(file)
        if loaded is None:
            raise SourceError("give --app, or --file, or both")
        return celery_app.entries_of(loaded)

    _run(read, app_name, apply)


@app.command()
def django(
    sqlite: Annotated[str, typer.Option("--sqlite", help="The SQLite file of the Django project.")] = "",
    dump: Annotated[str, typer.Option("--dump", help="JSON of `manage.py dumpdata django_celery_beat`.")] = "",
    app_name: AppOption = "",
    apply: ApplyOption = None,
) -> None:
    """Import the tables of django-celery-beat."""

    def read(_loaded: Celery | None) -> Iterable[Entry | Left]:
        if bool(sqlite) == bool(dump):
            raise SourceError("give either --sqlite or --dump")
        return tables.entries_of(tables.read_sqlite(sqlite) if sqlite else tables.read_dump(dump), datetime.now(UTC))

    _run(read, app_name, apply)


@app.command()
def redbeat(
    url: Annotated[str, typer.Option("--url", help="Redis, as redbeat_redis_url has it.")],
    prefix: Annotated[
        str, typer.Option("--prefix", help="What the keys begin with, as redbeat_key_prefix.")
    ] = keys.PREFIX,
    timezone: Annotated[str, typer.Option("--timezone", help="The app's, in which its crontabs are meant.")] = "UTC",
    app_name: AppOption = "",
    apply: ApplyOption = None,
) -> None:
    """Import the keys of redbeat in Redis."""
    _run(lambda _loaded: keys.entries_of(url, prefix, timezone), app_name, apply)


def _run(read: Callable[[Celery | None], Iterable[Entry | Left]], app_name: str, server: str | None) -> None:
    """Read a store, and print or create its jobs; end with the exit code."""
    if server == "":
        _fail("--apply names no server; expected for example localhost:50054")
    try:
        loaded = celery_app.load_app(app_name) if app_name else None
        found = collect(read(loaded), celery_app.binding(loaded), datetime.now(UTC), celery_app.options_of(loaded))
        well = _print(found) if server is None else _create(found, server)
    except (SourceError, InvalidInput) as error:
        _fail(str(error))
    for left in found.left:
        typer.echo(f"left out: {left.name}: {left.why}", err=True)
    if not well or any(left.lost for left in found.left):
        raise typer.Exit(SOME_LOST)


def _print(found: Found) -> bool:
    write(found, sys.stdout)
    for job in found.jobs:
        if job.paused:
            typer.echo(f"left out: {job.draft.name}: it is disabled; --apply creates it paused", err=True)
    return True


def _create(found: Found, server: str) -> bool:
    all_well = True
    for job, became, well in create(found.jobs, server, f"importers:{getuser()}"):
        typer.echo(f"{job.draft.job_id}: {became}")
        all_well &= well
    return all_well


def _fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(FAILED)


if __name__ == "__main__":
    app(prog_name="python -m importers")

"""Arguments and options that several commands have."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from cli.completion import execution_ids, job_ids, target_names
from cli.times import instant, span

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

LONGEST_PAGE: Final = 500
LARGEST: Final = 2**31 - 1
"""No message holds a larger whole number: every option for one ends there, so that it is refused by its name."""

JobArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="JOB_ID", help="The job.", autocompletion=job_ids, show_default=False)
]
JobsArgument: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="JOB_ID", help="The jobs.", autocompletion=job_ids, show_default=False)
]
SomeJobsArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="JOB_ID", help="The jobs.", autocompletion=job_ids, show_default=False)
]
JobOption: TypeAlias = Annotated[str, typer.Option("--job", help="Only this job.", autocompletion=job_ids)]
ExecutionArgument: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="EXECUTION_ID", help="The execution.", autocompletion=execution_ids, show_default=False),
]
ExecutionsArgument: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="EXECUTION_ID", help="The executions.", autocompletion=execution_ids, show_default=False),
]
TargetArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="TARGET", help="The target.", autocompletion=target_names, show_default=False)
]
TargetOption: TypeAlias = Annotated[
    str, typer.Option("--target", help="Only this target.", autocompletion=target_names)
]
QueueOption: TypeAlias = Annotated[str, typer.Option("--queue", help="Only this queue.")]
ReasonOption: TypeAlias = Annotated[str, typer.Option("--reason", help="For those who ask later.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
NothingAskedOption: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", help="Taken as by the other commands; nothing is asked here.")
]
LimitOption: TypeAlias = Annotated[int, typer.Option("--limit", "-n", min=1, max=LARGEST, help="At most so many.")]
ValidateOption: TypeAlias = Annotated[
    bool, typer.Option("--validate-only", help="Only check whether it would be accepted.")
]
FilterOption: TypeAlias = Annotated[
    str, typer.Option("--filter", help="""Which, as 'state = ACTIVE AND labels.team = "pricing"'.""")
]
LabelsOption: TypeAlias = Annotated[
    list[str], typer.Option("--label", metavar="KEY=VALUE", help="Only of jobs with this label; may be repeated.")
]
FileOption: TypeAlias = Annotated[
    Path | None, typer.Option("--file", "-f", metavar="FILE", help="A file in YAML; - is standard input.")
]
FromOption: TypeAlias = Annotated[
    datetime | None,
    typer.Option("--from", parser=instant, metavar="TIME", help="From this instant on: RFC 3339, now, -2h, +1d."),
]
ToOption: TypeAlias = Annotated[
    datetime | None, typer.Option("--to", parser=instant, metavar="TIME", help="Before this instant.")
]
TimeArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TIME",
        help="By the job's wall clock, as 08:00 (today) or 2026-11-25T08:00; an instant, as 2026-11-25T08:00Z; or -2h.",
        show_default=False,
    ),
]
WaitOption: TypeAlias = Annotated[
    timedelta | None, typer.Option("--timeout", parser=span, metavar="SPAN", help="For at most so long, as 10m.")
]


def page_for(limit: int) -> int:
    """Return the size of the pages to ask for: one entry more than is shown tells whether there are more."""
    return min(limit + 1, LONGEST_PAGE)


def one_of(enum: EnumTypeWrapper) -> Callable[[str], str]:
    """Return a reader of an enum's values by their short names, in either case: `skip` is EXISTING_SKIP."""
    unspecified, *known = enum.keys()
    prefix = unspecified.removesuffix("UNSPECIFIED")

    def read(text: str) -> str:
        name = text.upper().removeprefix(prefix)
        for full in (f"{prefix}{name}", name):  # the types of jobs have no prefix
            if full in known:
                return full
        expected = ", ".join(full.removeprefix(prefix).lower() for full in known)
        raise typer.BadParameter(f"{text!r} is not one of {expected}")

    return read


def labels_of(texts: list[str]) -> dict[str, str]:
    """Return labels that were typed as KEY=VALUE."""
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise typer.BadParameter(f"{text!r}: expected KEY=VALUE", param_hint="--label")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}

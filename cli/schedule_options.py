"""The options that say a schedule: of `schedctl preview` and `describe`, and among those of a job."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.arguments import LARGEST
from cli.session import fail
from cli.times import instant_or_clock, span
from scheduler_client import cron, every, once
from scheduler_client.values import duration
from shared.proto.scheduler_service_pb2 import ScheduleConfig

if TYPE_CHECKING:
    from google.protobuf.message import Message

OPTIONS: Final = {
    "schedule_config": "--cron, --every or --at",
    "schedule_config.config.expression": "--cron",
    "schedule_config.expressions": "--cron",
    "schedule_config.timezone": "--tz",
    "schedule_config.config.every": "--every",
    "schedule_config.config.at": "--at",
    "schedule_config.jitter": "--jitter",
    "schedule_config.max_runs": "--max-runs",
    "schedule_config.exclusions.holidays": "--holiday",
}
"""Where a schedule is given by options: what its fields are called there."""

_CLOCK_TERMS: Final = ("gap", "repeat")
"""What a cron schedule's terms say besides when it fires: that stays when it is to fire at another time."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """What was said of a schedule; what was not is None, or nothing."""

    expressions: Annotated[
        list[str], typer.Option("--cron", metavar="EXPRESSION", help="As '0 8 * * MON-FRI'; several are their union.")
    ] = field(default_factory=list)
    zone: Annotated[
        str,
        typer.Option(
            "--tz",
            metavar="ZONE",
            help="Time zone of --cron, --holiday and an --at without offset, as America/New_York. UTC if left out.",
        ),
    ] = ""
    interval: Annotated[str, typer.Option("--every", metavar="SPAN", help="An interval, as 1h30m.")] = ""
    at: Annotated[
        datetime | None, typer.Option("--at", parser=instant_or_clock, metavar="TIME", help="Once, at this instant.")
    ] = None
    jitter: Annotated[
        timedelta | None, typer.Option(parser=span, metavar="SPAN", help="Put each fire off by a part of it, as 5m.")
    ] = None
    max_runs: Annotated[
        int | None, typer.Option(min=0, max=LARGEST, help="Completed after so many runs; 0 is never.")
    ] = None
    holidays: Annotated[
        list[str],
        typer.Option(
            "--holiday", metavar="REGION", help="Not on its public holidays, as DE-BY; may be repeated. '' is none."
        ),
    ] = field(default_factory=list)

    @property
    def say_a_schedule(self) -> bool:
        """Whether any of these was given."""
        return self._say_any_of(ScheduleOptions)

    def _say_any_of(self, options: type[ScheduleOptions]) -> bool:
        return any(getattr(self, each.name) not in (None, "", []) for each in fields(options))

    def schedule(self) -> ScheduleConfig:
        """Return the schedule that they say. Ends the command where they contradict, or say none."""
        schedule = ScheduleConfig()
        self.put_schedule(schedule)
        return schedule

    def put_schedule(self, schedule: ScheduleConfig) -> None:
        """Put what they say over what a schedule is so far. Ends the command where they contradict.

        In one of the same type, all that says when it fires is put in the place of what it was; one of another type is
        replaced.
        """
        if (said := self._when(schedule)) is not None:
            if said.type == schedule.type:
                said.config.update({term: text for term, text in schedule.config.items() if term in _CLOCK_TERMS})
                schedule.ClearField("expressions")
                schedule.ClearField("config")
            else:
                schedule.Clear()
            put(schedule, said)
        if not schedule.type:
            fail("--jitter, --max-runs, --holiday and --tz go with a schedule: --cron, --every or --at")
        if self.zone:
            schedule.timezone = self.zone
        if (jitter := duration(self.jitter)) is not None:
            schedule.jitter.CopyFrom(jitter)
        if self.max_runs is not None:
            schedule.max_runs = self.max_runs
        if self.holidays:
            schedule.exclusions.ClearField("holidays")
            schedule.exclusions.holidays.extend(filter(None, self.holidays))

    def _when(self, before: ScheduleConfig) -> ScheduleConfig | None:
        """Return what they say of when it fires, if anything. Ends the command when they say several."""
        told = (("--cron", self.expressions), ("--every", self.interval), ("--at", self.at))
        given = [name for name, value in told if value]
        if len(given) > 1:
            fail(f"{' and '.join(given)} say different schedules; give one of them")
        if self.expressions:
            return cron(*self.expressions)
        if self.interval:
            return every(self.interval)
        if self.at is None:
            return None
        zone = self.zone or (before.timezone if before.type == "once" else "")
        if self.at.tzinfo is None and zone:  # the server knows the zone's rules
            return ScheduleConfig(type="once", config={"at": self.at.isoformat()})
        return once(self.at if self.at.tzinfo is not None else self.at.replace(tzinfo=UTC))


def put(there: Message, said: Message) -> None:
    """Put each field that is said in the place of what it was: merged, of two spans the seconds would add up."""
    for each, _ in said.ListFields():
        there.ClearField(each.name)
    there.MergeFrom(said)

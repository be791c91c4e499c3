"""A job as an entry of a document: the fields of a create request, and whether it is paused.

What a job has by the service's defaults is left out, so that a document says what somebody has decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format

from scheduler_service.jobs.documents import LONGEST_PATH
from scheduler_service.jobs.drafts import MUTABLE
from scheduler_service.transport.convert import policies_message, retry_message
from shared.domain.errors import Violation
from shared.domain.job import TASK, JobType
from shared.domain.text import excerpt
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.domain.job import JobDefaults

FIELDS: Final = ("job_id", *MUTABLE)
PAUSED: Final = "paused"


def read_request(values: Mapping[str, Any], found: list[Violation]) -> pb.CreateScheduledJobRequest:
    """Read an entry as the create request that it describes, but for what can't be read, which goes to found.

    So what is wrong with the others can be said with it; `beside` leaves out what only follows from that it is missing.
    """
    if not values.get("job_id"):
        found.append(Violation("job_id", "a job_id is required: by it the job is known the next time"))
    values = _with_texts({key: value for key, value in values.items() if key != PAUSED and value is not None})
    found += [Violation(name, _NO_FIELD) for name in values if name in _OF_CALLS]
    values = _known(values, pb.CreateScheduledJobRequest.DESCRIPTOR, found)
    request = pb.CreateScheduledJobRequest()
    for name in sorted(values.keys() - _OF_CALLS):
        # Apart: of a value that can't be read a part would be there already.
        field = pb.CreateScheduledJobRequest()
        try:
            json_format.ParseDict({name: values[name]}, field)
        except (json_format.ParseError, ValueError, OverflowError, RecursionError) as error:
            found.append(Violation(name, " ".join(str(error).split())))
        else:
            request.MergeFrom(field)
    return request


def beside(read: Sequence[Violation], violations: Iterable[Violation]) -> list[Violation]:
    """Return all violations of an entry but those of fields that were not read: that they are missing isn't true.

    read: what was found when it was read. Of a job_id all is kept: one that is there twice may be no job_id, either.
    """
    unread = {wrong.field for wrong in read} - {"job_id"}
    parts = tuple(f"{field}{mark}" for field in unread for mark in ".[")
    return [
        wrong for wrong in violations if wrong in read or not (wrong.field in unread or wrong.field.startswith(parts))
    ]


_NO_FIELD: Final = "no such field in a job's entry"


_OF_CALLS: Final = frozenset(pb.CreateScheduledJobRequest.DESCRIPTOR.fields_by_name) - frozenset(FIELDS)
"""Fields of a create request that say nothing of the job."""


def read_paused(values: Mapping[str, Any], found: list[Violation]) -> bool:
    """Return whether an entry's job is paused."""
    paused = values.get(PAUSED)
    if paused is not None and not isinstance(paused, bool):
        found.append(Violation(PAUSED, "has to be true or false"))
    return paused is True


def _with_texts(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with the schedule's terms as text: in YAML, `hour: 8` is natural, and a number."""
    schedule = entry.get("schedule_config")
    config = schedule.get("config") if isinstance(schedule, dict) else None
    if not isinstance(schedule, dict) or not isinstance(config, dict):
        return entry
    texts = {
        key: str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for key, value in config.items()
    }
    return {**entry, "schedule_config": {**schedule, "config": texts}}


def _known(entry: Mapping[str, Any], descriptor: Any, found: list[Violation], path: str = "") -> dict[str, Any]:
    """Return an entry without the keys that no field has, and without names that their enums lack.

    All of these go to found; json_format stops at the first, and does not say which names there are.
    """
    known: dict[str, Any] = {}
    for key, value in entry.items():
        field = descriptor.fields_by_name.get(key)
        inside = f"{path}{key}"
        if field is None:
            found.append(Violation(inside, _NO_FIELD))
        elif field.enum_type is not None and _is_no_name(value, field.enum_type):
            names = ", ".join(each.name for each in field.enum_type.values if each.number)
            found.append(Violation(inside, f"'{excerpt(value)}' is not one of {names}"))
        elif isinstance(value, dict) and _is_ours(field.message_type):
            known[key] = _known(value, field.message_type, found, f"{inside}.")
        elif isinstance(value, list) and _is_ours(field.message_type):
            known[key] = [
                _known(each, field.message_type, found, f"{inside}[{index}].") if isinstance(each, dict) else each
                for index, each in enumerate(value)
            ]
        else:
            known[key] = value
    return known


def _is_no_name(value: Any, enum: Any) -> bool:
    """Return whether a value is a text that an enum has neither as a name nor, for it may stand there, as a number."""
    return isinstance(value, str) and value not in enum.values_by_name and not value.isdecimal()


def _is_ours(message_type: Any) -> bool:
    """Return whether a field's value is an object with fields of its own, not a map, nor one of Google's types."""
    ours = message_type is not None and message_type.file.name == pb.DESCRIPTOR.name
    return ours and not message_type.GetOptions().map_entry


def write_entry(job: pb.ScheduledJob, defaults: JobDefaults) -> dict[str, Any]:
    """Return the entry that describes a job."""
    everything = json_format.MessageToDict(job, preserving_proto_field_name=True)
    entry: dict[str, Any] = {
        name: everything[name] for name in FIELDS if name in everything and everything[name] not in _EMPTY
    }
    for name, usual in (
        ("retry_policy", retry_message(defaults.retry)),
        ("policies", policies_message(defaults.policies)),
        ("schedule_config", pb.ScheduleConfig(timezone="UTC")),
    ):
        if kept := _without(entry.get(name, {}), json_format.MessageToDict(usual, preserving_proto_field_name=True)):
            entry[name] = kept
        else:
            entry.pop(name, None)
    # Of a task, the queue may be that which the task names.
    calls_task = job.target_service == TASK or job.HasField("workflow")
    if not calls_task and entry["queue"] == defaults.queue_by_type[JobType(entry["job_type"])]:
        del entry["queue"]
    if job.priority == defaults.priority:
        entry.pop("priority", None)
    if job.timeout.ToTimedelta() == defaults.timeout:
        entry.pop("timeout", None)
    if job.state == pb.ScheduledJob.STATE_PAUSED:
        entry[PAUSED] = True
    return entry


_EMPTY: Final[tuple[Any, ...]] = ("", {}, [])


def _without(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != usual.get(name)}


def flattened(entry: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the values of an entry by their paths; lists, and mappings without anything in them, are values.

    So are mappings whose path is long: it would be there once for each value in them.
    """
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        inside = f"{path}{key}"
        divided = isinstance(value, dict) and value and len(inside) <= LONGEST_PATH
        flat |= flattened(value, f"{inside}.") if divided else {inside: value}
    return flat

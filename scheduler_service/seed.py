"""The preconfigured jobs of config/jobs.yaml: created at start unless their job_id is taken, and then left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import yaml
from google.protobuf import json_format

from scheduler_service.drafts import new_draft
from scheduler_service.refusals import Taken
from shared.domain.errors import FailedPrecondition, InvalidInput, Unavailable, Violation
from shared.log import get_logger
from shared.proto import scheduler_service_pb2 as pb
from shared.store.jobs import new_uid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.definitions import Definitions
    from scheduler_service.jobs import Jobs
    from shared.domain.job import JobDraft

log = get_logger()

FILE: Final = "jobs.yaml"
CREATED_BY: Final = f"config/{FILE}"

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""When entries are judged at start: one whose time has passed since it was written must not stop a later start."""


async def read_seed(folder: Path, definitions: Definitions) -> list[JobDraft]:
    """Read jobs.yaml; raise InvalidInput with all that is wrong with all entries.

    An entry whose target's contract can't be read now is taken as it is, with a warning in the log.
    """
    path = folder / FILE
    entries = _entries(path)
    found: list[Violation] = []
    drafts: list[JobDraft] = []
    for name, entry in entries:
        inside: list[Violation] = []
        if draft := _draft(entry, definitions, inside):
            if any(other.job_id == draft.job_id for other in drafts):
                inside.append(Violation("job_id", f"'{draft.job_id}' is there twice"))
            drafts.append(draft)
            inside = await _check(draft, definitions, inside)
        found += [Violation(f"{FILE}: {name}.{wrong.field}".rstrip("."), wrong.description) for wrong in inside]
    if found:
        raise InvalidInput(found)
    return drafts


async def plant(drafts: Sequence[JobDraft], jobs: Jobs, definitions: Definitions) -> int:
    """Create the jobs whose ids are free; return how many. Safe to run in several servers at once.

    Raises PyMongoError when the store can't be reached; running it again goes on.
    """
    taken = await jobs.taken([draft.job_id for draft in drafts])
    planted = 0
    for draft in drafts:
        if draft.job_id in taken:
            continue
        now = await jobs.now()
        try:
            definition = await definitions.define(draft, now, with_target=False)
            await jobs.create(definition, new_uid(), now, CREATED_BY, limited=False)
        except Taken:
            continue
        except InvalidInput as refused:
            log.warning(
                "a preconfigured job is out of date", action="seed_late", job_id=draft.job_id, error=str(refused)
            )
        else:
            planted += 1
            log.info("preconfigured job created", action="seed_created", job_id=draft.job_id)
    return planted


class _Loader(yaml.SafeLoader):
    """Leaves times as the text they are, as JSON has them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the entries with the names that their violations begin with."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput([Violation(FILE, f"it can't be read: {' '.join(str(error).split())}")]) from error
    entries = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidInput([Violation(FILE, "expected a list `jobs` of objects with the fields of a create request")])
    return [(str(entry.get("job_id") or f"jobs[{index}]"), entry) for index, entry in enumerate(entries)]


def _draft(entry: Mapping[str, Any], definitions: Definitions, found: list[Violation]) -> JobDraft | None:
    """Read an entry as the create request that it describes."""
    if not entry.get("job_id"):
        found.append(Violation("job_id", "a job_id is required: by it the job is known at the next start"))
    entry = _with_texts(entry)
    unknown = list(_unknown(entry, pb.CreateScheduledJobRequest.DESCRIPTOR))
    if unknown:
        found += [Violation(name, "no such field in a create request") for name in unknown]
        return None
    try:
        request = json_format.ParseDict(dict(entry), pb.CreateScheduledJobRequest())
    except json_format.ParseError as error:
        found.append(Violation("", " ".join(str(error).split())))
        return None
    return new_draft(request, request.job_id, definitions.defaults, found)


def _with_texts(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with the schedule's terms as text: in YAML, `hour: 8` is natural, and a number."""
    schedule = entry.get("schedule_config")
    config = schedule.get("config") if isinstance(schedule, dict) else None
    if not isinstance(schedule, dict) or not isinstance(config, dict):
        return dict(entry)
    texts = {
        str(key): str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for key, value in config.items()
    }
    return {**entry, "schedule_config": {**schedule, "config": texts}}


def _unknown(entry: Mapping[str, Any], descriptor: Any, path: str = "") -> Iterator[str]:
    """Name the keys that no field has; json_format would stop at the first."""
    for key, value in entry.items():
        field = descriptor.fields_by_name.get(str(key))
        if field is None:
            yield f"{path}{key}"
        elif isinstance(value, dict) and _is_ours(field.message_type):
            yield from _unknown(value, field.message_type, f"{path}{key}.")


def _is_ours(message_type: Any) -> bool:
    """Return whether a field's value is an object with fields of its own, not a map, nor one of Google's types."""
    ours = message_type is not None and message_type.file.name == pb.DESCRIPTOR.name
    return ours and not message_type.GetOptions().map_entry


async def _check(draft: JobDraft, definitions: Definitions, found: list[Violation]) -> list[Violation]:
    """Return all violations of a draft."""
    try:
        await definitions.define(draft, _LONG_AGO, found)
    except InvalidInput as refused:
        return list(refused.violations)
    except (Unavailable, FailedPrecondition) as error:
        log.warning(
            "a preconfigured job's call can't be checked now",
            action="seed_unchecked",
            job_id=draft.job_id,
            error=str(error),
        )
    return []
